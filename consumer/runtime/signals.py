"""SIGINT and SIGTERM as an event that loops look at: they end a run cleanly."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGINT or SIGTERM sets while inside; only for the main thread.

    A second signal has its default effect, so that a stuck run can be interrupted.
    """
    stop = threading.Event()
    before = {one: signal.getsignal(one) for one in _SIGNALS}

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        for one, handler in before.items():
            signal.signal(one, handler)

    for one in _SIGNALS:
        signal.signal(one, ask_to_stop)
    try:
        yield stop
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
