"""Run the demo as a process, on a pipe or on its own terminal, and wait with deadlines."""

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

RUN = (sys.executable, "-m", "consumer", "run")
COMMAND = (*RUN, "--embedded")
START_TIMEOUT_S = 90.0
"""The first start may have to compile kernels."""
END_TIMEOUT_S = 15.0

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Demo:
    """One running demo and everything that it has written to stderr."""

    def __init__(self, process: subprocess.Popen[bytes], stderr: int) -> None:
        self.process = process
        self._said = bytearray()
        self._reader = threading.Thread(target=self._read, args=(stderr,), daemon=True)
        self._reader.start()

    def text(self) -> str:
        """Return its output without colours and cursor movements."""
        return _CONTROL.sub("", bytes(self._said).decode("utf-8", "replace"))

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of one event."""
        parsed = []
        for line in self.text().splitlines():
            with contextlib.suppress(ValueError):
                parsed.append(json.loads(line))
        return [line for line in parsed if line.get("event", "").startswith(event)]

    def wait(self, what: str, holds: Callable[[], object]) -> None:
        """Wait until a condition holds; fail if the demo ends before."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not holds():
            assert self.process.poll() is None, f"ended before {what}:\n{self.text()[-3000:]}"
            assert time.monotonic() < deadline, f"not in time: {what}\n{self.text()[-3000:]}"
            time.sleep(0.05)

    def end(self, number: signal.Signals) -> float:
        """Send a signal and wait for a clean end; return how long that took, in seconds."""
        began_s = time.monotonic()
        self.process.send_signal(number)
        self.ended(within_s=END_TIMEOUT_S)
        return time.monotonic() - began_s

    def ended(self, within_s: float) -> None:
        """Wait for a clean end."""
        code = self.process.wait(within_s)
        self._reader.join(5)
        assert code == 0, f"exit code {code}:\n{self.text()[-3000:]}"

    def _read(self, stderr: int) -> None:
        with contextlib.suppress(OSError):  # the other side of the terminal is closed
            while chunk := os.read(stderr, 65_536):
                self._said += chunk


@contextlib.contextmanager
def demo_on_a_pipe(*arguments: str, command: Sequence[str] = COMMAND) -> Iterator[Demo]:
    """Run the demo, or another command, without a terminal."""
    with _started([*command, *arguments], {}, subprocess.PIPE) as process:
        assert process.stderr is not None
        yield Demo(process, process.stderr.fileno())


@contextlib.contextmanager
def demo_on_a_terminal(columns: int, lines: int, *arguments: str, command: Sequence[str] = COMMAND) -> Iterator[Demo]:
    """Run the demo, or another command, on a terminal of this size."""
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        with _started([*command, *arguments], {"TERM": "xterm-256color"}, theirs) as process:
            os.close(theirs)
            yield Demo(process, ours)
    finally:
        os.close(ours)


@contextlib.contextmanager
def _started(arguments: list[str], more: dict[str, str], stderr: int) -> Iterator[subprocess.Popen[bytes]]:
    unwanted = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
    environ = {name: value for name, value in os.environ.items() if name not in unwanted} | more
    process = subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, env=environ
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
