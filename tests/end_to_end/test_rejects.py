"""Invalid records become dead letters with a reason, while the valid ones around them count."""

import random
import time
import urllib.error
import urllib.request

from consumer.kafka.messages import headers_of
from consumer.kafka.record import UNREADABLE_HEADERS
from consumer.worker.circuit_breaker import LIMITS
from tests.end_to_end.events import FRAME, encoded
from tests.end_to_end.stage import Record, counted, running, stage
from tests.reference.events_counting import Event, Rules
from tests.support.raw_records import write_with_header
from tests.support.topics import create_topic, read_committed
from tests.support.waiting import until

RULES = Rules(window_duration_ms=5_000, bucket_ms=1_000, grace_ms=0)
HEADERS = (("trace", b"\xff1"), ("trace", b"2"), ("empty", None))


def test_dead_letters_hold_the_record_and_the_reason(bootstrap_servers: str) -> None:
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
        dead_letters = kafka.dead_letters()
        (summary,) = kafka.summaries()
    assert (summary["joins"], summary["peak_concurrent_viewers"]) == (len(bad), len(bad))
    assert summary["offset"] == 2 * len(bad)
    assert [dead_letter.value() for dead_letter in dead_letters] == list(bad.values())
    for number, (dead_letter, reason) in enumerate(zip(dead_letters, bad, strict=True)):
        assert dead_letter.key() == b"key\xff"
        headers = headers_of(dead_letter)
        assert tuple(headers[: len(HEADERS)]) == HEADERS
        ours = dict(headers[len(HEADERS) :])
        assert ours["__streams.errors.exception"] == reason.encode()
        assert ours["__streams.errors.topic"] == kafka.kafka.input_topic.encode()
        assert ours["__streams.errors.partition"] == b"0"
        assert ours["__streams.errors.offset"] == str(2 * number + 1).encode()
        assert ours["viewer_consumer.application"] == kafka.kafka.group_id.encode()
        assert ours["__streams.errors.message"]
    assert dict(headers_of(dead_letters[1]))["viewer_consumer.schema"] == b"id 99"


def test_header_names_that_are_not_utf_8_do_not_stop_the_worker(bootstrap_servers: str) -> None:
    begin_ms = time.time_ns() // 1_000_000_000 * 1_000 - 10_000
    good = encoded(Event("s", "J", begin_ms))
    with stage(bootstrap_servers, 1, RULES) as kafka:
        for value in (good, good + b"\0"):
            write_with_header(bootstrap_servers, kafka.kafka.input_topic, value, b"na\xffme", b"content")
        kafka.write([Record(b"k", encoded(Event("s", "L", begin_ms + 5_000)))])
        with running(kafka.settings()):
            kafka.wait_until_all_is_committed()
        (dead_letter,) = kafka.dead_letters()
        (summary,) = kafka.summaries()
    assert summary["joins"] == 1
    assert dead_letter.value() == good + b"\0"
    assert UNREADABLE_HEADERS in dict(headers_of(dead_letter))


def test_the_largest_records_become_dead_letters_that_the_topic_accepts(bootstrap_servers: str) -> None:
    noise = random.Random(1).randbytes(990_000)  # incompressible
    headers = tuple((f"h{number}", noise[:100]) for number in range(5_000))
    with stage(bootstrap_servers, 1, RULES) as kafka:
        create_topic(bootstrap_servers, kafka.kafka.dead_letter_topic, 1, {"max.message.bytes": "1000000"})
        kafka.write(Record(None, noise) for _ in range(3))
        kafka.write([Record(noise[:900_000], b"v"), Record(None, noise[:400_000], headers=headers)])
        with running(kafka.settings()) as service:
            kafka.wait_until_all_is_committed()
            assert counted(service, "aborts_total", error="MSG_SIZE_TOO_LARGE") == 0
        dead_letters = kafka.dead_letters()
    sizes = [dict(headers_of(dead_letter)).get("viewer_consumer.value_bytes") for dead_letter in dead_letters]
    assert sizes[:3] == [b"990000"] * 3
    assert dead_letters[0].value() == noise[: len(dead_letters[0].value() or b"")]
    assert len(dead_letters) == 5


def test_rows_and_dead_letters_are_cut_below_the_smallest_limit_of_a_topic(bootstrap_servers: str) -> None:
    begin_ms = time.time_ns() // 1_000_000_000 * 1_000 - 10_000
    noise = random.Random(1).randbytes(500_000)
    small = {"max.message.bytes": "200000"}
    joins = [encoded(Event("s", "J", begin_ms + number % 1_000), f"viewer {number}") for number in range(20_000)]
    with stage(bootstrap_servers, 1, RULES, viewer_timeout_ms=60_000) as kafka:
        create_topic(bootstrap_servers, kafka.kafka.state_topic, 1, small | {"cleanup.policy": "compact"})
        for topic in (kafka.kafka.dead_letter_topic, kafka.kafka.output_topic):
            create_topic(bootstrap_servers, topic, 1, small)
        kafka.write(Record(None, value) for value in (*joins, noise))
        for _ in range(2):  # the second worker restores what the first one stored
            with running(kafka.settings()) as service:
                kafka.wait_until_all_is_committed()
                assert counted(service, "aborts_total", error="MSG_SIZE_TOO_LARGE") == 0
        rows = [
            each
            for each in read_committed(bootstrap_servers, kafka.kafka.state_topic)
            if (each.key() or b"").startswith(b"r")
        ]
        (dead_letter,) = kafka.dead_letters()
    assert len(rows) > 1, "one stream's row has several parts"
    assert max(len(row.value() or b"") for row in rows) <= 100_000
    assert dict(headers_of(dead_letter))["viewer_consumer.value_bytes"] == b"500000"


def test_a_flood_of_invalid_records_stops_only_its_partition(bootstrap_servers: str) -> None:
    begin_ms = time.time_ns() // 1_000_000_000 * 1_000 - 10_000
    good, later = (encoded(Event("s", "J", begin_ms + after_ms)) for after_ms in (0, 5_000))
    with stage(bootstrap_servers, 2, RULES) as kafka:
        kafka.write(Record(None, good, partition=partition) for partition in (0, 1))
        with running(kafka.settings()) as service:
            kafka.wait_until_all_is_committed()
            kafka.write(Record(None, b"\1poison", partition=0) for _ in range(20_000))
            kafka.write([Record(None, later, partition=1), Record(None, b"\1poison", partition=1)])
            until(lambda: counted(service, "breaker_open_partitions") == 1, "the breaker opens")
            until(lambda: kafka.committed()[1] == 3, "the other partition continues")
            assert counted(service, "ready") == 0
            stopped_at = kafka.committed()[0]
            assert stopped_at <= LIMITS[0].among, "only the first rejects, if any, came in small batches"
            answer = urlopen_text(f"{service.address}/readyz")
            assert "missing: breaker closed" in answer
            assert "partition 0: 1,000 records in a row are rejects, most of them bad_framing" in answer
            assert urlopen_text(f"{service.address}/healthz") == "ok\n"
        assert kafka.committed() == {0: stopped_at, 1: 3}
        dead_letters = kafka.dead_letters()
        (summary,) = kafka.summaries()
    assert len(dead_letters) == stopped_at - 1 + 1, "those committed before, and that of the other partition"
    assert summary["partition"] == 1


def urlopen_text(url: str) -> str:
    """Return the body of a response, whatever its status."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  # the worker's own address
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()
