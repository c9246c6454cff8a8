"""Plain events as the columns that the windows take."""

from collections.abc import Sequence

import numpy as np

from consumer.windows.events import EventColumns
from tests.reference import events_counting, sessions_counting
from tests.reference.facts import samples_of

FACTS = {"J": 1, "L": 2, "B": 4, "S": 8, "H": 0, "b": 16, "s": 32}
"""Bits of the columns by letter of a kind; small letters are samples that were skipped."""
KINDS = [*"JJJLLLBSHbs", "BS", "JB", "LBS", "Bs", "bS", "bs", "HB"]
"""To draw from: events that say one thing, several, or nothing that can be counted."""
NONE = -1
"""In the columns of samples where there is none; nobody may count it."""


def kind_of(facts: int) -> str:
    """The letters of what an event says."""
    return "".join(letter for letter, bit in FACTS.items() if facts & bit) or "H"


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
        facts=np.array([sum(FACTS[letter] for letter in event.kind) for event in events], np.uint8),
        bitrate_bps=np.array(
            [sum(samples_of(event).bitrates) if "B" in event.kind else NONE for event in events], np.int64
        ),
        duration_ms=np.array(
            [sum(samples_of(event).stalls_ms) if "S" in event.kind else NONE for event in events], np.int64
        ),
        clamped_ms=np.array(clamped_ms or [0] * len(ids), np.int64),
        reject=np.zeros(len(ids), np.uint8),
        reject_field=np.zeros(len(ids), np.uint8),
    )
