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
    """A moment that many waits share, so that together they take no longer than one was allowed to."""

    end_s: float
    clock: Clock

    @classmethod
    def after(cls, seconds: float, clock: Clock = time.monotonic) -> "Deadline":
        """So many seconds from now."""
        return cls(clock() + seconds, clock)

    def left_s(self) -> float:
        """Seconds left; never below 0, since the client library takes that for ever."""
        return max(0.0, self.end_s - self.clock())

    @property
    def passed(self) -> bool:
        """No time is left."""
        return self.left_s() <= 0.0


class CallTimedOutError(Exception):
    """A call has not come back in time; its thread is left behind, and what it works on must not be used again."""


@dataclass(slots=True)
class _Call(Generic[T]):
    """One call and what came of it."""

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
    """Call in a thread of its own and wait so long for it.

    Raises:
        CallTimedOutError: it hasn't come back; a daemon thread stays in it.
    """
    call = _Call(function)
    threading.Thread(target=call.run, daemon=True, name="bounded-call").start()
    if not call.done.wait(seconds):
        raise CallTimedOutError
    if call.error is not None:
        raise call.error
    return call.result[0]
