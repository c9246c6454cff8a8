"""The columns that audience, noise, encoders and sinks pass on: one row per event, no Python object per event."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class EventBatch(NamedTuple):
    """Events ordered by arrival time; all arrays have one entry per event."""

    arrival_ms: npt.NDArray[np.int64]
    """When the event arrives; without noise, its own timestamp."""
    timestamp_ms: npt.NDArray[np.int64]
    """The event's own timestamp."""
    stream: npt.NDArray[np.int32]
    """Index of the stream; `Programme.stream_ids` has the names."""
    viewer: npt.NDArray[np.int64]
    """Number of the viewer; a returning viewer keeps it."""
    facts: npt.NDArray[np.uint8]
    """What the event says, as bits of `consumer.windows.events`."""
    bitrate_bps: npt.NDArray[np.int64]
    """0 without BITRATE."""
    duration_ms: npt.NDArray[np.int64]
    """0 without BUFFER."""

    @property
    def size(self) -> int:
        """The number of events."""
        return len(self.facts)

    def take(self, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_] | slice) -> "EventBatch":
        """Return the given rows, in the given order."""
        return EventBatch(
            self.arrival_ms[rows],
            self.timestamp_ms[rows],
            self.stream[rows],
            self.viewer[rows],
            self.facts[rows],
            self.bitrate_bps[rows],
            self.duration_ms[rows],
        )


EMPTY = EventBatch(
    np.empty(0, np.int64),
    np.empty(0, np.int64),
    np.empty(0, np.int32),
    np.empty(0, np.int64),
    np.empty(0, np.uint8),
    np.empty(0, np.int64),
    np.empty(0, np.int64),
)


def concatenate(batches: Sequence[EventBatch]) -> EventBatch:
    """Join the batches in order."""
    if not batches:
        return EMPTY
    if len(batches) == 1:
        return batches[0]
    return EventBatch(*(np.concatenate(columns) for columns in zip(*batches, strict=True)))
