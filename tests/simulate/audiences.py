"""Small audiences for the tests, and their events as rows."""

from collections.abc import Iterable, Iterator

import numpy as np

from consumer.simulate.audience import Audience
from consumer.simulate.batch import EventBatch, concatenate
from consumer.simulate.programme import Cast

START_MS = 1_700_000_000_000
MINUTE_MS = 60_000


def audience(seed: int = 7, streams: int = 40, viewers: int = 800) -> Audience:
    return Audience(Cast(streams=streams, viewers=viewers), START_MS, seed)


def steps(length_ms: int, step_ms: int) -> Iterator[int]:
    """Return the ends of steps of one size; the last step is shorter if the size does not fit."""
    for at in range(step_ms, length_ms + step_ms, step_ms):
        yield START_MS + min(at, length_ms)


def run(one: Audience, ends: Iterable[int]) -> EventBatch:
    return concatenate([one.step(end) for end in ends])


def same(a: EventBatch, b: EventBatch) -> bool:
    return all(np.array_equal(getattr(a, column), getattr(b, column)) for column in EventBatch._fields)
