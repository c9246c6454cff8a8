"""`dlq retry` on dead letters of a worker: what is sent again, what is refused, and what a worker makes of it."""

import json
import random
import shlex
import time
from collections.abc import Sequence
from typing import Any

import pytest
from confluent_kafka import Message

from consumer.cli.dead_letter_retry import Wishes, retry_dead_letters
from consumer.cli.dead_letter_text import Choice
from consumer.kafka.messages import headers_of
from consumer.kafka.timeouts import TIMEOUTS
from consumer.runtime.signals import StopRequest
from consumer.settings.model import InputSettings
from tests.cli.command import Ran, run_here
from tests.end_to_end.events import FRAME, SCHEMA_ID, SCHEMA_PATH, assert_same, encoded, judged, summary_of
from tests.end_to_end.stage import INPUT, Record, Stage, counted, running, stage
from tests.reference.events_counting import Event, Rules
from tests.support.topics import configure_topic, create_topic
from tests.support.waiting import until

RULES = Rules(window_duration_ms=5_000, bucket_ms=1_000, grace_ms=0)
UNKNOWN_ID = 8
WITHOUT_ID = InputSettings(ids={UNKNOWN_ID: SCHEMA_PATH})
"""Settings that do not know the id of the events."""
WITH_BOTH = INPUT.model_copy(update={"ids": {SCHEMA_ID: SCHEMA_PATH, UNKNOWN_ID: SCHEMA_PATH}})
HEADERS = (("trace", b"\xff1"), ("trace", b"2"), ("empty", None))
RETRY = "viewer_consumer.retry"


def begin_ms() -> int:
    return time.time_ns() // 1_000_000_000 * 1_000 - 120_000


def with_unknown_id(event: Event) -> bytes:
    return b"\0" + UNKNOWN_ID.to_bytes(4, "big") + encoded(event)[len(FRAME) :]


def dlq(capsys: pytest.CaptureFixture[str], kafka: Stage, name: str, *arguments: str) -> Ran:
    capsys.readouterr()  # drop what a worker has logged
    return run_here(capsys, "dlq", name, *kafka.flags(), *arguments)


def retry(capsys: pytest.CaptureFixture[str], kafka: Stage, *arguments: str) -> Ran:
    return dlq(capsys, kafka, "retry", "--set", f"input.ids.{UNKNOWN_ID}={SCHEMA_PATH}", *arguments)


def pasted(capsys: pytest.CaptureFixture[str], text: str) -> Ran:
    """Run the command at the end of a text, as a shell would."""
    _, _, command = text.strip().rpartition("viewer-consumer ")
    return run_here(capsys, *shlex.split(command))


def table(text: str) -> dict[tuple[str, str], tuple[int, int]]:
    """Return the numbers that are sent and refused, by reason and partition."""
    rows = [line.split() for line in text.splitlines() if "  partition " in line]
    return {(reason, partition): (int(sent), int(refused)) for sent, refused, reason, _, partition in rows}


def work(kafka: Stage, source: InputSettings = INPUT) -> dict[str, float]:
    """Run a worker until all is committed; return its numbers of late events and of rejects by reason."""
    with running(kafka.settings(source)) as service:
        kafka.wait_until_all_is_committed()
        reasons = ("unknown_schema", "trailing_bytes", "future")
        found = {reason: counted(service, "rejects_total", reason=reason) for reason in reasons}
        return found | {
            "late": sum(counted(service, "late_events_total", reason=each) for each in ("stream_time", "stream_idle"))
        }


def parts(message: Message) -> tuple[Any, ...]:
    return message.key(), message.value(), message.timestamp(), tuple(headers_of(message))


