"""The load: small events of many streams, evenly spread over time, as batches of encoded records."""

import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from consumer.kafka.embedded import EventProducer
from consumer.simulate.batch import EventBatch
from consumer.simulate.encode import EventEncoder
from consumer.windows.events import BITRATE, BUFFER, JOIN, LEAVE

AT_ONCE = 50_000
AUDIENCE = 200_000
"""Viewers; each of them watches one stream, unless they wander."""
FRAME = b"\0\0\0\0\1"
"""Magic byte and the id that the settings pin to our schema."""

SHARES = {JOIN: 0.1, LEAVE: 0.1, BITRATE: 0.7, BUFFER: 0.1}
"""Of the events, by type."""

Records = tuple[list[bytes], list[bytes], list[int]]
"""Keys, values and timestamps."""


class EventMaker:
    """Make events of random streams at given times."""

    def __init__(self, streams: int, seed: int = 1, disorder_ms: int = 2_000, *, wandering: bool = False) -> None:
        self._rng = np.random.default_rng(seed)
        self._disorder_ms = disorder_ms
        self._wandering = wandering
        ids = [f"channel/stream-{number:07d}" for number in range(streams)]
        self._keys = [one.encode() for one in ids]
        self._encoder = EventEncoder(ids, seed, FRAME)

    def records(self, at_ms: npt.NDArray[np.int64], *, joins: bool = True, live: slice = slice(None)) -> Records:
        """Return one event per time, less its disorder; without joins no ended stream stays in memory.

        Args:
            at_ms: when they come, which is their Kafka timestamps.
            joins: some of them are.
            live: the streams that they are drawn from.
        """
        rng, count = self._rng, len(at_ms)
        facts = rng.choice(np.array(list(SHARES), np.uint8), count, p=list(SHARES.values()))
        if not joins:
            facts[facts == JOIN] = BITRATE
        bitrates = rng.choice(np.array([800_000, 1_500_000, 3_000_000, 6_000_000]), count)
        begin, end, _ = live.indices(len(self._keys))
        viewer = rng.integers(0, max(AUDIENCE, end - begin), count)
        watched = rng.integers(0, end - begin, count) if self._wandering else viewer % (end - begin)
        events = EventBatch(
            arrival_ms=at_ms,
            timestamp_ms=at_ms - rng.integers(0, self._disorder_ms + 1, count),
            stream=(begin + watched).astype(np.int32),
            viewer=viewer,
            facts=facts,
            bitrate_bps=np.where(facts == BITRATE, bitrates, 0),
            duration_ms=np.where(facts == BUFFER, rng.integers(1, 5_000, count), 0),
        )
        return [self._keys[stream] for stream in events.stream.tolist()], self._encoder.avro(events), at_ms.tolist()


class Load(NamedTuple):
    """What is sent; the last event is a minute old, so that none is in the future."""

    events: int
    streams: int
    duration_ms: int
    start_ms: int
    wandering: bool = False
    """Each event is of a viewer and a stream at random: nearly as many pairs as events, so that caches miss."""

    def batches(self, seed: int = 1) -> Iterator[Records]:
        """Yield batches in order of time."""
        maker = EventMaker(self.streams, seed, wandering=self.wandering)
        for begin in range(0, self.events, AT_ONCE):
            numbers = np.arange(begin, min(begin + AT_ONCE, self.events), dtype=np.int64)
            yield maker.records(self.start_ms + numbers * self.duration_ms // self.events)


def write(batches: Iterable[Records], producer: EventProducer) -> int:
    """Write all of it; return the size of all values in bytes."""
    size = 0
    for keys, values, timestamps_ms in batches:
        producer.produce(zip(keys, values, timestamps_ms, strict=True))
        size += sum(map(len, values))
    producer.flush(120.0)
    return size


def load_ending_now(events: int, streams: int, duration_ms: int) -> Load:
    """Return a load whose newest event is a minute old."""
    return Load(events, streams, duration_ms, int(time.time() * 1000) - duration_ms - 60_000)
