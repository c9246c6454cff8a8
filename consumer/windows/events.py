"""The columns that the intake passes to the windows: one row per event, no Python object per event."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from consumer.runtime.jit import compiled

# What an event says: bits of `EventColumns.facts`. An event with none of them is a heartbeat.
JOIN = 1
LEAVE = 2
BITRATE = 4
BUFFER = 8
HEARTBEAT = 0
KINDS = {"join": JOIN, "leave": LEAVE, "bitrate": BITRATE, "buffer": BUFFER, "heartbeat": HEARTBEAT}
"""The bit of each kind of event, by name."""

SKIPPED_SHIFT = 2
"""A sample that is no number was skipped: its bit stands this many bits higher in `facts` instead."""
SAMPLES = {"bitrate_bps": BITRATE, "duration_ms": BUFFER}
"""The fact that each sample belongs to, by the name of its field."""

EVENT_TYPES = (*KINDS, "several")
"""Kinds for counters; an event with several facts is of a type of its own, so that types add up to events."""

_ALL = JOIN | LEAVE | BITRATE | BUFFER
_COMBINATIONS = np.arange((_ALL + 1) << SKIPPED_SHIFT)

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
    facts: npt.NDArray[np.uint8]
    """Any of JOIN, LEAVE, BITRATE and BUFFER, but not both of the first two; and the bits of skipped samples."""
    bitrate_bps: npt.NDArray[np.int64]
    """Of events with BITRATE; undefined for others."""
    duration_ms: npt.NDArray[np.int64]
    """Of events with BUFFER; undefined for others."""
    clamped_ms: npt.NDArray[np.int64]
    """How far the event was ahead of its record, at whose Kafka timestamp it is taken; 0 if it was not."""
    reject: npt.NDArray[np.uint8]
    """0 for a valid event, else the code of the reason for its rejection."""
    reject_field: npt.NDArray[np.uint8]
    """The field at fault if the reason concerns one, as the intake numbers them from 1; else 0."""


class FactCounts(NamedTuple):
    """How many events of a batch say what."""

    by_type: npt.NDArray[np.int64]
    """In the order of `EVENT_TYPES`."""
    skipped: npt.NDArray[np.int64]
    """Skipped samples, in the order of `SAMPLES`."""


def count_facts(facts: npt.NDArray[np.uint8]) -> FactCounts:
    """Count accepted events by type, and their skipped samples by field."""
    counts = np.bincount(facts, minlength=len(_COMBINATIONS))
    return FactCounts(_IS_OF_TYPE @ counts, _HAS_SKIPPED @ counts)


def _is_of_type() -> npt.NDArray[np.int64]:
    """For each type and each value of `facts`, 1 if such an event is of the type, else 0."""
    facts = _COMBINATIONS & _ALL
    single = [facts == fact for fact in KINDS.values()]
    return np.array([*single, ~np.any(single, axis=0)], np.int64)


_IS_OF_TYPE = _is_of_type()
_HAS_SKIPPED = np.array([_COMBINATIONS & (fact << SKIPPED_SHIFT) != 0 for fact in SAMPLES.values()], np.int64)


@compiled
def id_bytes_of(events: EventColumns, begin: int, end: int) -> int:
    """An upper bound of the bytes of new ids that rows `begin` to `end` bring."""
    size = 0
    for i in range(begin, end):
        if events.reject[i] == 0:
            size += events.stream_size[i]
    return size
