"""Records that are written to the input again, on a real broker: what arrives, and how each failure is told."""

from collections.abc import Iterator

import pytest

from consumer.kafka.admin.record_sender import TopicSender
from consumer.kafka.messages import headers_of
from consumer.kafka.record import OutgoingRecord
from consumer.kafka.timeouts import TIMEOUTS
from consumer.settings.model import KafkaSettings
from tests.support.topics import create_topic, delete_topics, read_committed, unique

SHORT = TIMEOUTS._replace(send_s=2.0)


@pytest.fixture
def kafka(bootstrap_servers: str) -> Iterator[KafkaSettings]:
    """An input with two partitions."""
    settings = KafkaSettings(bootstrap_servers=bootstrap_servers, input_topic=unique("events"))
    create_topic(bootstrap_servers, settings.input_topic, 2, {"max.message.bytes": "500000"})
    yield settings
    delete_topics(bootstrap_servers, [settings.input_topic])


def numbered(count: int, partition: int = 1) -> list[OutgoingRecord]:
    return [OutgoingRecord(partition, 1_000 + number, b"k", b"%d" % number, ()) for number in range(count)]


def test_records_arrive_as_they_are_in_the_partition_that_they_name(kafka: KafkaSettings) -> None:
    headers = [("h", b"\xff"), ("h", None), ("", b"")]
    records = [
        OutgoingRecord(1, 1_234, b"\xff", b"\0" * 1_000, headers),
        OutgoingRecord(0, 5_678, b"", b"", ()),
        OutgoingRecord(0, None, None, None, ()),
    ]
    assert TopicSender(kafka).send(records) == ([True] * 3, "")
    found = read_committed(kafka.bootstrap_servers, kafka.input_topic)
    first, second, third = sorted(found, key=lambda each: (-(each.partition() or 0), each.offset()))
    assert [(each.partition(), each.key(), each.value()) for each in (first, second, third)] == [
        (1, b"\xff", b"\0" * 1_000),
        (0, b"", b""),
        (0, None, None),
    ]
    assert headers_of(first) == headers
    assert (first.timestamp()[1], second.timestamp()[1]) == (1_234, 5_678)
    assert third.timestamp()[1] > 1_700_000_000_000


def test_more_than_the_queue_holds_is_written_in_order(kafka: KafkaSettings) -> None:
    narrow = kafka.model_copy(update={"client": {"queue.buffering.max.messages": 10}})
    assert TopicSender(narrow).send(numbered(200)) == ([True] * 200, "")
    found = read_committed(kafka.bootstrap_servers, kafka.input_topic)
    assert [each.value() for each in found] == [b"%d" % number for number in range(200)]


def test_many_small_records_are_not_refused_as_one_large_batch(kafka: KafkaSettings) -> None:
    records = [record._replace(value=bytes([number]) * 10_000) for number, record in enumerate(numbered(100))]
    plain = kafka.model_copy(update={"client": {"compression.type": "none"}})
    assert TopicSender(plain).send(records) == ([True] * 100, "")


def test_one_that_brokers_refuse_is_told_with_the_reason(kafka: KafkaSettings) -> None:
    plain = kafka.model_copy(update={"client": {"compression.type": "none"}})
    large = OutgoingRecord(0, 1_000, None, bytes(600_000), ())
    written, error = TopicSender(plain).send([*numbered(2), large])
    assert written == [True, True, False]
    assert error.startswith(f'can\'t write to topic "{kafka.input_topic}" on {kafka.bootstrap_servers}: ')
    assert "Message size too large" in error


def test_one_that_the_client_library_does_not_take_ends_it_before_the_next(kafka: KafkaSettings) -> None:
    too_large = OutgoingRecord(0, 1_000, None, bytes(1_100_000), ())
    written, error = TopicSender(kafka).send([*numbered(2), too_large, *numbered(1, partition=0)])
    assert written == [True, True, False, False]
    assert "Message size too large" in error


def test_brokers_that_do_not_answer_end_it_in_time(kafka: KafkaSettings) -> None:
    away = kafka.model_copy(update={"bootstrap_servers": "localhost:1"})
    written, error = TopicSender(away, SHORT).send(numbered(3))
    assert written == [False] * 3
    assert error.startswith(f'can\'t write to topic "{kafka.input_topic}" on localhost:1: ')
    assert "\n" not in error


def test_a_partition_that_is_not_there_is_told(kafka: KafkaSettings) -> None:
    written, error = TopicSender(kafka, SHORT).send(numbered(1, partition=7))
    assert written == [False]
    assert "nknown partition" in error
