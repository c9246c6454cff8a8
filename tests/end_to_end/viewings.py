"""Events with their viewers as records of the input topic, and the summaries that sessions counting makes of them."""

from collections.abc import Iterable
from io import BytesIO
from typing import Any

import fastavro
from confluent_kafka import Message

from tests.end_to_end import events
from tests.reference import events_counting
from tests.reference.sessions_counting import Closed, Event, Reference, Rules


def varied(event: Event) -> Event:
    """The event, or a heartbeat, a sample that is no number, or two samples in its place.

    By its time alone, so that what a seed means does not change.
    """
    others = {"B": ("B", "B", "H", "b", "BS"), "S": ("S", "S", "bS")}.get(event.kind, (event.kind,))
    kind = others[event.timestamp_ms % len(others)]
    return event._replace(kind=kind, stall_ms=event.timestamp_ms % 10 if kind == "BS" else 0)


def encoded(event: Event) -> bytes:
    """Return the value of a record."""
    stream_id, viewer_id, timestamp_ms, kind, value, stall_ms = event
    return events.encoded(events_counting.Event(stream_id, kind, timestamp_ms, value, stall_ms), viewer_id)


def decoded(value: bytes) -> Event:
    """Return the event of a record."""
    stream_id, kind, timestamp_ms, number, stall_ms = events.decoded(value)
    record: Any = fastavro.schemaless_reader(BytesIO(value[len(events.FRAME) :]), events.SCHEMA, None)
    return Event(stream_id, record["viewer_id"], timestamp_ms, kind, number, stall_ms)


def judged(records: Iterable[Message], rules: Rules) -> Reference:
    """Return the judge's result for one partition; an event ahead of its record is taken at the record's time."""
    reference = Reference(rules)
    for event, offset, by_ms in events.with_clamping(records, decoded):
        reference.apply(event._replace(timestamp_ms=event.timestamp_ms - by_ms), offset, by_ms)
    return reference


def judged_events(numbered: Iterable[tuple[int, Event]], rules: Rules) -> Reference:
    """Return the judge's result for the events of one partition, each with its offset."""
    reference = Reference(rules)
    for offset, event in numbered:
        reference.apply(event, offset)
    return reference


def summary_of(closed: Closed, rules: Rules, topic: str, partition: int) -> dict[str, Any]:
    """Return all fields of the summary that a closed bucket must have."""
    bucket, stats, bitrates = closed.bucket, closed.stats, closed.bucket.bitrates
    return {
        "stream_id": closed.stream_id,
        "bucket_start_ms": bucket.start_ms,
        "bucket_end_ms": bucket.start_ms + rules.bucket_ms,
        "peak_concurrent_viewers": stats.peak,
        "avg_bitrate_bps": sum(bitrates) / len(bitrates) if bitrates else 0.0,
        "min_bitrate_bps": min(bitrates, default=0),
        "max_bitrate_bps": max(bitrates, default=0),
        "buffer_event_count": len(bucket.stalls_ms),
        "buffer_stall_ms": sum(bucket.stalls_ms),
        "bitrate_sample_count": len(bitrates),
        "joins": stats.joins,
        "leaves": stats.leaves,
        "bitrate_sum_bps": sum(bitrates),
        "timeouts": stats.timeouts,
        "unique_viewers": stats.unique_viewers,
        "avg_concurrent_viewers": stats.viewer_ms / rules.bucket_ms,
        "viewer_ms": stats.viewer_ms,
        "viewers_at_end": stats.viewers_at_end,
        "untracked_events": bucket.untracked,
        "close_reason": closed.reason,
        "counting": "sessions",
        "topic": topic,
        "partition": partition,
        "offset": closed.offset,
    }
