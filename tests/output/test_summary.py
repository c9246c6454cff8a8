"""Summaries as dicts, JSON and Avro have the same contents."""

import json
from io import BytesIO
from typing import Any

import fastavro
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from consumer.intake.schemas.builtin import load_builtin_schema
from consumer.output.summary import FIELDS, INT64_MAX, Origin, summary_dicts
from consumer.output.summary_encoding import NO_PARTITION, Encoder, avro_encoder, json_encoder
from consumer.windows.closing import CLOSE_REASONS
from consumer.windows.layout import CLOSED, LIMB
from consumer.windows.partition import ClosedBuckets

ORIGIN = Origin(bucket_ms=10_000, counting="events", topic="viewer-events", partition=3)
ORIGINS = st.sampled_from(
    [
        ORIGIN,
        ORIGIN._replace(counting="sessions", partition=None),
        Origin(bucket_ms=7, counting="sessions"),
        Origin(bucket_ms=10_000, counting="sessions", topic='of "' + "ü" * 80, partition=2**31 - 1),
    ]
)
COUNT = st.integers(0, 2**62 - 1)
SMALL = st.integers(0, 10_000)
TEXT = st.text(min_size=1) | st.text(st.sampled_from('\0\x01\x1f\x7f\b\f\n\r\t"\\\\/<é\u2028'), min_size=1)
COUNTS = ("peak", "joins", "leaves", "bitrate_samples", "bitrate_sum_low", "buffer_events", "stall_ms")
COUNTS_TOO = ("bitrate_min_bps", "bitrate_max_bps")
OF_PRESENCE = ("untracked", "timeouts", "unique_viewers", "viewer_ms", "viewers_at_end")


@st.composite
def closed_buckets(draw: st.DrawFn) -> ClosedBuckets:
    stream_ids = draw(st.lists(TEXT, max_size=4))
    rows = np.zeros(len(stream_ids), CLOSED)
    counts = draw(st.sampled_from([COUNT, SMALL, SMALL]))  # one large value makes all averages the slow way
    for row in rows:
        row["offset"] = draw(st.integers(-1, 2**62))
        row["reason"] = draw(st.integers(0, len(CLOSE_REASONS) - 1))
        row["bucket"]["start_ms"] = draw(st.integers(-(2**52), 2**52)) // 10_000 * 10_000
        for name in (*COUNTS, *COUNTS_TOO):
            row["bucket"][name] = draw(counts)
        for name in OF_PRESENCE:
            row["presence"][name] = draw(counts)
        row["bucket"]["bitrate_sum_high"] = draw(st.integers(0, 3)) if counts is COUNT else 0
    return ClosedBuckets([stream_id.encode() for stream_id in stream_ids], rows)


def encoded(encode: Encoder, closed: ClosedBuckets, origin: Origin) -> list[tuple[bytes | None, bytes | None]]:
    partition = NO_PARTITION if origin.partition is None else origin.partition
    records = encode(closed, np.full(len(closed), partition)).records()
    return [(key, value) for key, value, headers in records if headers == []]


@given(closed_buckets(), ORIGINS)
def test_json_is_what_the_standard_library_makes_of_the_dict(closed: ClosedBuckets, origin: Origin) -> None:
    texts = [json.dumps(each, ensure_ascii=False, separators=(",", ":")) for each in summary_dicts(closed, origin)]
    expected = [(key, text.encode()) for key, text in zip(closed.stream_ids, texts, strict=True)]
    assert encoded(json_encoder(origin), closed, origin) == expected


@given(closed_buckets(), ORIGINS)
def test_avro_is_what_fastavro_makes_of_the_dict(closed: ClosedBuckets, origin: Origin) -> None:
    raw = load_builtin_schema("bucket_summary")
    schema = fastavro.parse_schema(json.loads(json.dumps(raw)))
    expected = [
        (key, b"\0\0\0\1\2" + in_avro(schema, each))
        for key, each in zip(closed.stream_ids, summary_dicts(closed, origin), strict=True)
    ]
    assert encoded(avro_encoder(raw, 258, origin), closed, origin) == expected


def in_avro(schema: Any, summary: dict[str, Any]) -> bytes:
    out = BytesIO()
    fastavro.schemaless_writer(out, schema, summary)
    return out.getvalue()


def test_each_bucket_has_its_own_partition() -> None:
    closed = ClosedBuckets([b"a", b"b", b"c"], np.zeros(3, CLOSED))
    records = json_encoder(ORIGIN)(closed, np.array([5, NO_PARTITION, 0])).records()
    assert [json.loads(value or b"")["partition"] for _, value, _ in records] == [5, None, 0]


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
