"""Wait for a condition with a deadline."""

import time
from collections.abc import Callable


def until(condition: Callable[[], bool], what: str, within_s: float = 60.0) -> None:
    """Ask repeatedly until the condition holds.

    Raises:
        AssertionError: it didn't hold in time.
    """
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s:.0f} s: {what}"
        time.sleep(0.01)
