"""The load: small events of many streams, evenly spread over time, as batches of encoded records."""

import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from consumer.simulate.batch import EventBatch
from consumer.simulate.encode import EventEncoder
from consumer.windows.events import BITRATE, BUFFER, JOIN, LEAVE

AT_ONCE = 50_000
FRAME = b"\0\0\0\0\1"
"""Magic byte and the id that the settings pin to our schema."""


class Load(NamedTuple):
    """What is sent; the last event lies a minute back, so that none is ahead of its time."""

    events: int
    streams: int
    duration_ms: int
    start_ms: int

    def batches(self, seed: int = 1) -> Iterator[tuple[list[bytes], list[bytes], list[int]]]:
        """Keys, values and timestamps, in order of time."""
        rng = np.random.default_rng(seed)
        ids = [f"channel/stream-{number:06d}" for number in range(self.streams)]
        keys = [one.encode() for one in ids]
        encoder = EventEncoder(ids, seed, FRAME)
        for begin in range(0, self.events, AT_ONCE):
            batch = self._batch(rng, begin, min(AT_ONCE, self.events - begin))
            yield [keys[stream] for stream in batch.stream.tolist()], encoder.avro(batch), batch.timestamp_ms.tolist()

    def _batch(self, rng: np.random.Generator, begin: int, count: int) -> EventBatch:
        at_ms = self.start_ms + (np.arange(begin, begin + count) * self.duration_ms) // self.events
        kind = rng.choice(np.array([JOIN, LEAVE, BITRATE, BUFFER], np.uint8), count, p=[0.1, 0.1, 0.7, 0.1])
        bitrates = rng.choice(np.array([800_000, 1_500_000, 3_000_000, 6_000_000]), count)
        value = np.where(kind == BITRATE, bitrates, np.where(kind == BUFFER, rng.integers(1, 5_000, count), 0))
        return EventBatch(
            arrival_ms=at_ms,
            timestamp_ms=at_ms - rng.integers(0, 2_000, count),
            stream=rng.integers(0, self.streams, count).astype(np.int32),
            viewer=rng.integers(0, 200_000, count),
            kind=kind,
            value=value,
        )


def load_ending_now(events: int, streams: int, duration_ms: int) -> Load:
    """A load whose newest event is a minute old."""
    return Load(events, streams, duration_ms, int(time.time() * 1000) - duration_ms - 60_000)
