"""Show what a start does that takes long: on the board for probes, and in the log every ten seconds."""

from collections.abc import Callable

import structlog

from consumer.observe.snapshot import SnapshotBoard
from consumer.worker.kernel_compiler import KernelCompiler

LOADING = "loading compiled code"
"""Or compiling it first."""

LINE_EVERY_S = 10.0
"""A start that is shorter gets no line."""

_log = structlog.get_logger(__name__)


class StartProgress:
    """One thread sets `doing`; another calls `show` while the first works.

    Args:
        board: what probes see.
        monotonic_s: the clock of the board's ticks.
        compiler: knows how far the kernels are.
    """

    def __init__(self, board: SnapshotBoard, monotonic_s: Callable[[], float], compiler: KernelCompiler) -> None:
        self._board = board
        self._monotonic_s = monotonic_s
        self._compiler = compiler
        self._told_s = monotonic_s()
        self.doing = "reading schemas"

    def show(self) -> None:
        """Publish it, and log it if the last line, or the start, is long ago; call it several times a second."""
        now_s, text = self._monotonic_s(), self.text()
        self._board.starting(text)
        self._board.tick(now_s)
        if now_s - self._told_s >= LINE_EVERY_S:
            self._told_s = now_s
            _log.info("starting", doing=text)

    def text(self) -> str:
        """What it does now."""
        compiles = self.doing == LOADING and self._compiler.compiles
        return str(self._compiler.progress()) if compiles else self.doing
