"""SIGINT and SIGTERM as a request to stop that loops and waits look at: they end a run cleanly and in time."""

import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOP_WITHIN_S = 20.0
"""From the request until everything is closed, whatever brokers do; platforms kill after 30 s."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LOOK_EVERY_S = 0.05
_INIT_PROCESS = 1


class StopRequest:
    """Whether a run was asked to stop, and how much time is left for that; any thread may ask and look.

    It takes no lock: a signal handler that sets an event may interrupt the thread that holds the event's lock.
    """

    def __init__(self, within_s: float = STOP_WITHIN_S, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._within_s = within_s
        self._monotonic_s = monotonic_s
        self._end_s = math.inf

    def set(self) -> None:
        """Ask; later requests give no more time."""
        if not self.is_set():
            self._end_s = self._monotonic_s() + self._within_s

    def is_set(self) -> bool:
        """Whether it was asked for."""
        return self._end_s != math.inf

    def left_s(self) -> float:
        """Seconds until all has to be closed, not below 0; infinite before a request."""
        return max(0.0, self._end_s - self._monotonic_s())

    def wait(self, seconds: float) -> bool:
        """Wait for a request at most that long; return whether there is one."""
        end_s = self._monotonic_s() + seconds
        while not self.is_set() and (left_s := end_s - self._monotonic_s()) > 0:
            time.sleep(min(left_s, _LOOK_EVERY_S))
        return self.is_set()


def hold_signals() -> None:
    """Keep SIGINT and SIGTERM waiting until `stop_on_signals` handles them; for the first moments of a process."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def release_signals() -> None:
    """Let SIGINT and SIGTERM end a command that does not handle them, wherever it runs.

    Whoever started the process may have blocked them, and the kernel ignores a SIGTERM without a handler in the first
    process of a container.
    """
    if os.getpid() == _INIT_PROCESS:
        signal.signal(signal.SIGTERM, lambda number, _frame: os._exit(128 + number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """A request that SIGINT or SIGTERM makes while inside; only for the main thread.

    A second signal ends the process at once.
    """
    stop = StopRequest()
    before = {one: signal.getsignal(one) for one in _SIGNALS}

    def ask_to_stop(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()
        if os.getpid() != _INIT_PROCESS:  # for which the default is to ignore them
            for one in _SIGNALS:
                signal.signal(one, signal.SIG_DFL)

    for one in _SIGNALS:
        signal.signal(one, ask_to_stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    try:
        yield stop
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
