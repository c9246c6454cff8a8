"""Single keys from a terminal, without Enter."""

import os
import select
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager


class Keys:
    """Keys of a terminal; none of a file descriptor that is no terminal."""

    def __init__(self, terminal: int | None) -> None:
        self._terminal = terminal

    def wait(self, seconds: float) -> str:
        """Return the next key, or an empty text if there is none in that time."""
        if self._terminal is None:
            select.select([], [], [], seconds)
            return ""
        ready, _, _ = select.select([self._terminal], [], [], seconds)
        return os.read(self._terminal, 1).decode("latin-1") if ready else ""


@contextmanager
def single_keys(descriptor: int) -> Iterator[Keys]:
    """Let a terminal hand on every key at once and print none; restore it at the end."""
    if not os.isatty(descriptor):
        yield Keys(None)
        return
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield Keys(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
