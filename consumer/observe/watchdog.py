"""Log where all threads are, once, when the loop is stuck in our own code."""

import sys
import threading
import traceback
from collections.abc import Callable

import structlog

from consumer.observe.liveness import stuck_reason
from consumer.observe.snapshot import SnapshotBoard

LOOK_EVERY_S = 1.0

_log = structlog.get_logger(__name__)


class Watchdog:
    """A thread that looks at the board from `start` to `close`.

    Args:
        board: where the loop says that it is alive.
        monotonic_s: the clock of the board's ticks.
        look_every_s: how often it looks.
    """

    def __init__(
        self, board: SnapshotBoard, monotonic_s: Callable[[], float], look_every_s: float = LOOK_EVERY_S
    ) -> None:
        self._board = board
        self._monotonic_s = monotonic_s
        self._look_every_s = look_every_s
        self._closed = threading.Event()
        self._told = False
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(self._look_every_s):
            self.look()

    def look(self) -> None:
        """Log the stacks if the loop is stuck and they are not logged yet; once it turns again, they may be again."""
        reason = stuck_reason(self._board, self._monotonic_s())
        if reason and not self._told:
            _log.error("loop stuck", reason=reason, threads=stacks())
        self._told = bool(reason)


def stacks() -> str:
    """Where each Python thread is."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = [
        f"{names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()  # noqa: SLF001  # the documented way to see other threads
    ]
    return "\n".join(parts)
