"""The embedded broker as the demo uses it: with other clients, over TCP."""

from typing import NoReturn

import pytest

from consumer.errors import ViewerConsumerError
from consumer.kafka.admin.input_topic import ensure_input_topic
from consumer.kafka.admin.topics import check_topics
from consumer.kafka.config import plain_producer_config, producer_config
from consumer.kafka.embedded import EMBEDDED_PARTITIONS, EmbeddedBroker, EventProducer
from consumer.kafka.readers import live_input
from consumer.kafka.record import Record
from consumer.kafka.transaction import TransactionOwner
from consumer.settings.model import KafkaSettings, Settings
from tests.kafka.stage import OutcomeLog
from tests.support.fakes import RecordingHandler
from tests.support.topics import create_topic, delete_topics, read_committed, unique
from tests.support.waiting import until


def without_functions() -> NoReturn:
    raise OSError("no C functions")


@pytest.mark.parametrize("way", ["its functions", "the binding"])
def test_events_and_transactions_go_over_tcp(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    if way == "the binding":
        monkeypatch.setattr("consumer.kafka.embedded.MockCluster", without_functions)
    kafka = KafkaSettings()
    names = (kafka.input_topic, kafka.output_topic, kafka.dead_letter_topic, kafka.state_topic)
    with EmbeddedBroker(names) as broker:
        kafka = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
        settings = Settings(kafka=kafka)
        layout = check_topics(kafka)
        assert [topic.partitions for topic in layout.topics] == [EMBEDDED_PARTITIONS] * 4
        assert layout.identity.topic_id == ""  # it has no cluster id, and is not waited for

        events = EventProducer(plain_producer_config(kafka), kafka.input_topic)
        events.produce((b"stream-%d" % (number % 10), b"event %d" % number, 1_000 + number) for number in range(3_000))
        assert events.flush() == 0

        handler = RecordingHandler()
        member = live_input(settings, handler)
        member.subscribe()
        until(lambda: (member.poll(1, 0.1), len(member.assignment) == EMBEDDED_PARTITIONS)[1], "all are assigned")
        for partition in member.assignment:
            member.begin(partition, 0)
        read: list[Record] = []

        def all_are_read() -> bool:
            batch = member.poll(1_000, 0.1)
            read.extend(batch.records(0, len(batch)))
            return len(read) >= 3_000

        until(all_are_read, "all events are read")
        assert sorted((each.value or b"", each.timestamp_ms) for each in read) == sorted(
            (b"event %d" % number, 1_000 + number) for number in range(3_000)
        )

        outcomes = OutcomeLog()
        owner = TransactionOwner(producer_config(settings, "demo"), outcomes)
        for number in range(3):
            metadata = member.group_metadata()
            assert metadata is not None
            owner.produce(kafka.output_topic, b"stream-1", b"summary %d" % number)
            owner.commit({(kafka.input_topic, 0): number}, metadata)
        assert outcomes.entries == [("committed", "")] * 3
        summaries = read_committed(broker.bootstrap_servers, kafka.output_topic)
        assert [each.value() for each in summaries] == [b"summary 0", b"summary 1", b"summary 2"]
        member.close()
        owner.close()


def test_the_audience_waits_while_the_queue_is_full(bootstrap_servers: str) -> None:
    topic = unique("events")
    create_topic(bootstrap_servers, topic, 1)
    config = plain_producer_config(KafkaSettings(bootstrap_servers=bootstrap_servers))
    events = EventProducer({**config, "queue.buffering.max.messages": 100, "linger.ms": 0}, topic)
    events.produce((b"stream", b"%d" % number, 1) for number in range(1_000))
    assert events.flush() == 0
    read = read_committed(bootstrap_servers, topic)
    assert [each.value() for each in read] == [b"%d" % number for number in range(1_000)]
    delete_topics(bootstrap_servers, [topic])


def test_events_that_no_broker_accepts_are_counted_and_reported() -> None:
    config = plain_producer_config(KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    events = EventProducer({**config, "message.timeout.ms": 500}, "viewer-events")
    events.produce((b"stream", b"event", 1) for _ in range(7))
    with pytest.raises(
        ViewerConsumerError, match=r'7 events were not written to topic "viewer-events" on 127\.0\.0\.1:1'
    ):
        events.flush(10)


def test_a_full_queue_without_brokers_is_an_error_with_the_reason() -> None:
    config = plain_producer_config(KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    events = EventProducer({**config, "queue.buffering.max.messages": 5}, "viewer-events")
    with pytest.raises(ViewerConsumerError, match=r"can't write to topic .* on 127\.0\.0\.1:1: .*refused"):
        events.produce(((b"stream", b"event", 1) for _ in range(7)), room_within_s=1.0)


def test_producers_create_their_topic_if_that_is_configured(bootstrap_servers: str) -> None:
    kafka = KafkaSettings(bootstrap_servers=bootstrap_servers, input_topic=unique("input"))
    with pytest.raises(ViewerConsumerError, match=f'input topic "{kafka.input_topic}" does not exist'):
        ensure_input_topic(kafka.model_copy(update={"create_topics": False}))
    ensure_input_topic(kafka)
    ensure_input_topic(kafka)
    assert read_committed(bootstrap_servers, kafka.input_topic) == []
    delete_topics(bootstrap_servers, [kafka.input_topic])
