"""Show what a start does that takes long: on the board for probes, and in the log every ten seconds."""

from collections.abc import Callable

import structlog

from consumer.observe.snapshot import SnapshotBoard
from consumer.runtime.jit import Progress, progress

COMPILING = "compiling"

LINE_EVERY_S = 10.0
"""A start that is shorter gets no line."""

_log = structlog.get_logger(__name__)


class StartProgress:
    """One thread sets `doing`; another calls `show` while the first works.

    Args:
        board: what probes see.
        monotonic_s: the clock of the board's ticks.
        kernels: how far the kernels are.
    """

    def __init__(
        self, board: SnapshotBoard, monotonic_s: Callable[[], float], kernels: Callable[[], Progress] = progress
    ) -> None:
        self._board = board
        self._monotonic_s = monotonic_s
        self._kernels = kernels
        self._told_s = monotonic_s()
        self.doing = "reading schemas"

    def show(self) -> None:
        """Publish it, and log it if the last line, or the start, is long ago; call it several times a second."""
        now_s, text = self._monotonic_s(), self._text()
        self._board.starting(text)
        self._board.tick(now_s)
        if now_s - self._told_s >= LINE_EVERY_S:
            self._told_s = now_s
            _log.info("starting", doing=text)

    def _text(self) -> str:
        ready, kernels = self._kernels()
        return f"{COMPILING} {ready} of {kernels}" if self.doing == COMPILING and kernels > 0 else self.doing
