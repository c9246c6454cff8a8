"""What the reader of the C library has beyond the contract: foreign memory is only touched while it is held."""

import ctypes
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np
import pytest
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from consumer.errors import UsageError
from consumer.kafka import c_functions, column_reader, message_columns, readers
from consumer.kafka.batch import Batch
from consumer.kafka.brokers import ClientWatch, MemberWatch, ReaderWatch
from consumer.kafka.c_functions import reading_functions
from consumer.kafka.column_reader import ColumnReader
from consumer.kafka.config import live_config
from consumer.kafka.deadline import Deadline, call_within
from consumer.kafka.embedded import EmbeddedBroker
from consumer.kafka.messages import batch_of
from consumer.kafka.reading import ReadEvent
from consumer.kafka.record import UNREADABLE_HEADERS
from consumer.settings.model import KafkaSettings, Settings
from tests.kafka.stage import KafkaStage, joined, read
from tests.support.fakes import RecordingHandler
from tests.support.raw_records import write_with_header
from tests.support.topics import produce, unique
from tests.support.waiting import until

TOPIC = "t"


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker([TOPIC, "other"]) as broker:
        yield broker


def settings_for(broker: EmbeddedBroker, **client: str | int) -> Settings:
    given: dict[str, str | int | float | bool] = {key.replace("_", "."): value for key, value in client.items()}
    return Settings(kafka=KafkaSettings(bootstrap_servers=broker.bootstrap_servers, input_topic=TOPIC, client=given))


@pytest.fixture
def reader(broker: EmbeddedBroker) -> Iterator[ColumnReader]:
    reader = ColumnReader(live_config(settings_for(broker)), ReaderWatch(TOPIC, float))
    yield reader
    reader.close()


def next_batch(reader: ColumnReader, most: int = 1_000) -> Batch:
    found: list[Batch] = []

    def some() -> bool:
        batch = reader.poll(most, 0.1)
        found.append(batch)
        return len(batch) > 0

    until(some, "records are read")
    return found[-1]


