"""The loop of a simulation: draw a slice of event time, apply noise, pass it to the sink, keep pace."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np

from consumer.simulate.audience import Audience
from consumer.simulate.batch import EventBatch
from consumer.simulate.noise import Noise
from consumer.simulate.pace import Pace
from consumer.simulate.reports import Reports
from consumer.simulate.sinks import Sink
from consumer.windows.events import EVENT_TYPES, count_facts

SLICE_MS = 1_000
"""The longest slice of event time."""

LIVE_SLICE_MS = 100
"""The length of a slice when event time follows a clock."""


class Clock(Protocol):
    """Wall time, and waiting for it."""

    def now_ms(self) -> int:
        """Return Unix time in milliseconds."""

    def wait(self, seconds: float) -> bool:
        """Wait; return True at once when the run has to stop."""


class Arrivals(NamedTuple):
    """An audience, the way in which its players report, and the noise between them and the topic."""

    audience: Audience
    reports: Reports
    noise: Noise

    def step(self, to_ms: int) -> EventBatch:
        """Return all events that arrive from the end of the last step up to `to_ms`, ordered by arrival."""
        return self.noise.apply(self.reports.apply(self.audience.step(to_ms)), to_ms)


class End(NamedTuple):
    """What ends a run besides a stop: event time, or a number of events; None means no end."""

    at_ms: int | None = None
    events: int | None = None


class Sent(NamedTuple):
    """What a feed has sent so far."""

    events: int
    by_type: tuple[int, ...]
    """In the order of `EVENT_TYPES`."""
    to_ms: int
    """Event time reached."""


def feed(arrivals: Arrivals, sink: Sink, pace: Pace, clock: Clock, end: End) -> Iterator[Sent]:
    """Send events slice by slice until the end or a stop, then close the sink; yield after each slice."""
    counters = np.zeros(len(EVENT_TYPES), np.int64)
    for batch, at_ms in _slices(arrivals, pace, clock, end.at_ms):
        sent = batch if end.events is None else batch.take(slice(0, end.events - int(counters.sum())))
        if sent.size:
            sink.write(sent)
        counters += count_facts(sent.facts).by_type
        yield Sent(int(counters.sum()), tuple(counters.tolist()), at_ms)
        if end.events is not None and counters.sum() >= end.events:
            break
    sink.close()


def _slices(arrivals: Arrivals, pace: Pace, clock: Clock, end_ms: int | None) -> Iterator[tuple[EventBatch, int]]:
    """Yield arriving events and the event time reached, each when it is due; at the end, events in transit."""
    at_ms = pace.start_ms
    while end_ms is None or at_ms < end_ms:
        next_ms = _next_ms(at_ms, pace.reach_ms(clock.now_ms()), end_ms)
        if next_ms is not None:
            yield arrivals.step(next_ms), next_ms
            at_ms = next_ms
        if clock.wait(0.0 if next_ms is not None else pace.wait_s(at_ms + LIVE_SLICE_MS, clock.now_ms())):
            return
    yield arrivals.noise.rest(), at_ms


def _next_ms(at_ms: int, reach_ms: int, end_ms: int | None) -> int | None:
    """Return where the next slice ends; None while too little is due."""
    last_ms = at_ms + SLICE_MS if end_ms is None else min(at_ms + SLICE_MS, end_ms)
    next_ms = min(last_ms, reach_ms)
    return next_ms if next_ms >= min(at_ms + LIVE_SLICE_MS, last_ms) else None
