"""Waiting for what will be, with a deadline instead of a guess."""

import time
from collections.abc import Callable


def until(condition: Callable[[], bool], what: str, within_s: float = 60.0) -> None:
    """Ask again and again until it holds.

    Raises:
        AssertionError: it didn't hold in time.
    """
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {within_s:.0f} s in vain until {what}"
        time.sleep(0.01)
