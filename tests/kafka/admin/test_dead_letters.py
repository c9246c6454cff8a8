"""Reading dead letters back: one suite on the fake and on a real broker."""

import time
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Producer

from consumer.errors import ViewerConsumerError
from consumer.kafka.admin import dead_letters
from consumer.kafka.admin.dead_letters import DeadLetters
from consumer.kafka.protocols import DeadLetterSource
from consumer.kafka.record import UNREADABLE_HEADERS, Record
from consumer.kafka.timeouts import TIMEOUTS
from consumer.settings.model import KafkaSettings
from tests.support.fakes import FakeDeadLetters
from tests.support.raw_records import write_with_header
from tests.support.topics import create_topic, delete_topics, ends, produce, unique

BEGIN_MS = time.time_ns() // 1_000_000_000 * 1_000 - 60_000
WRITTEN = [
    Record(0, 0, BEGIN_MS, b"k", b"v", [("h", b"1"), ("h", None)]),
    Record(0, 1, BEGIN_MS + 1_000, None, None, ()),
    Record(0, 2, BEGIN_MS + 2_000, b"", b"", ()),
    Record(1, 0, BEGIN_MS + 1_500, b"\xff", b"\0" * 2_000, ()),
]


@pytest.fixture(scope="module")
def kafka(bootstrap_servers: str) -> Iterator[KafkaSettings]:
    """Three partitions, the last one empty; dead letters of an aborted transaction lie between the committed ones."""
    settings = KafkaSettings(bootstrap_servers=bootstrap_servers, dead_letter_topic=unique("dead-letters"))
    create_topic(bootstrap_servers, settings.dead_letter_topic, 3)
    producer = Producer({"bootstrap.servers": bootstrap_servers, "transactional.id": unique("writer")})
    producer.init_transactions(30)
    for keep in (True, False):
        producer.begin_transaction()
        for each in WRITTEN:
            producer.produce(
                settings.dead_letter_topic,
                each.value,
                each.key,
                each.partition,
                timestamp=each.timestamp_ms,
                headers=list(each.headers),
            )
        producer.flush(30)
        if keep:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)
    yield settings
    delete_topics(bootstrap_servers, [settings.dead_letter_topic])


@pytest.fixture(params=["fake", "real"])
def source(request: pytest.FixtureRequest) -> DeadLetterSource:
    if request.param == "fake":
        return FakeDeadLetters(list(WRITTEN))
    return DeadLetters(request.getfixturevalue("kafka"))


def in_order(records: Iterator[Record]) -> list[Record]:
    """Sort: partitions may come in any order, but each partition is in order."""
    return sorted(records, key=lambda record: record.partition)


def test_all_committed_dead_letters_are_read_in_order_of_each_partition(source: DeadLetterSource) -> None:
    assert in_order(source.read()) == WRITTEN


@pytest.mark.parametrize(
    ("since_ms", "places"),
    [(0, 4), (BEGIN_MS, 4), (BEGIN_MS + 1, 3), (BEGIN_MS + 1_500, 2), (BEGIN_MS + 1_501, 1), (BEGIN_MS + 2_001, 0)],
    ids=[
        "always",
        "first",
        "second",
        "third",
        "fourth",
        "none",
    ],  # without the times: all test processes need the same ids
)
def test_dead_letters_are_read_from_a_time_on(source: DeadLetterSource, since_ms: int, places: int) -> None:
    assert in_order(source.read(since_ms)) == [each for each in WRITTEN if each.timestamp_ms >= since_ms]
    assert len(list(source.read(since_ms))) == places


def test_in_order_they_come_by_their_times_over_all_partitions(source: DeadLetterSource) -> None:
    by_time = sorted(WRITTEN, key=lambda record: record.timestamp_ms)
    assert list(source.read_in_order()) == by_time
    assert list(source.read_in_order(BEGIN_MS + 1_500)) == by_time[2:]
    assert list(source.read_in_order(BEGIN_MS + 9_000)) == []


