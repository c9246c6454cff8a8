"""The columns that audience, noise, encoders and sinks hand each other: one row an event, no object an event."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class EventBatch(NamedTuple):
    """Events by time of arrival; all arrays have one entry an event."""

    arrival_ms: npt.NDArray[np.int64]
    """When the event reaches the pipe; without noise, its own timestamp."""
    timestamp_ms: npt.NDArray[np.int64]
    """What the event says of itself."""
    stream: npt.NDArray[np.int32]
    """Index of the stream; `Programme.stream_ids` has the names."""
    viewer: npt.NDArray[np.int64]
    """Number of the viewer; the same one keeps it over all sessions."""
    kind: npt.NDArray[np.uint8]
    """A kind of `consumer.windows.events`."""
    value: npt.NDArray[np.int64]
    """Bits per second of a bitrate report, milliseconds of a buffer event, else 0."""

    @property
    def size(self) -> int:
        """Number of events."""
        return len(self.kind)

    def take(self, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_] | slice) -> "EventBatch":
        """The given rows, in the given order."""
        return EventBatch(
            self.arrival_ms[rows],
            self.timestamp_ms[rows],
            self.stream[rows],
            self.viewer[rows],
            self.kind[rows],
            self.value[rows],
        )


EMPTY = EventBatch(
    np.empty(0, np.int64),
    np.empty(0, np.int64),
    np.empty(0, np.int32),
    np.empty(0, np.int64),
    np.empty(0, np.uint8),
    np.empty(0, np.int64),
)


def concatenate(batches: Sequence[EventBatch]) -> EventBatch:
    """One batch after the other."""
    if not batches:
        return EMPTY
    if len(batches) == 1:
        return batches[0]
    return EventBatch(*(np.concatenate(columns) for columns in zip(*batches, strict=True)))
