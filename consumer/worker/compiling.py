"""Compile the kernels before anything else starts, and show it: for `make install` and the demo."""

import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.status import Status

from consumer.kafka.deadline import CallTimedOutError, call_while
from consumer.worker.kernel_compiler import KernelCompiler

LINE_EVERY_S = 1.0
"""Where a line cannot be drawn again."""


def compile_kernels(console: Console, wanted: Callable[[], bool] = lambda: True) -> bool:
    """Compile or load all kernels; return False if they were no longer wanted before that was done.

    Args:
        console: shows what is compiled: one line that changes, or several lines where it is no terminal.
        wanted: asked ten times a second.
    """
    compiler = KernelCompiler()
    with console.status("loading compiled code") as status:
        shown = _Shown(console, status, compiler, wanted)
        try:
            call_while(shown.is_wanted, compiler.run)
        except CallTimedOutError:
            compiler.stop()
            return False
    return True


class _Shown:
    def __init__(self, console: Console, status: Status, compiler: KernelCompiler, wanted: Callable[[], bool]) -> None:
        self._console = console
        self._status = status
        self._compiler = compiler
        self._wanted = wanted
        self._last = ""
        self._due_s = 0.0

    def is_wanted(self) -> bool:
        """Show how far it is, and answer for whoever waits."""
        if self._compiler.compiles:
            self._show(f"{self._compiler.progress()}")
        return self._wanted()

    def _show(self, text: str) -> None:
        self._status.update(text)
        now_s = time.monotonic()
        if not self._console.is_terminal and text != self._last and now_s >= self._due_s:
            self._console.print(text, highlight=False)
            self._last, self._due_s = text, now_s + LINE_EVERY_S


if __name__ == "__main__":
    compile_kernels(Console(file=sys.stderr))