def headers_by_the_binding(broker: EmbeddedBroker, count: int) -> Batch:
    """The same records through the binding's message objects."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": unique("group")})
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    messages: list[Message] = []
    while len(messages) < count:
        messages += consumer.consume(count - len(messages), 10.0)
    batch = batch_of(messages)
    consumer.close()
    return batch


def test_columns_keys_and_headers_equal_those_of_the_binding(broker: EmbeddedBroker, reader: ColumnReader) -> None:
    write_with_header(broker.bootstrap_servers, TOPIC, b"first", b"name", b"content")
    write_with_header(broker.bootstrap_servers, TOPIC, b"", b"", b"")
    write_with_header(broker.bootstrap_servers, TOPIC, b"\0" * 10_000, b"n" * 300, b"c" * 5_000)
    write_with_header(broker.bootstrap_servers, TOPIC, b"bad name", b"na\xffme", b"x")
    produce(broker.bootstrap_servers, TOPIC, [(0, b"key", b"value"), (0, None, None), (0, b"", b"")])
    expected = headers_by_the_binding(broker, 7)
    reader.begin((TOPIC, 0), 0)
    records: list[Any] = []
    named: dict[str, list[bytes | None]] = {"name": [], "n" * 300: [], "other": []}

    def all_are_read() -> bool:
        batch = reader.poll(1_000, 0.1)
        records.extend(batch.records(0, len(batch)))
        for name in named:
            named[name] += batch.header(name).some(range(len(batch)))
        return len(records) == 7

    until(all_are_read, "all are read")
    assert records == expected.records(0, 7)
    assert [each.key for each in records[4:]] == [b"key", None, b""]
    assert records[5].value is None
    assert records[3].headers == [(UNREADABLE_HEADERS, None)]
    for name, contents in named.items():
        assert contents[:3] == expected.header(name).some(range(3))


def test_runs_name_topic_and_partition(broker: EmbeddedBroker, reader: ColumnReader) -> None:
    produce(broker.bootstrap_servers, TOPIC, [(0, None, b"a"), (1, None, b"b")])
    produce(broker.bootstrap_servers, "other", [(1, None, b"c")])
    places = {(TOPIC, 0), (TOPIC, 1), ("other", 1)}
    for place in places:
        reader.begin(place, 0)
    seen: dict[tuple[str, int], list[bytes | None]] = {}

    def all_are_seen() -> bool:
        batch = reader.poll(1_000, 0.1)
        for run in batch.runs:
            seen.setdefault((run.topic, run.partition), []).extend(batch.values.some(range(run.begin, run.end)))
        return seen.keys() == places

    until(all_are_seen, "all are read")
    assert seen == {(TOPIC, 0): [b"a"], (TOPIC, 1): [b"b"], ("other", 1): [b"c"]}


def test_a_batch_that_is_over_answers_with_an_exception(broker: EmbeddedBroker, reader: ColumnReader) -> None:
    produce(broker.bootstrap_servers, TOPIC, [(0, b"key", b"value")])
    reader.begin((TOPIC, 0), 0)
    batch = next_batch(reader)
    assert batch.originals.keys([0]).all() == [b"key"]
    with pytest.raises(IndexError):
        batch.originals.keys([1])
    with pytest.raises(IndexError):
        batch.originals.headers([-1])
    reader.poll(1, 0.0)
    for ask in (lambda: batch.originals.keys([0]), lambda: batch.originals.headers([0]), lambda: batch.header("h")):
        with pytest.raises(RuntimeError, match="the batch is over"):
            ask()


def test_a_batch_outlives_its_partition(broker: EmbeddedBroker, reader: ColumnReader) -> None:
    produce(broker.bootstrap_servers, TOPIC, [(0, b"%d" % number, b"v") for number in range(50)])
    reader.begin((TOPIC, 0), 0)
    batch = next_batch(reader)
    reader.drop([(TOPIC, 0)])
    assert batch.originals.keys(range(len(batch))).all() == [b"%d" % number for number in range(len(batch))]


def test_a_payload_larger_than_any_before_is_read_whole(broker: EmbeddedBroker, reader: ColumnReader) -> None:
    sizes = [10, 70_000, 900_000, 10]
    produce(broker.bootstrap_servers, TOPIC, [(0, None, bytes([size % 251]) * size) for size in sizes])
    reader.begin((TOPIC, 0), 0)
    read: list[bytes | None] = []

    def all_are_read() -> bool:
        batch = reader.poll(1_000, 0.1)
        read.extend(batch.values.some(range(len(batch))))
        return len(read) == len(sizes)

    until(all_are_read, "all are read")
    assert read == [bytes([size % 251]) * size for size in sizes]


def test_polls_of_any_size_give_every_record_once(broker: EmbeddedBroker, reader: ColumnReader) -> None:
    produce(broker.bootstrap_servers, TOPIC, [(0, None, b"%d" % number) for number in range(500)])
    reader.begin((TOPIC, 0), 0)
    dice = np.random.default_rng(7)
    offsets: list[int] = []

    def all_are_read() -> bool:
        batch = reader.poll(int(dice.integers(1, 40)), 0.1)
        offsets.extend(batch.offsets.tolist())
        return len(offsets) >= 500

    until(all_are_read, "all are read")
    assert offsets == list(range(500))


def test_a_closed_reader_is_closed_once_and_touched_no_more(broker: EmbeddedBroker) -> None:
    produce(broker.bootstrap_servers, TOPIC, [(0, None, b"v")])
    reader = ColumnReader(live_config(settings_for(broker)), ReaderWatch(TOPIC, float))
    reader.begin((TOPIC, 0), 0)
    next_batch(reader)
    reader.close()
    reader.close()
    for use in (
        lambda: reader.poll(1, 0.0),
        lambda: reader.begin((TOPIC, 1), 0),
        lambda: reader.known_end((TOPIC, 0)),
    ):
        with pytest.raises(RuntimeError, match="closed"):
            use()


def test_log_lines_and_statistics_come_inside_poll(broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[dict[str, Any]] = []

    class Watch(ReaderWatch):
        def record_statistics(self, text: str) -> None:
            super().record_statistics(text)
            heard.append(json.loads(text))

    config = {**live_config(settings_for(broker)), "statistics.interval.ms": 50, "debug": "consumer"}
    with caplog.at_level(logging.DEBUG, "librdkafka"):
        reader = ColumnReader(config, Watch(TOPIC, float))
        assert heard == []
        assert [each for each in caplog.records if each.name == "librdkafka"] == []
        until(lambda: (reader.poll(1, 0.0), bool(heard))[1], "statistics are heard")
        lines = [each.getMessage() for each in caplog.records if each.name == "librdkafka"]
        reader.close()
    assert "viewer-consumer-reader" in heard[0]["name"]
    assert any("[viewer-consumer-reader#consumer-" in line for line in lines)


def test_errors_of_connections_are_told(caplog: pytest.LogCaptureFixture) -> None:
    watch = ReaderWatch(TOPIC, float)
    settings = Settings(kafka=KafkaSettings(bootstrap_servers="localhost:1"))
    reader = ColumnReader(live_config(settings), watch)
    until(lambda: (reader.poll(1, 0.0), watch.error() is not None)[1], "the error is told")
    reader.close()
    assert "FAIL [viewer-consumer-reader#consumer-" in caplog.text


def test_a_refused_assignment_raises_the_reason(reader: ColumnReader) -> None:
    reader.begin((TOPIC, 0), 0)
    with pytest.raises(KafkaException):
        reader._assign((TOPIC, 0), 0)


def test_tokens_are_refreshed(caplog: pytest.LogCaptureFixture) -> None:
    """A thread of the client library does it; as an event of the queue that is polled it would be lost."""
    client: dict[str, str | int | float | bool] = {
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "OAUTHBEARER",
        "enable.sasl.oauthbearer.unsecure.jwt": "true",
        "sasl.oauthbearer.config": "principal=worker lifeSeconds=1",
        "debug": "security",
    }
    config = live_config(Settings(kafka=KafkaSettings(bootstrap_servers="localhost:1", client=client)))
    with caplog.at_level(logging.DEBUG, "librdkafka"):
        reader = ColumnReader(config, ReaderWatch(TOPIC, float))
        until(
            lambda: (reader.poll(1, 0.0), caplog.text.count("after setting OAUTHBEARER token") >= 3)[1],
            "the token is refreshed twice",
        )
        reader.close()


def test_an_unknown_key_is_a_usage_error(broker: EmbeddedBroker) -> None:
    with pytest.raises(UsageError, match=r'kafka\.client: No such configuration property: "no\.such"'):
        ColumnReader({**live_config(settings_for(broker)), "no.such": 1}, ReaderWatch(TOPIC, float))


def test_an_error_without_a_topic_is_of_no_partition() -> None:
    text = b"Broker: Group authorization failed"
    message = column_reader._Message(error=30, topic=None, partition=0, size=len(text), offset=-1001)
    kept = np.frombuffer(text, np.uint8)
    message.payload = kept.ctypes.data
    event = column_reader._event_at(ctypes.addressof(message))
    assert (event.place, event.error.code(), event.error.str()) == (None, 30, text.decode())
    assert isinstance(event, ReadEvent)


@pytest.mark.parametrize("version", [0x01090000, 0x03000000])
def test_other_major_releases_are_not_used(monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    library: Any = reading_functions()

    class Older:
        def __getattr__(self, name: str) -> Any:
            return (lambda: version) if name == "rd_kafka_version" else getattr(library, name)

    monkeypatch.setattr(c_functions, "declared", lambda _: Older())
    with pytest.raises(OSError, match=r"is not a release of 2\.x"):
        reading_functions.__wrapped__()


def test_the_fallback_is_told_once(
    broker: EmbeddedBroker, without_c_functions: None, caplog: pytest.LogCaptureFixture
) -> None:
    del without_c_functions
    readers._warn.cache_clear()
    for _ in range(2):
        readers.make_reader(live_config(settings_for(broker)), ReaderWatch(TOPIC, float)).close()
    assert caplog.text.count("librdkafka's C functions cannot be had") == 1


def test_the_member_receives_no_record(kafka_stage: KafkaStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client library counts what each client receives."""
    received: dict[type, int] = {}
    record = ClientWatch.record_statistics

    def noting(watch: ClientWatch, text: str) -> None:
        received[type(watch)] = json.loads(text)["rxmsgs"]
        record(watch, text)

    monkeypatch.setattr(ClientWatch, "record_statistics", noting)
    kafka_stage.write(0, *(b"%d" % number for number in range(100)))
    member = joined(kafka_stage.input(RecordingHandler()))
    read(member, 100)
    received.clear()
    until(lambda: (member.poll(1, 0.05), received.get(ReaderWatch, 0) >= 100)[1], "the reader's statistics tell")
    until(lambda: (member.poll(1, 0.05), MemberWatch in received)[1], "the member's statistics tell")
    assert received[MemberWatch] == 0


