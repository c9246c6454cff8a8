"""Time limits: one deadline over many waits, and a limit for calls that have none or ignore theirs."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
Clock = Callable[[], float]
"""Monotonic seconds."""

_LOOK_EVERY_S = 0.1


def no_limit() -> float:
    """Infinite seconds."""
    return math.inf


@dataclass(frozen=True, slots=True)
class Deadline:
    """A deadline that several waits share."""

    end_s: float
    clock: Clock
    limit_s: Callable[[], float] = no_limit
    """Seconds that something else leaves, such as a stop of the worker that is asked for meanwhile."""

    @classmethod
    def after(
        cls, seconds: float, clock: Clock = time.monotonic, limit_s: Callable[[], float] = no_limit
    ) -> "Deadline":
        """A deadline that many seconds from now, or when the limit is used up."""
        return cls(clock() + seconds, clock, limit_s)

    def left_s(self) -> float:
        """Seconds left; never below 0, which the client library takes as infinite."""
        return max(0.0, min(self.end_s - self.clock(), self.limit_s()))

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


def call_within(deadline: Deadline, function: Callable[[], T]) -> T:
    """Call in a separate thread and wait until the deadline.

    Raises:
        CallTimedOutError: it did not return; a daemon thread remains in it.
    """
    return call_while(lambda: not deadline.passed, function)


def call_while(wanted: Callable[[], bool], function: Callable[[], T]) -> T:
    """Call in a separate thread and wait as long as the result is wanted, which is asked ten times a second.

    Raises:
        CallTimedOutError: as `call_within`.
    """
    call = _Call(function)
    threading.Thread(target=call.run, daemon=True, name="bounded-call").start()
    while not call.done.wait(_LOOK_EVERY_S):
        if not wanted():
            raise CallTimedOutError
    if call.error is not None:
        raise call.error
    return call.result[0]
