"""Events as records of the input topic, written and read by fastavro; the judge gets what was written."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
from confluent_kafka import Message

from tests.aggregate.files import RECORDS
from tests.reference.events_counting import Closed, Event, Reference, Rules
from tests.reference.facts import numbers_of
from tests.reference.timing import EventT, clamped_ms

SCHEMA_PATH = Path(__file__).parents[2] / "schemas" / "viewer_event.avsc"
SCHEMA_ID = 7
FRAME = b"\0" + SCHEMA_ID.to_bytes(4, "big")

_KINDS = {f"viewer_consumer.{name}": kind for kind, name in RECORDS.items()}


def _plain_times(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with times as numbers, since fastavro has no dates before year 1 or after 9999."""
    fields = [field | {"type": "long"} if field["name"] == "timestamp_ms" else field for field in schema["fields"]]
    return schema | {"fields": fields}


SCHEMA = fastavro.parse_schema(_plain_times(json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))))


def encoded(event: Event, viewer_id: str = "v") -> bytes:
    """Return the value of a record."""
    name = f"viewer_consumer.{RECORDS[event.kind.upper()]}"
    record = {"stream_id": event.stream_id, "viewer_id": viewer_id, "timestamp_ms": event.timestamp_ms}
    out = BytesIO()
    fastavro.schemaless_writer(out, SCHEMA, record | {"event": (name, numbers_of(event))})
    return FRAME + out.getvalue()


def decoded(value: bytes) -> Event:
    """Return the event of a record."""
    assert value.startswith(FRAME)
    record: Any = fastavro.schemaless_reader(BytesIO(value[len(FRAME) :]), SCHEMA, None, return_record_name=True)
    name, numbers = record["event"]
    kind = _KINDS[name]
    for letter, field in (("B", "bitrate_bps"), ("S", "duration_ms")):
        if numbers.get(field, 0) < 0:
            kind = kind.replace(letter, letter.lower())
    return Event(record["stream_id"], kind, record["timestamp_ms"], *(n for n in numbers.values() if n >= 0))


def judged(records: Iterable[Message], rules: Rules) -> Reference:
    """Return the judge's result for one partition; an event ahead of its record is taken at the record's time."""
    reference = Reference(rules)
    for event, offset, by_ms in with_clamping(records, decoded):
        reference.apply(event._replace(timestamp_ms=event.timestamp_ms - by_ms), offset, by_ms)
    return reference


def with_clamping(records: Iterable[Message], decode: Callable[[bytes], EventT]) -> Iterator[tuple[EventT, int, int]]:
    """Yield each event, its record's offset, and by how much it is ahead of its record."""
    for record in records:
        event = decode(record.value() or b"")
        yield event, record.offset() or 0, clamped_ms(event.timestamp_ms, record.timestamp()[1])


def judged_events(events: Iterable[tuple[int, Event]], rules: Rules) -> Reference:
    """Return the judge's result for the events of one partition, each with its offset."""
    reference = Reference(rules)
    for offset, event in events:
        reference.apply(event, offset)
    return reference


def summary_of(closed: Closed, rules: Rules, topic: str, partition: int) -> dict[str, Any]:
    """Return all fields of the summary that a closed bucket must have."""
    start_ms, peak, average, least, most, stalls, stall_ms, samples = closed.bucket.row()
    return {
        "stream_id": closed.stream_id,
        "bucket_start_ms": start_ms,
        "bucket_end_ms": start_ms + rules.bucket_ms,
        "peak_concurrent_viewers": peak,
        "avg_bitrate_bps": average,
        "min_bitrate_bps": least,
        "max_bitrate_bps": most,
        "buffer_event_count": stalls,
        "buffer_stall_ms": stall_ms,
        "bitrate_sample_count": samples,
        "joins": closed.bucket.joins,
        "leaves": closed.bucket.leaves,
        "bitrate_sum_bps": sum(closed.bucket.bitrates),
        "timeouts": None,
        "unique_viewers": None,
        "avg_concurrent_viewers": None,
        "viewer_ms": None,
        "viewers_at_end": None,
        "untracked_events": None,
        "close_reason": closed.reason,
        "counting": "events",
        "topic": topic,
        "partition": partition,
        "offset": closed.offset,
    }


Summaries = Mapping[tuple[int, str], list[dict[str, Any]]]
"""Grouped by partition and stream; each stream in order."""


def by_stream(summaries: Iterable[dict[str, Any]]) -> Summaries:
    """Group by stream; keep the order within a stream."""
    grouped: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for summary in summaries:
        grouped.setdefault((summary["partition"], summary["stream_id"]), []).append(summary)
    return grouped


def assert_same(got: Iterable[dict[str, Any]], expected: Iterable[dict[str, Any]]) -> int:
    """Compare every field of every summary, each exactly once, in order within a stream; return their number."""
    mine, theirs = by_stream(got), by_stream(expected)
    assert mine.keys() == theirs.keys()
    for place, summaries in theirs.items():
        assert mine[place] == summaries, place
    return sum(map(len, mine.values()))
