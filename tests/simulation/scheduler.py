"""Simulated time and the processes in it: one thing runs at a time, and a seed decides what and when.

```
 scheduler   event ── event ──┐            ┌── event ── event ──┐           ┌── …
 process A                    └─ runs … waits                   │           │
 process B                                                      └─ runs … waits
```
A process is a thread that runs until it waits; no time passes meanwhile. So code that blocks, such as a commit, can be
overtaken by other processes while it waits, and the same seed gives the same run.
"""

import heapq
import itertools
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
Action = Callable[[], object]


class Killed(BaseException):  # not an error: it unwinds the thread of a killed process
    """Raised in a killed process wherever it waits or calls a client."""


class Scheduler:
    """A clock and the events that are due."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.current: Process | None = None
        self.baton = threading.Lock()
        self.baton.acquire()
        self._events: list[tuple[float, int, Action]] = []
        self._number = itertools.count()

    def after(self, seconds: float, action: Action) -> None:
        """Run an action that much later; those of the same time run in order."""
        heapq.heappush(self._events, (self.now_s + seconds, next(self._number), action))

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Run that long, or until a condition holds, which is looked at ten times a second; return whether it held."""
        end_s, look_s = self.now_s + seconds, self.now_s
        while self._events and self._events[0][0] <= end_s:
            at_s, _, action = heapq.heappop(self._events)
            self.now_s = at_s
            action()
            if self.now_s >= look_s:
                look_s = self.now_s + 0.1
                if until():
                    return True
        self.now_s = end_s
        return until()


class Answer(Generic[T]):
    """What a process waits for."""

    def __init__(self) -> None:
        self.value: T | None = None
        self.is_set = False
        self.on_set: Action = lambda: None

    def set(self, value: T) -> None:
        if not self.is_set:
            self.value, self.is_set = value, True
            self.on_set()


class Process:
    """A thread that has the baton while it runs; it can be killed, and frozen for a time."""

    def __init__(self, scheduler: Scheduler, name: str, main: Callable[["Process"], None]) -> None:
        self.scheduler = scheduler
        self.name = name
        self.killed = False
        self.ended = False
        self.ended_s = 0.0
        self.frozen = False
        self.error: BaseException | None = None
        self.limit_s: float | None = None
        """Time at which the call under way is given up."""
        self._main = main
        self._go = threading.Lock()
        self._go.acquire()
        self._wait_number = 0
        self._deferred: list[Action] = []
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        scheduler.after(0.0, lambda: self._wake(0))

    # Called by the process itself.

    def check(self) -> None:
        """Call at the start of every client call: a killed process does nothing more."""
        if self.killed:
            raise Killed

    def sleep(self, seconds: float) -> None:
        nothing: Answer[None] = Answer()
        self.wait(nothing, seconds)

    def wait(self, answer: Answer[T], seconds: float) -> bool:
        """Wait for an answer, for at most that long; return whether it came."""
        self.check()
        if answer.is_set:
            return True
        number = self._wait_number
        answer.on_set = lambda: self.scheduler.after(0.0, lambda: self._wake(number))
        self.scheduler.after(seconds, lambda: self._wake(number))
        self.scheduler.baton.release()
        self._go.acquire()
        self.check()
        return answer.is_set

    def _run(self) -> None:
        self._go.acquire()
        try:
            self.check()
            self._main(self)
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001  # judged by whoever started the process
            self.error = error
        finally:
            self.ended, self.ended_s = True, self.scheduler.now_s
            self.scheduler.baton.release()

    # Called by events.

    def background(self, seconds: float, action: Action) -> None:
        """Run an action of this process's other threads: later where it is frozen, never where it has ended."""
        self.scheduler.after(seconds, lambda: self._in_background(action))

    def kill(self) -> None:
        """End it where it stands, with all that is in its memory."""
        self.killed, self.frozen = True, False
        if not self.ended:
            self._resume()
        self._thread.join()

    def freeze(self) -> None:
        self.frozen = True

    def thaw(self) -> None:
        """Go on, with what is overdue first."""
        self.frozen = False
        deferred, self._deferred = self._deferred, []
        for action in deferred:
            self.background(0.0, action)

    def _in_background(self, action: Action) -> None:
        if self.frozen:
            self._deferred.append(action)
        elif not self.killed and not self.ended:
            action()

    def _wake(self, number: int) -> None:
        if number != self._wait_number or self.ended:
            return
        if self.frozen:
            self._deferred.append(lambda: self._wake(number))
        else:
            self._resume()

    def _resume(self) -> None:
        self._wait_number += 1
        self.scheduler.current = self
        self._go.release()
        self.scheduler.baton.acquire()
        self.scheduler.current = None
