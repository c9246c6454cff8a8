"""Dead letters keep the record unchanged and never exceed the producer's limit."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from consumer.output.dead_letter import OFFSET, TIMESTAMP_MS, Cause, CauseHeaders, Rejected, rejected_records
from consumer.runtime.joined import joined
from consumer.runtime.record_columns import Headers, RecordWithHeaders, header_columns

Reject: TypeAlias = tuple[int, int, bytes | None, bytes | None, Headers]
"""Offset, timestamp, key, value and headers."""

CAUSE = Cause(
    topic="viewer-events",
    partition=2,
    application="my-group",
    reason="bad_framing",
    message="the record doesn't begin as input.format says",
    schema="id 7",
).headers()
HEADERS: Headers = [("trace", b"\xff"), ("empty", None)]


def dead_letter(
    key: bytes | None = b"key",
    value: bytes | None = b"\0\1\2",
    headers: Headers = HEADERS,
    offset: int = 17,
    timestamp_ms: int = 1_700_000_000_000,
    cause: CauseHeaders = CAUSE,
) -> RecordWithHeaders:
    (made,) = dead_letters(rejected([(offset, timestamp_ms, key, value, headers)], [cause], [0]))
    return made


def rejected(rejects: Sequence[Reject], causes: Sequence[CauseHeaders], kinds: Sequence[int]) -> Rejected:
    offsets, timestamps_ms, keys, values, headers = zip(*rejects, strict=True)
    return rejected_records(
        np.array(offsets, np.int64),
        np.array(timestamps_ms, np.int64),
        joined(keys),
        joined(values),
        header_columns(headers),
        causes,
        np.array(kinds, np.int64),
    )


def dead_letters(made: Rejected, message_bytes: int = 1_000_000) -> list[RecordWithHeaders]:
    return [
        (key, value, texts(headers))
        for each in made.dead_letters(message_bytes)
        for key, value, headers in each.records()
    ]


def texts(headers: Headers) -> list[tuple[str, str | bytes | None]]:
    """Of ours, which are texts, what they say."""
    ours = ("__streams.", "viewer_consumer.")
    return [(name, as_bytes(content).decode() if name.startswith(ours) else content) for name, content in headers]


def as_bytes(content: str | bytes | None) -> bytes:
    return content.encode() if isinstance(content, str) else content or b""


def size(record: RecordWithHeaders) -> int:
    key, value, headers = record
    return len(key or b"") + len(value or b"") + sum(len(name) + len(content or b"") for name, content in headers)


def test_a_dead_letter_holds_the_record_unchanged_with_the_reason() -> None:
    key, value, headers = dead_letter()
    assert (key, value) == (b"key", b"\0\1\2")
    assert headers[:2] == HEADERS
    assert dict(headers[2:]) == {
        "__streams.errors.exception": "bad_framing",
        "__streams.errors.message": "the record doesn't begin as input.format says",
        "__streams.errors.topic": "viewer-events",
        "__streams.errors.partition": "2",
        "__streams.errors.offset": "17",
        "viewer_consumer.application": "my-group",
        "viewer_consumer.timestamp_ms": "1700000000000",
        "viewer_consumer.schema": "id 7",
    }


def test_each_of_many_dead_letters_has_its_own_position_and_reason() -> None:
    other = (("viewer_consumer.reason", "another"),)
    made = rejected([(3, -1, b"a", None, HEADERS), (5, 8, None, b"v", ())], [CAUSE, other], [1, 0])
    for _ in ("sent", "sent again"):
        assert dead_letters(made) == [
            dead_letter(b"a", None, HEADERS, offset=3, timestamp_ms=-1, cause=other),
            dead_letter(None, b"v", (), offset=5, timestamp_ms=8),
        ]
    first, second = dead_letters(made)
    assert (first[:2], first[2][-2:]) == ((b"a", None), [(OFFSET, "3"), (TIMESTAMP_MS, "-1")])
    assert (second[:2], second[2]) == ((None, b"v"), [*CAUSE, (OFFSET, "5"), (TIMESTAMP_MS, "8")])


def test_a_tombstone_keeps_its_null_value() -> None:
    assert dead_letter(key=None, value=None)[:2] == (None, None)


def test_an_oversized_record_is_cut_and_says_so() -> None:
    made = dead_letter(value=b"v" * 2_000_000, headers=[("big", b"h" * 500_000)])
    assert made[1] is not None
    assert size(made) <= 900_000
    assert dict(made[2])["viewer_consumer.value_bytes"] == "2000000"
    assert dict(made[2])["viewer_consumer.headers_dropped"] == "1"


def test_many_empty_headers_count_with_their_encoded_size() -> None:
    _, _, headers = dead_letter(headers=[("", None)] * 200_000)
    assert dict(headers)["viewer_consumer.headers_dropped"] == "200000"
    _, _, kept = dead_letter(headers=[("", None)] * 1_000)
    assert len(kept) == 1_008


def test_an_oversized_key_is_cut_too() -> None:
    made = dead_letter(key=b"k" * 1_000_000, value=b"v")
    assert size(made) <= 900_000
    assert dict(made[2])["viewer_consumer.key_bytes"] == "1000000"


def test_those_that_are_cut_stay_between_the_others_in_order() -> None:
    big = b"v" * 2_000_000
    values = [b"0", big, b"2", b"3", big, big, b"6"]
    made = rejected([(i, 7, b"k", value, HEADERS) for i, value in enumerate(values)], [CAUSE], [0] * len(values))
    letters = dead_letters(made)
    assert [dict(headers)[OFFSET] for _, _, headers in letters] == [str(i) for i in range(len(values))]
    for value, (_, kept, headers) in zip(values, letters, strict=True):
        assert (kept == value) == ("viewer_consumer.value_bytes" not in dict(headers)) == (value != big)
        assert (headers[:2] == HEADERS) == ("viewer_consumer.headers_dropped" not in dict(headers))
