"""What only real brokers do to transactions."""

import os
import time

import pytest

from consumer.errors import ViewerConsumerError
from consumer.kafka.config import producer_config
from consumer.kafka.errors import TransactionAborted, TransactionLost
from consumer.kafka.transaction import TimeLimits, TransactionOwner
from consumer.runtime.record_columns import record_columns
from tests.kafka.stage import KafkaStage, OutcomeLog
from tests.support.topics import create_topic, delete_topics, ends, read_committed, unique
from tests.support.waiting import until


@pytest.mark.parametrize("refused_by", ["client", "broker"])
def test_a_record_that_is_too_large_aborts_and_the_next_transaction_commits(
    kafka_stage: KafkaStage, refused_by: str
) -> None:
    delete_topics(kafka_stage.bootstrap_servers, [kafka_stage.output])
    kafka_stage.output = unique("small")
    create_topic(kafka_stage.bootstrap_servers, kafka_stage.output, 1, {"max.message.bytes": "1000"})
    outcomes = OutcomeLog()
    owner, metadata = kafka_stage.owner(listener=outcomes), kafka_stage.metadata()

    def publish_too_much() -> None:
        owner.produce(kafka_stage.output, b"a", b"fits")
        owner.produce(kafka_stage.output, b"a", os.urandom(2_000_000 if refused_by == "client" else 10_000))
        owner.commit({(kafka_stage.topic, 0): 1}, metadata)

    with pytest.raises(TransactionAborted) as aborted:
        publish_too_much()
    assert aborted.value.error == "MSG_SIZE_TOO_LARGE"
    owner.produce(kafka_stage.output, b"a", b"1")
    owner.commit({(kafka_stage.topic, 0): 2}, metadata)
    assert [each.value for each in kafka_stage.published()] == [b"1"]
    assert kafka_stage.committed() == {0: 2}
    assert outcomes.entries == [("aborted", "MSG_SIZE_TOO_LARGE"), ("committed", "")]


def test_keys_are_placed_where_java_clients_place_them(kafka_stage: KafkaStage) -> None:
    """Hashes from Kafka's own test of murmur2; the partition is the hash without its sign bit modulo their count."""
    hashes = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
    delete_topics(kafka_stage.bootstrap_servers, [kafka_stage.output])
    kafka_stage.output = unique("seven")  # of the old name the broker may still show the old topic
    create_topic(kafka_stage.bootstrap_servers, kafka_stage.output, 7)
    owner = kafka_stage.owner()
    for key in hashes:
        owner.produce(kafka_stage.output, key, b"v")
    owner.produce_columns(kafka_stage.output, record_columns([(key, b"v", [("in", "columns")]) for key in hashes]))
    owner.commit({(kafka_stage.topic, 0): 1}, kafka_stage.metadata())
    read = read_committed(kafka_stage.bootstrap_servers, kafka_stage.output)
    assert sorted((each.key() or b"", each.partition()) for each in read) == sorted(
        2 * [(key, (murmur2 & 0x7FFFFFFF) % 7) for key, murmur2 in hashes.items()]
    )


def test_records_of_an_aborted_transaction_are_in_the_topic_but_hidden(kafka_stage: KafkaStage) -> None:
    owner = kafka_stage.owner()
    owner.produce(kafka_stage.output, b"a", b"hidden")
    kafka_stage.wait_until_written(kafka_stage.output, b"hidden")
    owner.abort()
    assert kafka_stage.published() == []


def test_one_transaction_can_hold_many_more_records_than_the_queue(kafka_stage: KafkaStage) -> None:
    owner = kafka_stage.owner(client={"queue.buffering.max.messages": 500})
    records = [(b"%d" % number, b"value") for number in range(5_000)]
    owner.produce_all(kafka_stage.output, records)
    owner.commit({(kafka_stage.topic, 0): 1}, kafka_stage.metadata())
    assert [each.key for each in kafka_stage.published()] == [key for key, _ in records]


def test_a_transaction_that_the_broker_aborted_for_its_age_is_a_loss(kafka_stage: KafkaStage) -> None:
    owner, metadata = kafka_stage.owner(client={"transaction.timeout.ms": 1_000}), kafka_stage.metadata()
    owner.produce(kafka_stage.output, b"a", b"too slow")
    # A transaction that the broker aborts, in one of its rounds, has a marker after it.
    servers, output = kafka_stage.bootstrap_servers, kafka_stage.output
    until(
        lambda: ends(servers, output, "read_committed") == {0: 2}, "the broker has aborted the transaction", within_s=30
    )
    with pytest.raises(TransactionLost):
        owner.commit({(kafka_stage.topic, 0): 1}, metadata)
    owner.produce(kafka_stage.output, b"a", b"2")
    owner.commit({(kafka_stage.topic, 0): 2}, metadata)
    assert [each.value for each in kafka_stage.published()] == [b"2"]


def test_without_brokers_a_start_fails_in_time_with_the_reason(kafka_stage: KafkaStage) -> None:
    settings = kafka_stage.settings()
    nowhere = settings.model_copy(
        update={"kafka": settings.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:1"})}
    )
    # On a busy machine the client needs more than a second for its first attempt.
    owner = TransactionOwner(producer_config(nowhere, "one"), OutcomeLog(), TimeLimits(start_s=3, end_s=1, room_s=1))
    began = time.monotonic()
    with pytest.raises(ViewerConsumerError, match=r"can't begin transactions .* on 127\.0\.0\.1:1: .*refused"):
        owner.init()
    assert time.monotonic() - began < 10
