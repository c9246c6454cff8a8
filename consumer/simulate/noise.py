"""Disturb events between players and topic: loss, duplicates, delays, wrong clocks.

Whether and how an event is changed depends only on the seed and the event's number, so that the result does not depend
on the size of slices.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from consumer.errors import UsageError
from consumer.simulate.batch import EMPTY, EventBatch, concatenate
from consumer.simulate.scatter import salt, uniform
from consumer.windows.events import LEAVE


@dataclass(frozen=True)
class NoiseRules:
    """How much of each; all zero means no noise. Shares are from 0 to 1."""

    loss: float = 0.0
    """Share of all events that never arrive."""
    leave_loss: float = 0.0
    """Share of the leaves that never arrive, on top of `loss`: closed laptops send none."""
    duplicates: float = 0.0
    """Share of the events that arrive twice."""
    disorder: float = 0.0
    """Share of the events that are delayed, and so arrive after later ones."""
    max_delay_ms: int = 5_000
    """The longest delay of an event, and of a duplicate."""
    max_skew_ms: int = 0
    """The largest error of a viewer's clock, in either direction; it is constant per viewer."""

    def __post_init__(self) -> None:
        for name in ("loss", "leave_loss", "duplicates", "disorder"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise UsageError(f"{name} must be a share from 0 to 1, not {share}")
        for name in ("max_delay_ms", "max_skew_ms"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} must be 0 or more, not {getattr(self, name)}")


class Noise:
    """Takes events in the order in which they happened, and returns them in the order in which they arrive."""

    def __init__(self, rules: NoiseRules, seed: int) -> None:
        self._rules = rules
        self._loss, self._repeat, self._delay, self._long, self._copy, self._skew = (salt(seed, n) for n in range(6))
        self._seen = 0
        self._underway = EMPTY
        self._order = np.empty(0, np.int64)

    def apply(self, events: EventBatch, to_ms: int) -> EventBatch:
        """Take events before `to_ms` and return all that arrive before it; events in transit wait for the next call."""
        arriving, order = self._send(events)
        self._underway = concatenate([self._underway, arriving])
        self._order = np.concatenate([self._order, order])
        here = self._underway.arrival_ms < to_ms
        return self._release(here)

    def rest(self) -> EventBatch:
        """Return all events in transit, ordered by arrival; call at the end."""
        return self._release(np.ones(self._underway.size, np.bool_))

    def _release(self, here: npt.NDArray[np.bool_]) -> EventBatch:
        out = self._underway.take(here)
        rows = np.lexsort((self._order[here], out.arrival_ms))
        self._underway = self._underway.take(~here)
        self._order = self._order[~here]
        return out.take(rows)

    def _send(self, events: EventBatch) -> tuple[EventBatch, npt.NDArray[np.int64]]:
        rules = self._rules
        number = self._seen + np.arange(events.size)
        self._seen += events.size
        lost_below = np.where(events.facts == LEAVE, rules.loss + (1 - rules.loss) * rules.leave_loss, rules.loss)
        arrives = uniform(number, self._loss) >= lost_below
        number = number[arrives]
        sent = self._skewed(events.take(arrives))
        first = sent._replace(arrival_ms=sent.arrival_ms + self._delays(number))
        twice = uniform(number, self._repeat) < rules.duplicates
        late = _up_to(uniform(number[twice], self._copy), rules.max_delay_ms)
        again = first.take(twice)
        again = again._replace(arrival_ms=again.arrival_ms + late)
        return concatenate([first, again]), np.concatenate([2 * number, 2 * number[twice] + 1])

    def _delays(self, number: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        delayed = uniform(number, self._delay) < self._rules.disorder
        return np.where(delayed, _up_to(uniform(number, self._long), self._rules.max_delay_ms), 0)

    def _skewed(self, events: EventBatch) -> EventBatch:
        most = self._rules.max_skew_ms
        if most == 0:
            return events
        skew = _up_to(uniform(events.viewer, self._skew), 2 * most) - most
        return events._replace(timestamp_ms=events.timestamp_ms + skew)


def _up_to(share: npt.NDArray[np.float64], most: int) -> npt.NDArray[np.int64]:
    """Return integers from 0 to `most`, both inclusive."""
    return (share * (most + 1)).astype(np.int64)
