"""Plain events as the columns that the windows take."""

from collections.abc import Sequence

import numpy as np

from consumer.windows.events import EventColumns
from tests.reference import events_counting, sessions_counting

KIND_LETTERS = "JLBS"


def columns(
    events: Sequence[events_counting.Event | sessions_counting.Event], clamped_ms: Sequence[int] = ()
) -> EventColumns:
    """Columns of events at the times at which they are taken; `clamped_ms` is 0 for each if it is left out."""
    ids = [event.stream_id.encode() for event in events]
    viewers = [event.viewer_id.encode() if isinstance(event, sessions_counting.Event) else b"" for event in events]
    sizes = np.array([len(i) for i in ids], np.int32)
    viewer_sizes = np.array([len(i) for i in viewers], np.int32)
    starts = np.cumsum(sizes, dtype=np.int64) - sizes
    viewer_starts = np.cumsum(viewer_sizes, dtype=np.int64) - viewer_sizes + sizes.sum()
    return EventColumns(
        text=np.frombuffer(bytearray(b"".join(ids + viewers)) or bytearray(1), np.uint8),
        stream_start=starts,
        stream_size=sizes,
        viewer_start=viewer_starts,
        viewer_size=viewer_sizes,
        timestamp_ms=np.array([event.timestamp_ms for event in events], np.int64),
        kind=np.array([KIND_LETTERS.index(event.kind) for event in events], np.uint8),
        value=np.array([event.value for event in events], np.int64),
        clamped_ms=np.array(clamped_ms or [0] * len(ids), np.int64),
        reject=np.zeros(len(ids), np.uint8),
    )
