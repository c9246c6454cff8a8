"""Requests between clients and brokers: delayed, lost on the way there, or answered in vain."""

import random
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from tests.simulation.scheduler import Answer, Process, Scheduler

T = TypeVar("T")

USUAL_S = (0.0005, 0.004)
"""Of one way."""


class Weather(NamedTuple):
    """How requests of one kind fare."""

    lost_requests: float = 0.0
    """Share that never arrives."""
    lost_answers: float = 0.0
    """Share of answers that never come back to requests that have arrived."""
    slow: float = 0.0
    """Share of ways that take up to `slowest_s`."""
    slowest_s: float = 0.0


CALM = Weather()


class Network:
    """Carries requests; `weather` says how each kind fares, `CALM` where it says nothing."""

    def __init__(self, scheduler: Scheduler, dice: random.Random) -> None:
        self.weather: dict[str, Weather] = {}
        """By kind of request."""
        self.outages: dict[tuple[str, str], Weather] = {}
        """By name of the process and kind, instead of that."""
        self._scheduler = scheduler
        self._dice = dice

    def way_s(self, process: Process, kind: str) -> float:
        weather = self._weather(process, kind)
        if self._dice.random() < weather.slow:
            return self._dice.uniform(0.0, weather.slowest_s)
        return self._dice.uniform(*USUAL_S)

    def _weather(self, process: Process, kind: str) -> Weather:
        return self.outages.get((process.name, kind)) or self.weather.get(kind, CALM)

    def send(
        self, process: Process, kind: str, handle: Callable[[], T], done: Callable[[T], object]
    ) -> Callable[[], None]:
        """Send a request until it is answered; `handle` may run several times, also after the sender has given up.

        Returns what stops sending it again.
        """
        over = False

        def attempt() -> None:
            if over:
                return
            if self._dice.random() >= self._weather(process, kind).lost_requests:
                self._scheduler.after(self.way_s(process, kind), arrive)
            # A connection that breaks is noticed sooner or later.
            process.background(self._dice.choice((0.3, 1.0, 3.0)) + 2 * USUAL_S[1], attempt)

        def arrive() -> None:
            result = handle()
            if self._dice.random() >= self._weather(process, kind).lost_answers:
                process.background(self.way_s(process, kind), lambda: answered(result))

        def answered(result: T) -> None:
            nonlocal over
            if not over:
                over = True
                done(result)

        def give_up() -> None:
            nonlocal over
            over = True

        attempt()
        return give_up

    def call(self, process: Process, kind: str, handle: Callable[[], T], limit_s: float) -> T | None:
        """Send a request and wait for its answer; None where none came in time."""
        answer: Answer[T] = Answer()
        give_up = self.send(process, kind, handle, answer.set)
        if process.wait(answer, limit_s):
            return answer.value
        give_up()
        return None
