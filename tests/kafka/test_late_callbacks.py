"""Callbacks that the client library runs while it closes."""

from typing import Any, NoReturn

from confluent_kafka import TopicPartition

from consumer.kafka.config import consumer_config
from consumer.kafka.input_consumer import InputConsumer
from consumer.settings.model import Settings
from tests.support.fakes import RecordingHandler


class WithoutGroup:
    """A client that closes: it has left its group."""

    def consumer_group_metadata(self) -> NoReturn:
        raise RuntimeError("Consumer group metadata not available")

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        assert [each.partition for each in partitions] == [0, 1]


def test_partitions_revoked_after_the_group_was_left_are_lost() -> None:
    handler = RecordingHandler()
    made: Any = InputConsumer(consumer_config(Settings()), "events", handler)
    made._owned.update({0: 1, 1: 1})
    # An exception here would leave close() as an interpreter error with a traceback.
    made._on_revoke(WithoutGroup(), [TopicPartition("events", 0), TopicPartition("events", 1)])
    assert handler.heard == [("lost", (0, 1))]
    assert made.assignment == frozenset()
    assert made.group_metadata() is None
    made.close()
