"""Time limits: one deadline over many waits, and a limit for client calls that ignore theirs."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
Clock = Callable[[], float]
"""Monotonic seconds."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A deadline that several waits share."""

    end_s: float
    clock: Clock

    @classmethod
    def after(cls, seconds: float, clock: Clock = time.monotonic) -> "Deadline":
        """A deadline that many seconds from now."""
        return cls(clock() + seconds, clock)

    def left_s(self) -> float:
        """Seconds left; never below 0, which the client library takes as infinite."""
        return max(0.0, self.end_s - self.clock())

    @property
    def passed(self) -> bool:
        """Whether no time is left."""
        return self.left_s() <= 0.0


class CallTimedOutError(Exception):
    """A call did not return in time; its thread still runs, so its object must not be used again."""


@dataclass(slots=True)
class _Call(Generic[T]):
    """One call and its result."""

    function: Callable[[], T]
    done: threading.Event = field(default_factory=threading.Event)
    result: list[T] = field(default_factory=list)
    error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result.append(self.function())
        except BaseException as error:  # noqa: BLE001  # handed to the caller's thread, which raises it
            self.error = error
        finally:
            self.done.set()


def call_within(seconds: float, function: Callable[[], T]) -> T:
    """Call in a separate thread and wait at most that long.

    Raises:
        CallTimedOutError: it did not return; a daemon thread remains in it.
    """
    call = _Call(function)
    threading.Thread(target=call.run, daemon=True, name="bounded-call").start()
    if not call.done.wait(seconds):
        raise CallTimedOutError
    if call.error is not None:
        raise call.error
    return call.result[0]
