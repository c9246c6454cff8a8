"""Dead letters keep the record unchanged and never exceed the producer's limit."""

from consumer.output.dead_letter import (
    OFFSET,
    TIMESTAMP_MS,
    Cause,
    CauseHeaders,
    DeadLetter,
    Headers,
    Rejected,
)

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
) -> DeadLetter:
    (made,) = Rejected([offset], [timestamp_ms], [key], [value], [headers], [cause]).dead_letters(1_000_000)
    return made


def size(record: DeadLetter) -> int:
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
    other = (("reason", "another"),)
    rejected = Rejected([3, 5], [-1, 8], [b"a", None], [None, b"v"], [HEADERS, ()], [other, CAUSE])
    for _ in ("sent", "sent again"):
        assert list(rejected.dead_letters(1_000_000)) == [
            dead_letter(b"a", None, HEADERS, offset=3, timestamp_ms=-1, cause=other),
            dead_letter(None, b"v", (), offset=5, timestamp_ms=8),
        ]
    first, second = rejected.dead_letters(1_000_000)
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
