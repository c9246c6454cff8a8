"""Wait for a condition with a deadline."""

import sys
import threading
import time
import traceback
from collections.abc import Callable


def until(condition: Callable[[], bool], what: str, within_s: float = 60.0) -> None:
    """Ask repeatedly until the condition holds, as `comes_true`.

    Raises:
        AssertionError: it didn't hold in time.
    """
    if not comes_true(condition, within_s):
        error = AssertionError(f"not within {within_s:.0f} s: {what}")
        error.add_note(_stacks())
        raise error


def comes_true(condition: Callable[[], bool], within_s: float) -> bool:
    """Ask repeatedly, and once more after the deadline: one question may take as long as the whole wait."""
    deadline, is_last = time.monotonic() + within_s, False
    while not condition():
        if is_last:
            return False
        time.sleep(0.01)
        is_last = time.monotonic() >= deadline
    return True


def _stacks() -> str:
    """What the other threads do: one of them may hang."""
    frames = sys._current_frames()
    threads = [each for each in threading.enumerate() if each is not threading.current_thread()]
    known = [(each.name, frames[each.ident]) for each in threads if each.ident in frames]
    return "\n".join(f"thread {name}:\n{''.join(traceback.format_stack(frame))}" for name, frame in known)
