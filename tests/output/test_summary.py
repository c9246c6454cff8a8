"""Summaries as dicts, JSON and Avro have the same contents."""

import json
from io import BytesIO

import fastavro
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from consumer.intake.schemas.builtin import load_builtin_schema
from consumer.output.summary import FIELDS, INT64_MAX, Origin, avro_records, json_records, summary_dicts
from consumer.windows.closing import CLOSE_REASONS
from consumer.windows.layout import CLOSED, LIMB
from consumer.windows.partition import ClosedBuckets

ORIGIN = Origin(bucket_ms=10_000, counting="events", topic="viewer-events", partition=3)
COUNT = st.integers(0, 2**62 - 1)


@st.composite
def closed_buckets(draw: st.DrawFn) -> ClosedBuckets:
    stream_ids = draw(st.lists(st.text(min_size=1), max_size=4))
    rows = np.zeros(len(stream_ids), CLOSED)
    for row in rows:
        row["offset"] = draw(st.integers(-1, 2**62))
        row["reason"] = draw(st.integers(0, len(CLOSE_REASONS) - 1))
        row["bucket"]["start_ms"] = draw(st.integers(-(2**52), 2**52)) // 10_000 * 10_000
        for name in ("peak", "joins", "leaves", "bitrate_samples", "bitrate_sum_low", "buffer_events", "stall_ms"):
            row["bucket"][name] = draw(COUNT)
        row["bucket"]["bitrate_sum_high"] = draw(st.integers(0, 3))
    return ClosedBuckets([stream_id.encode() for stream_id in stream_ids], rows)


@given(closed_buckets())
def test_json_equals_the_dict(closed: ClosedBuckets) -> None:
    records = json_records(closed, ORIGIN)
    assert [json.loads(value) for _, value in records] == summary_dicts(closed, ORIGIN)
    assert [key for key, _ in records] == closed.stream_ids


@given(closed_buckets())
def test_avro_equals_the_dict(closed: ClosedBuckets) -> None:
    schema = fastavro.parse_schema(load_builtin_schema("bucket_summary"))
    reader = fastavro.parse_schema(json.loads(json.dumps(schema).replace("timestamp-millis", "none")))
    for (key, value), expected in zip(
        avro_records(schema, 258, closed, ORIGIN), summary_dicts(closed, ORIGIN), strict=True
    ):
        assert value[:5] == b"\0\0\0\1\2"
        assert fastavro.schemaless_reader(BytesIO(value[5:]), reader, None) == expected
        assert key.decode() == expected["stream_id"]


def test_the_schema_has_the_fields_of_a_summary_in_their_order() -> None:
    assert [field["name"] for field in load_builtin_schema("bucket_summary")["fields"]] == list(FIELDS)


def one_bucket(**fields: int) -> dict[str, object]:
    rows = np.zeros(1, CLOSED)
    for name, value in fields.items():
        rows["bucket"][name] = value
    return summary_dicts(ClosedBuckets([b"s"], rows), ORIGIN)[0]


def test_an_average_is_rounded_once() -> None:
    # (2^53 + 1) / 1 and 2^53 / 1 round to the same; as a sum of two samples the odd bit still counts.
    assert one_bucket(bitrate_samples=2, bitrate_sum_low=2**54 + 6)["avg_bitrate_bps"] == float(2**53 + 4)
    assert one_bucket(bitrate_samples=3, bitrate_sum_high=3)["avg_bitrate_bps"] == float(LIMB)


def test_a_sum_beyond_64_bits_saturates_and_its_average_stays_exact() -> None:
    summary = one_bucket(bitrate_samples=2**23, bitrate_sum_high=4)
    assert summary["bitrate_sum_bps"] == INT64_MAX
    assert summary["avg_bitrate_bps"] == float(2**41)


def test_the_end_of_a_bucket_is_its_start_plus_its_length() -> None:
    summary = one_bucket(start_ms=-10_000)
    assert (summary["bucket_start_ms"], summary["bucket_end_ms"]) == (-10_000, 0)
