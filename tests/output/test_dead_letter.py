"""Dead letters keep the record as it came and never outgrow the producer."""

from consumer.output.dead_letter import MAX_BYTES, Cause, Rejected, dead_letter

CAUSE = Cause(
    topic="viewer-events",
    partition=2,
    application="my-group",
    reason="bad_framing",
    message="the record doesn't begin as input.format says",
    schema="id 7",
).headers()
REJECTED = Rejected(17, 1_700_000_000_000, b"key", b"\0\1\2", [("trace", b"\xff"), ("empty", None)])


def size(headers: list[tuple[str, str | bytes | None]]) -> int:
    return sum(len(name) + len(content or b"") for name, content in headers)


def test_a_dead_letter_is_the_record_as_it_came_and_says_why() -> None:
    letter = dead_letter(REJECTED, CAUSE)
    assert (letter.key, letter.value) == (b"key", b"\0\1\2")
    assert letter.headers[:2] == REJECTED.headers
    assert dict(letter.headers[2:]) == {
        "__streams.errors.exception": "bad_framing",
        "__streams.errors.message": "the record doesn't begin as input.format says",
        "__streams.errors.topic": "viewer-events",
        "__streams.errors.partition": "2",
        "__streams.errors.offset": "17",
        "viewer_consumer.application": "my-group",
        "viewer_consumer.timestamp_ms": "1700000000000",
        "viewer_consumer.schema": "id 7",
    }


def test_a_tombstone_stays_one() -> None:
    assert dead_letter(REJECTED._replace(key=None, value=None), CAUSE)[:2] == (None, None)


def test_an_oversized_record_is_cut_and_says_so() -> None:
    letter = dead_letter(REJECTED._replace(value=b"v" * 2_000_000, headers=[("big", b"h" * 500_000)]), CAUSE)
    assert letter.value is not None
    assert len(letter.value) + len(letter.key or b"") + size(letter.headers) <= MAX_BYTES
    assert dict(letter.headers)["viewer_consumer.value_bytes"] == "2000000"
    assert dict(letter.headers)["viewer_consumer.headers_dropped"] == "1"


def test_many_headers_of_nothing_count_for_what_they_take() -> None:
    letter = dead_letter(REJECTED._replace(headers=[("", None)] * 200_000), CAUSE)
    assert dict(letter.headers)["viewer_consumer.headers_dropped"] == "200000"
    kept = dead_letter(REJECTED._replace(headers=[("", None)] * 1_000), CAUSE)
    assert len(kept.headers) == 1_008


def test_an_oversized_key_is_cut_too() -> None:
    letter = dead_letter(REJECTED._replace(key=b"k" * 1_000_000, value=b"v"), CAUSE)
    assert len(letter.key or b"") + len(letter.value or b"") + size(letter.headers) <= MAX_BYTES
    assert dict(letter.headers)["viewer_consumer.key_bytes"] == "1000000"