def test_events_that_are_left_do_not_wait_for_records(reader: ColumnReader, monkeypatch: pytest.MonkeyPatch) -> None:
    waited_s: list[float] = []

    def fetch(_: object, timeout_s: float) -> int:
        waited_s.append(timeout_s)
        return 0

    monkeypatch.setattr(reader._client, "fetch", fetch)
    for left in (True, False):
        monkeypatch.setattr(reader._client, "serve_events", lambda left=left: left)
        reader.poll(1, 0.1)
    assert waited_s == [0.0, 0.1]


def test_a_client_without_a_group_is_refused(broker: EmbeddedBroker) -> None:
    """The library has no queue for its records, and a poll of none would end the process."""
    config = live_config(settings_for(broker))
    del config["group.id"]
    with pytest.raises(UsageError, match=r"group\.id"):
        ColumnReader(config, ReaderWatch(TOPIC, float))


def test_a_library_of_another_word_size_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c_functions, "_POINTER_BYTES", 4)
    with pytest.raises(OSError, match="64 bits"):
        reading_functions.__wrapped__()


def test_kernels_and_python_read_a_message_at_the_same_places() -> None:
    message = column_reader._Message
    assert (message.topic.offset, message.partition.offset, message.offset.offset) == (
        message_columns._TOPIC,
        message_columns._PARTITION,
        message_columns._OFFSET,
    )
    assert (message.payload.offset, message.key.offset) == (message_columns.PAYLOAD, message_columns.KEY)
    sizes = [message.size.offset - message.payload.offset, message.key_size.offset - message.key.offset]
    assert sizes == [message_columns._SIZE] * 2
    assert ctypes.sizeof(message) == 72


