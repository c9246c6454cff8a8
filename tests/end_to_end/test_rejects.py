"""Records that are no events: set aside as they came, with a reason, while the good ones around them count."""

import time

from consumer.kafka.batch import UNREADABLE_HEADERS, headers_of
from tests.end_to_end.events import FRAME, encoded
from tests.end_to_end.stage import Record, counted, running, stage
from tests.reference.events_counting import Event, Rules
from tests.support.raw_records import write_with_header

RULES = Rules(window_duration_ms=5_000, bucket_ms=1_000, grace_ms=0)
HEADERS = (("trace", b"\xff1"), ("trace", b"2"), ("empty", None))


def test_dead_letters_are_what_came_and_say_why(bootstrap_servers: str) -> None:
    begin_ms = time.time_ns() // 1_000_000_000 * 1_000 - 10_000
    good = encoded(Event("s", "J", begin_ms))
    bad = {
        "bad_framing": b"\x01" + good[1:],
        "unknown_schema": b"\0\0\0\0\x63" + good[len(FRAME) :],
        "trailing_bytes": good + b"\0",
        "truncated": good[:-1],
        "future": encoded(Event("s", "J", begin_ms + 3_600_000)),
        "out_of_range": encoded(Event("s", "B", begin_ms, 2**41 + 1)),
        "null_value": None,
        "oversized": good + bytes(70_000),
    }
    with stage(bootstrap_servers, 1, RULES) as kafka:
        for value in bad.values():
            kafka.write([Record(b"k", good), Record(b"key\xff", value, headers=HEADERS)])
        kafka.write([Record(b"k", encoded(Event("s", "L", begin_ms + 5_000)))])
        with running(kafka.settings()) as service:
            kafka.wait_until_all_is_committed()
            assert {reason: counted(service, "rejects_total", reason=reason) for reason in bad} == dict.fromkeys(bad, 1)
        assert kafka.committed() == {0: 2 * len(bad) + 1}
        letters = kafka.dead_letters()
        (summary,) = kafka.summaries()
    assert (summary["joins"], summary["peak_concurrent_viewers"]) == (len(bad), len(bad))
    assert summary["offset"] == 2 * len(bad)
    assert [letter.value() for letter in letters] == list(bad.values())
    for number, (letter, reason) in enumerate(zip(letters, bad, strict=True)):
        assert letter.key() == b"key\xff"
        headers = headers_of(letter)
        assert tuple(headers[: len(HEADERS)]) == HEADERS
        ours = dict(headers[len(HEADERS) :])
        assert ours["__streams.errors.exception"] == reason.encode()
        assert ours["__streams.errors.topic"] == kafka.kafka.input_topic.encode()
        assert ours["__streams.errors.partition"] == b"0"
        assert ours["__streams.errors.offset"] == str(2 * number + 1).encode()
        assert ours["viewer_consumer.application"] == kafka.kafka.group_id.encode()
        assert ours["__streams.errors.message"]
    assert dict(headers_of(letters[1]))["viewer_consumer.schema"] == b"id 99"


def test_header_names_that_are_no_text_stop_nobody(bootstrap_servers: str) -> None:
    begin_ms = time.time_ns() // 1_000_000_000 * 1_000 - 10_000
    good = encoded(Event("s", "J", begin_ms))
    with stage(bootstrap_servers, 1, RULES) as kafka:
        for value in (good, good + b"\0"):
            write_with_header(bootstrap_servers, kafka.kafka.input_topic, value, b"na\xffme", b"content")
        kafka.write([Record(b"k", encoded(Event("s", "L", begin_ms + 5_000)))])
        with running(kafka.settings()):
            kafka.wait_until_all_is_committed()
        (letter,) = kafka.dead_letters()
        (summary,) = kafka.summaries()
    assert summary["joins"] == 1
    assert letter.value() == good + b"\0"
    assert UNREADABLE_HEADERS in dict(headers_of(letter))
