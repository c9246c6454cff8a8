"""The columns that the intake passes to the windows: one row per event, no Python object per event."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from consumer.runtime.jit import compiled

JOIN = 0
LEAVE = 1
BITRATE = 2
BUFFER = 3
KINDS = ("join", "leave", "bitrate", "buffer")
"""Names of the kinds, by code."""

MAX_ABS_TIMESTAMP_MS = 2**52
MAX_BITRATE_BPS = 2**41
MAX_DURATION_MS = 2**32 - 1


class EventColumns(NamedTuple):
    """A batch of events in record order; every array but `text` has one entry an event.

    Row i's stream id is `text[stream_start[i] : stream_start[i] + stream_size[i]]` (UTF-8), its viewer id likewise.
    Only rows with `reject == 0` hold an event; the others' columns are undefined.
    """

    text: npt.NDArray[np.uint8]
    stream_start: npt.NDArray[np.int64]
    stream_size: npt.NDArray[np.int32]
    viewer_start: npt.NDArray[np.int64]
    viewer_size: npt.NDArray[np.int32]
    timestamp_ms: npt.NDArray[np.int64]
    kind: npt.NDArray[np.uint8]
    value: npt.NDArray[np.int64]
    """Bits per second of a bitrate report, milliseconds of a buffer event, else 0."""
    clamped_ms: npt.NDArray[np.int64]
    """How far the event was ahead of its record, at whose Kafka timestamp it is taken; 0 if it was not."""
    reject: npt.NDArray[np.uint8]
    """0 for a valid event, else the code of the reason for its rejection."""


@compiled
def id_bytes_of(events: EventColumns, begin: int, end: int) -> int:
    """An upper bound of the bytes of new ids that rows `begin` to `end` bring."""
    size = 0
    for i in range(begin, end):
        if events.reject[i] == 0:
            size += events.stream_size[i]
    return size