def test_what_is_written_while_they_are_read_in_order_is_not_read(bootstrap_servers: str) -> None:
    settings = KafkaSettings(bootstrap_servers=bootstrap_servers, dead_letter_topic=unique("dead-letters"))
    create_topic(bootstrap_servers, settings.dead_letter_topic, 1)
    try:
        produce(bootstrap_servers, settings.dead_letter_topic, [(0, None, b"before")])
        reading = DeadLetters(settings).read_in_order()
        assert next(reading).value == b"before"
        produce(bootstrap_servers, settings.dead_letter_topic, [(0, None, b"meanwhile")])
        assert list(reading) == []
    finally:
        delete_topics(bootstrap_servers, [settings.dead_letter_topic])


def test_partitions_larger_than_a_turn_are_read_whole_and_in_order(
    bootstrap_servers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "_CHUNK_RECORDS", 30)
    monkeypatch.setattr(dead_letters, "_POLLED_RECORDS", 10)
    settings = KafkaSettings(bootstrap_servers=bootstrap_servers, dead_letter_topic=unique("dead-letters"))
    create_topic(bootstrap_servers, settings.dead_letter_topic, 3)
    try:
        producer = Producer({"bootstrap.servers": bootstrap_servers})
        for number in range(300):
            producer.produce(
                settings.dead_letter_topic, b"%d" % number, partition=number % 3, timestamp=BEGIN_MS + number
            )
        assert producer.flush(30) == 0
        read = [record.value for record in DeadLetters(settings).read_in_order()]
        assert read == [b"%d" % number for number in range(300)]
    finally:
        delete_topics(bootstrap_servers, [settings.dead_letter_topic])


def test_one_dead_letter_is_read_by_partition_and_offset(source: DeadLetterSource) -> None:
    assert [source.at(each.partition, each.offset) for each in WRITTEN] == WRITTEN


@pytest.mark.parametrize("place", [(0, 3), (0, 9_999), (0, 2**62), (2, 0), (7, 0)])
def test_an_offset_without_a_dead_letter_gives_none(source: DeadLetterSource, place: tuple[int, int]) -> None:
    assert source.at(*place) is None


def test_a_reader_that_stops_early_closes_its_client(source: DeadLetterSource) -> None:
    reading = source.read()
    assert next(reading) in WRITTEN


def test_aborted_dead_letters_are_in_the_topic_but_not_read(kafka: KafkaSettings) -> None:
    assert ends(kafka.bootstrap_servers, kafka.dead_letter_topic)[0] > len(WRITTEN)
    assert DeadLetters(kafka).at(0, 5) is None


def test_header_names_that_are_not_utf_8_do_no_harm(bootstrap_servers: str) -> None:
    settings = KafkaSettings(bootstrap_servers=bootstrap_servers, dead_letter_topic=unique("dead-letters"))
    create_topic(bootstrap_servers, settings.dead_letter_topic, 1)
    try:
        write_with_header(bootstrap_servers, settings.dead_letter_topic, b"v", b"\xff", b"x")
        (record,) = DeadLetters(settings).read()
        assert record.headers == [(UNREADABLE_HEADERS, None)]
    finally:
        delete_topics(bootstrap_servers, [settings.dead_letter_topic])


@pytest.mark.parametrize(
    ("read", "change", "sentence"),
    [
        (
            lambda dead_letters: list(dead_letters.read()),
            {"dead_letter_topic": "not-there"},
            'dead letter topic "not-there" does',
        ),
        (
            lambda dead_letters: dead_letters.at(0, 0),
            {"dead_letter_topic": "not-there"},
            'dead letter topic "not-there" does',
        ),
        (
            lambda dead_letters: list(dead_letters.read_in_order()),
            {"dead_letter_topic": "not-there"},
            'dead letter topic "not-there" does',
        ),
        (
            lambda dead_letters: list(dead_letters.read()),
            {"bootstrap_servers": "localhost:1"},
            "can't read the dead letters on",
        ),
    ],
)
def test_each_failure_is_a_one_line_error(
    kafka: KafkaSettings, read: Callable[[DeadLetters], object], change: dict[str, str], sentence: str
) -> None:
    with pytest.raises(ViewerConsumerError) as error:
        read(DeadLetters(kafka.model_copy(update=change), TIMEOUTS._replace(dead_letters_s=5.0)))
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
