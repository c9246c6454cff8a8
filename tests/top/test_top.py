"""The command: on a terminal with keys, and on a pipe."""

import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cli.command import environment, run
from tests.support.waiting import until
from tests.top.workers import serving, stream

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """A process on its own terminal; keeps all that it draws."""

    def __init__(self, process: "subprocess.Popen[bytes]", descriptor: int) -> None:
        self.process = process
        self.descriptor = descriptor
        self._drawn = bytearray()
        threading.Thread(target=self._read, daemon=True).start()

    def frames(self) -> list[str]:
        """Return what was drawn, a text for each time it began at the top."""
        return [_CONTROL.sub("", frame) for frame in self._drawn.decode("utf-8", "replace").split("\x1b[H")]

    def press(self, key: str) -> None:
        os.write(self.descriptor, key.encode())

    def _read(self) -> None:
        try:
            while chunk := os.read(self.descriptor, 65_536):
                self._drawn += chunk
        except OSError:  # the other side is closed
            return


@contextmanager
def on_a_terminal(*arguments: str) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "consumer", "top", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(TERM="xterm-256color", COLUMNS="80", LINES="24"),
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def first_stream(terminal: Terminal) -> str:
    rows = re.findall(r"^(alpha|beta) ", terminal.frames()[-1].replace("\r", ""), re.MULTILINE)
    return rows[0] if rows else ""


def test_keys_sort_it_and_q_ends_it() -> None:
    with serving(stream("alpha", 1), stream("beta", 9)) as url, on_a_terminal("--url", url, "--every", "50ms") as top:
        until(lambda: first_stream(top) == "beta", "the largest stream is first")
        top.press("n")
        until(lambda: first_stream(top) == "alpha", "they are sorted by name")
        top.press("r")
        until(lambda: first_stream(top) == "beta", "the order is reversed")
        top.press("q")
        assert top.process.wait(20) == 0


def test_a_signal_ends_it_as_it_ends_other_commands() -> None:
    with serving(stream("alpha", 1)) as url, on_a_terminal("--url", url) as top:
        until(lambda: first_stream(top) == "alpha", "it is drawn")
        top.process.send_signal(signal.SIGINT)
        assert top.process.wait(20) == 130


def test_on_a_pipe_it_prints_all_once() -> None:
    with serving(*(stream(f"s{number:03d}", number) for number in range(60))) as url:
        done = run("top", "--url", url)
    assert (done.code, done.err) == (0, "")
    assert len(re.findall(r"^s\d\d\d ", done.out, re.MULTILINE)) == 60


def test_no_answer_at_all_is_a_failure() -> None:
    done = run("top", "--url", "http://127.0.0.1:1")
    assert done.code == 1
    assert "no answer: " in done.out
