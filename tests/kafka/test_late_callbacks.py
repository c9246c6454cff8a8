"""Callbacks that the client library runs while it closes."""

import threading
from collections.abc import Sequence
from typing import Any, NoReturn, cast

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

from consumer.kafka import group_member
from consumer.kafka.config import member_config
from consumer.kafka.group_member import GroupMember
from consumer.settings.model import Settings
from tests.support.fakes import RecordingHandler


class WithoutGroup:
    """A client that closes: it has left its group."""

    def consumer_group_metadata(self) -> NoReturn:
        raise RuntimeError("Consumer group metadata not available")

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        assert [each.partition for each in partitions] == [0, 1]


class Hanging:
    """A client whose close hangs, and then calls rebalance callbacks."""

    def __init__(self, member: GroupMember) -> None:
        self._member = member
        self.release = threading.Event()
        self.closed = threading.Event()

    def consumer_group_metadata(self) -> bytes:
        return b"of a member"

    def poll(self, _timeout_s: float) -> None: ...

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        assert partitions

    def close(self) -> None:
        assert self.release.wait(30)
        self._member._on_revoke(cast("Consumer", self), [TopicPartition("events", 0)])
        self._member._on_lost(cast("Consumer", self), [TopicPartition("events", 0)])
        self._member._on_assign(cast("Consumer", self), [TopicPartition("events", 1)])
        self.closed.set()

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        assert not partitions


def test_no_handler_runs_in_the_thread_that_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also not after that thread was left behind: the handler would commit with a producer that is being closed."""
    threads: list[threading.Thread] = []

    class RecordingThreads(RecordingHandler):
        def on_revoked(self, partitions: Sequence[int]) -> None:
            threads.append(threading.current_thread())
            super().on_revoked(partitions)

    handler = RecordingThreads()
    made = GroupMember(member_config(Settings()), "events", handler)
    client = Hanging(made)
    monkeypatch.setattr(made, "_consumer", client)
    monkeypatch.setattr(group_member, "_of_a_member", lambda metadata: metadata)
    made._owned.add(0)
    made._metadata = b"of a member"
    assert made.close(0.05) is False
    assert handler.heard == [("revoked", (0,))]
    client.release.set()
    assert client.closed.wait(30)
    assert handler.heard == [("revoked", (0,))]
    assert threads == [threading.current_thread()]
    assert made.assignment == frozenset()


def test_partitions_revoked_after_the_group_was_left_are_lost() -> None:
    handler = RecordingHandler()
    made: Any = GroupMember(member_config(Settings()), "events", handler)
    made._owned.update((0, 1))
    # An exception here would leave close() as an interpreter error with a traceback.
    made._consumer.close()
    made._consumer = WithoutGroup()
    made._on_revoke(made._consumer, [TopicPartition("events", 0), TopicPartition("events", 1)])
    assert handler.heard == [("lost", (0, 1))]
    assert made.assignment == frozenset()
    assert made.group_metadata() is None


def test_callbacks_of_a_client_that_another_has_replaced_change_nothing() -> None:
    """It closes in a thread that may have been left behind."""
    handler = RecordingHandler()
    made: Any = GroupMember(member_config(Settings()), "events", handler)
    made._owned.update((0, 1))
    made._metadata = b"of the client that has replaced it"
    both = [TopicPartition("events", 0), TopicPartition("events", 1)]
    for callback in (made._on_revoke, made._on_lost, made._on_assign):
        callback(WithoutGroup(), both)
    assert handler.heard == []
    assert made.assignment == {0, 1}
    assert made._metadata == b"of the client that has replaced it"
    made._owned.clear()
    made.close()


def test_callbacks_of_a_client_that_another_will_replace_change_nothing() -> None:
    """Between a fence and the next attempt to join."""
    handler = RecordingHandler()
    made: Any = GroupMember(member_config(Settings()), "events", handler)
    made._consumer.close()
    made._owned.update((0, 1))
    text = KafkaError(KafkaError.FENCED_INSTANCE_ID).str()
    made._look_at(KafkaError(KafkaError._FATAL, f"Fatal error: {text}", fatal=True))
    assert (handler.heard, made.assignment) == ([("lost", (0, 1))], frozenset())
    made._consumer = WithoutGroup()
    for callback in (made._on_revoke, made._on_lost, made._on_assign):
        callback(made._consumer, [TopicPartition("events", 0), TopicPartition("events", 1)])
    assert (handler.heard, made.assignment) == ([("lost", (0, 1))], frozenset())