def test_records_of_mended_settings_are_sent_again_as_they_were_and_count(
    bootstrap_servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    at_ms = begin_ms()
    with stage(bootstrap_servers, 2, RULES) as kafka:
        #  keys that the usual partitioner would place elsewhere; event times lie before those of the records
        kafka.write(
            Record(
                b"key %d" % (i % 5), encoded(Event(f"s{p}", kind, at_ms + i * 700)), at_ms + 500 + i * 700, p, HEADERS
            )
            for i, kind in enumerate("JJLJBJLJSJ")
            for p in range(2)
        )
        assert work(kafka, WITHOUT_ID)["unknown_schema"] == 20
        originals, dead_letters = kafka.records(), kafka.dead_letters()

        dry = dlq(capsys, kafka, "retry")
        assert (dry.code, dry.err) == (0, "")
        assert table(dry.out) == {("unknown_schema", p): (10, 0) for p in "01"}
        assert "would send 20 of 20 dead letters" in dry.out
        assert kafka.ends() == {0: 10, 1: 10}

        ran = pasted(capsys, dry.out)
        assert (ran.code, ran.err) == (0, "")
        assert f'sent 20 of 20 dead letters to topic "{kafka.kafka.input_topic}"' in ran.out
        places = {
            (dict(headers_of(each))["__streams.errors.partition"], dict(headers_of(each))["__streams.errors.offset"]): (
                f"{kafka.kafka.dead_letter_topic}/{each.partition()}/{each.offset()}".encode()
            )
            for each in dead_letters
        }
        for partition, records in kafka.records().items():
            again = records[len(originals[partition]) :]
            expected = [
                (*parts(record)[:3], (*HEADERS, (RETRY, places[str(partition).encode(), str(offset).encode()])))
                for offset, record in enumerate(originals[partition])
            ]
            assert [parts(record) for record in again] == expected  # in their order

        assert work(kafka) == {"unknown_schema": 0, "trailing_bytes": 0, "future": 0, "late": 0}
        expected_summaries = [
            summary_of(closed, RULES, kafka.kafka.input_topic, partition)
            for partition, records in kafka.records().items()
            for closed in judged(records[10:], RULES).closed
        ]
        assert assert_same(kafka.summaries(), expected_summaries) > 5


def test_a_closed_bucket_is_refused_unless_forced_and_an_open_one_is_not(
    bootstrap_servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    at_ms = begin_ms()
    #  stream s     0 s ── J ──────────────────── 20 s ── J       buckets up to 19 s are closed
    #  rejected        J  (closed by its stream)         J  (open)
    #  stream t     J at 5 s, rejected: no stream yet, and the idle watermark is below it
    with stage(bootstrap_servers, 1, RULES) as kafka:
        kafka.write(
            [
                Record(b"s", encoded(Event("s", "J", at_ms)), at_ms),
                Record(b"s", with_unknown_id(Event("s", "J", at_ms + 100)), at_ms + 100),
                Record(b"t", with_unknown_id(Event("t", "J", at_ms + 5_000)), at_ms + 5_000),
                Record(b"s", encoded(Event("s", "J", at_ms + 20_000)), at_ms + 20_000),
                Record(b"s", with_unknown_id(Event("s", "J", at_ms + 20_100)), at_ms + 20_100),
            ]
        )
        assert work(kafka)["unknown_schema"] == 3
        dry = retry(capsys, kafka)
        assert dry.code == 0
        assert table(dry.out) == {("unknown_schema", "0"): (2, 1)}
        assert "         1  their bucket is closed; --force sends them" in dry.out

        ran = retry(capsys, kafka, "--yes", "--most", "1")
        assert (ran.code, ran.err) == (1, "")
        assert "sent 0 of 1 dead letters" in ran.out
        forced = retry(capsys, kafka, "--yes", "--force")
        assert (forced.code, forced.err) == (0, "")
        assert "sent 3 of 3 dead letters" in forced.out
        assert kafka.end_of(0) == 8
        assert work(kafka, WITH_BOTH)["late"] == 1


def test_what_would_be_rejected_again_or_was_sent_before_is_refused(
    bootstrap_servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    at_ms = begin_ms()
    with stage(bootstrap_servers, 1, RULES) as kafka:
        kafka.write([Record(b"s", encoded(Event("s", "J", at_ms)) + b"\0", at_ms)])
        assert work(kafka)["trailing_bytes"] == 1
        dry = retry(capsys, kafka)
        assert table(dry.out) == {("trailing_bytes", "0"): (0, 1)}
        assert "         1  rejected again by these settings: trailing_bytes; --force sends them" in dry.out

        assert retry(capsys, kafka, "--yes", "--force").code == 0
        assert work(kafka)["trailing_bytes"] == 1
        first, second = map(json.loads, dlq(capsys, kafka, "list", "--json").out.splitlines())
        (header,) = [name for name, _ in second["headers"] if name == RETRY]
        assert header
        place = f"{second['partition']}:{second['offset']}"

        ran = retry(capsys, kafka, place, "--yes", "--force")
        assert (ran.code, ran.err) == (1, "")
        assert "         1  sent again before, and rejected again; --again sends them" in ran.out
        assert retry(capsys, kafka, place, "--yes", "--force", "--again").code == 0
        (*_, last) = kafka.records()[0]
        told = [content for name, content in headers_of(last) if name == RETRY]
        topic = kafka.kafka.dead_letter_topic
        assert told == [f"{topic}/{each['partition']}/{each['offset']}".encode() for each in (first, second)]


def test_a_record_that_was_ahead_of_its_time_is_taken_with_the_time_of_now(
    bootstrap_servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    at_ms = begin_ms()
    with stage(bootstrap_servers, 1, RULES) as kafka:
        kafka.write([Record(b"s", encoded(Event("s", "J", at_ms)), at_ms - 3_600_000)])
        assert work(kafka)["future"] == 1
        assert "rejected again by these settings: future" in retry(capsys, kafka, "--yes").out
        assert retry(capsys, kafka, "--yes", "--now").code == 0
        _, again = kafka.records()[0]
        assert again.timestamp()[1] > at_ms
        assert work(kafka)["future"] == 0


def test_where_brokers_set_the_time_it_is_judged_by_the_time_of_now(
    bootstrap_servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = INPUT.model_copy(update={"max_future_ms": 1_000})
    with stage(bootstrap_servers, 1, RULES, {"message.timestamp.type": "LogAppendTime"}) as kafka:
        event_ms = time.time_ns() // 1_000_000 + 5_000
        kafka.write([Record(b"s", encoded(Event("s", "J", event_ms)))])
        assert work(kafka, source)["future"] == 1
        until(lambda: time.time_ns() // 1_000_000 > event_ms, "the time of the event has come")
        assert retry(capsys, kafka, "--yes", "--set", "input.max_future_ms=1000").code == 0
        assert work(kafka, source)["future"] == 0


def test_a_cut_record_is_refused_even_if_forced(bootstrap_servers: str, capsys: pytest.CaptureFixture[str]) -> None:
    with stage(bootstrap_servers, 1, RULES) as kafka:
        kafka.write([Record(b"s", bytes(950_000), begin_ms())])
        work(kafka)
        ran = retry(capsys, kafka, "--yes", "--force")
        assert ran.code == 1
        assert "         1  cut, since the record was too large for a dead letter\n" in ran.out
        assert kafka.end_of(0) == 1


@pytest.mark.parametrize("arguments", [(), ("--force",)])
def test_an_input_topic_that_is_gone_is_one_line(
    bootstrap_servers: str, capsys: pytest.CaptureFixture[str], arguments: Sequence[str]
) -> None:
    with stage(bootstrap_servers, 1, RULES) as kafka:
        create_topic(bootstrap_servers, kafka.kafka.dead_letter_topic, 1)
        ran = retry(capsys, kafka, *arguments, "--set", "kafka.input_topic=gone")
        assert (ran.code, ran.out) == (1, "")
        assert ran.error_lines == [f'error: input topic "gone" does not exist on {bootstrap_servers}']


def test_a_record_that_brokers_refuse_ends_it_with_the_command_to_go_on(
    bootstrap_servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    at_ms = begin_ms()
    good = encoded(Event("s", "J", at_ms))
    with stage(bootstrap_servers, 2, RULES) as kafka:
        for partition, value in enumerate((good, good + random.Random(1).randbytes(5_000))):
            kafka.write([Record(b"s", value, at_ms, partition)])
            work(kafka, WITHOUT_ID)  # one after the other, so that their dead letters differ in time
        configure_topic(bootstrap_servers, kafka.kafka.input_topic, "max.message.bytes", "1000")
        ran = retry(capsys, kafka, "--yes", "--force")
        assert ran.code == 1
        assert "\nsent 1 dead letters to topic " in ran.out
        (line,) = ran.error_lines
        assert line.startswith(f'error: can\'t write to topic "{kafka.kafka.input_topic}" on {bootstrap_servers}: ')
        assert "; 1 were sent; go on with: viewer-consumer dlq retry " in line
        assert kafka.ends() == {0: 2, 1: 1}
        configure_topic(bootstrap_servers, kafka.kafka.input_topic, "max.message.bytes", "1000000")
        until(lambda: pasted(capsys, line).code == 0, "the brokers have applied it")
        assert kafka.ends() == {0: 2, 1: 2}


def test_an_interruption_says_how_many_were_sent_and_how_to_go_on(
    bootstrap_servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    at_ms = begin_ms()
    with stage(bootstrap_servers, 1, RULES) as kafka:
        kafka.write([Record(b"s", encoded(Event("s", "J", at_ms)), at_ms)])
        work(kafka, WITHOUT_ID)
        capsys.readouterr()
        stop = StopRequest()
        stop.set()
        choice = Choice(most=5)
        code = retry_dead_letters(kafka.settings(), choice, Wishes(sends=True, now=True), TIMEOUTS, stop)
        printed = capsys.readouterr()
        assert code == 130
        assert printed.err.startswith("interrupted; 0 were sent; go on with: viewer-consumer dlq retry --since 20")
        assert printed.err.endswith("Z --most 5 --yes --now\n")
        assert kafka.end_of(0) == 1


def test_places_name_the_dead_letters_to_send(bootstrap_servers: str, capsys: pytest.CaptureFixture[str]) -> None:
    at_ms = begin_ms()
    with stage(bootstrap_servers, 1, RULES) as kafka:
        kafka.write(Record(b"s", encoded(Event("s", "J", at_ms + i)), at_ms + i) for i in range(4))
        work(kafka, WITHOUT_ID)
        assert retry(capsys, kafka, "0:3", "0:1", "--yes").code == 0
        assert [each.timestamp()[1] for each in kafka.records()[0][4:]] == [at_ms + 1, at_ms + 3]