@pytest.mark.parametrize("step", ["read_columns", "_look_at"])
def test_messages_are_given_back_after_an_error(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The client library waits in `close` for each message that was not."""
    produce(broker.bootstrap_servers, TOPIC, [(0, None, b"v")] * 50)
    reader = ColumnReader(live_config(settings_for(broker)), ReaderWatch(TOPIC, float))

    def fail(*_: object) -> NoReturn:
        raise MemoryError(step)

    reader.begin((TOPIC, 0), 0)
    monkeypatch.setattr(message_columns if step == "read_columns" else reader, step, fail)

    def fails_with_something_held() -> bool:
        try:
            reader.poll(1_000, 0.1)
        except MemoryError:
            return reader._held._count + reader._held._errors > 0
        return False

    until(fails_with_something_held, "the step fails")
    call_within(Deadline.after(10.0), reader.close)


ABANDONS_A_READER = """
import sys
from tests.kafka.test_column_reader import *

kafka = KafkaSettings(bootstrap_servers=sys.argv[1], input_topic=TOPIC)
reader = ColumnReader(live_config(Settings(kafka=kafka)), ReaderWatch(TOPIC, float))
reader.begin((TOPIC, 0), 0)
assert next_batch(reader).originals.keys([0]).all() == [b"key"]
print("held")
"""


def test_a_process_may_end_with_a_reader_that_holds_messages(broker: EmbeddedBroker) -> None:
    produce(broker.bootstrap_servers, TOPIC, [(0, b"key", b"v")] * 50)
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", ABANDONS_A_READER, broker.bootstrap_servers],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "held\n", "")
