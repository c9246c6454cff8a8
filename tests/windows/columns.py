"""Plain events as the columns that the windows take."""

from collections.abc import Sequence

import numpy as np

from consumer.windows.events import EventColumns
from tests.reference.events_counting import Event

KIND_LETTERS = "JLBS"


def columns(events: Sequence[Event]) -> EventColumns:
    ids = [event.stream_id.encode() for event in events]
    sizes = np.array([len(i) for i in ids], np.int32)
    starts = np.cumsum(sizes, dtype=np.int64) - sizes
    return EventColumns(
        text=np.frombuffer(bytearray(b"".join(ids)) or bytearray(1), np.uint8),
        stream_start=starts,
        stream_size=sizes,
        viewer_start=np.zeros(len(ids), np.int64),
        viewer_size=np.zeros(len(ids), np.int32),
        timestamp_ms=np.array([event.timestamp_ms for event in events], np.int64),
        kind=np.array([KIND_LETTERS.index(event.kind) for event in events], np.uint8),
        value=np.array([event.value for event in events], np.int64),
        reject=np.zeros(len(ids), np.uint8),
    )
