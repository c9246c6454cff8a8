"""What is stored of partitions, looked at from outside: beside workers that are at work, or when all are gone."""

import time
from collections.abc import Iterator
from typing import NamedTuple

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from consumer.errors import ViewerConsumerError
from consumer.kafka.clients import ACCESS_DENIED, LastClientError, explain, kafka_error, make_admin, make_consumer
from consumer.kafka.config import admin_config, restore_config
from consumer.kafka.deadline import Clock, Deadline
from consumer.kafka.end_offsets import end_of, latest_spec
from consumer.settings.model import Settings

ANSWER_WITHIN_S = 60.0
"""Longer than a dead worker's transaction may hold up the offsets of its group."""

READ_AT_ONCE = 10_000

_CALL_WITHIN_S = 5.0
_POLL_S = 0.2
_RETRY_PAUSE_S = 0.1

Record = tuple[bytes, bytes | None]


class Place(NamedTuple):
    """Where the input of a partition begins and ends, and what of it the group has committed."""

    committed: int | None
    begin: int
    end: int


class Member(NamedTuple):
    """Of the group, as its brokers know it."""

    client_id: str
    host: str


class StoredState:
    """Reads the state topic and the group's offsets; belongs to no group's assignment and changes nothing.

    Args:
        settings: those in force.
        answer_within_s: how long brokers may keep silent.
        clock: monotonic seconds.

    Raises:
        UsageError: librdkafka doesn't take `kafka.client`.
    """

    def __init__(
        self, settings: Settings, answer_within_s: float = ANSWER_WITHIN_S, clock: Clock = time.monotonic
    ) -> None:
        self._kafka = settings.kafka
        self._answer_within_s = answer_within_s
        self._call_within_s = min(_CALL_WITHIN_S, answer_within_s)
        self._clock = clock
        self._last_words = LastClientError()
        # Without the library's own lines for every attempt: why brokers don't answer is in the error, once.
        config = {**restore_config(settings), "log_level": 2, "enable.partition.eof": True}
        self._consumer: Consumer = make_consumer(config, self._last_words)
        self._admin: AdminClient = make_admin(admin_config(settings.kafka), self._last_words)

    def place(self, partition: int) -> Place:
        """Offsets of the input of a partition.

        Raises:
            ViewerConsumerError: the cluster doesn't answer in time, or refuses.
        """
        return Place(self.committed(partition), *self._ends(self._kafka.input_topic, partition))

    def committed(self, partition: int) -> int | None:
        """The group's offset, None where it has none; a transaction that is about to change it is waited for.

        Raises:
            ViewerConsumerError: as `place`.
        """
        wanted, deadline = [TopicPartition(self._kafka.input_topic, partition)], self._deadline()
        while True:
            try:
                (found,) = self._consumer.committed(wanted, timeout=self._call_within_s)
                error = found.error
            except KafkaException as raised:
                error = kafka_error(raised)
            if error is None:
                return found.offset if found.offset >= 0 else None
            self._wait_or_raise(f'can\'t look up the offsets of group "{self._kafka.group_id}"', error, deadline)

    def records(self, partition: int) -> Iterator[list[Record]]:
        """What a partition's state is made of, in its order: whole transactions, all that are committed by now.

        Raises:
            ViewerConsumerError: as `place`.
        """
        begin, end = self._decided(partition)
        if begin == end:
            return
        self._consumer.assign([TopicPartition(self._kafka.state_topic, partition, OFFSET_BEGINNING)])
        try:
            yield from self._read_to(end)
        finally:
            self._consumer.unassign()

    def members(self) -> list[Member]:
        """Who is in the group.

        Raises:
            ViewerConsumerError: as `place`.
        """
        group, deadline = self._kafka.group_id, self._deadline()
        while True:
            try:
                asked = self._admin.describe_consumer_groups([group], request_timeout=self._call_within_s)
                return [Member(each.client_id, each.host) for each in asked[group].result().members]
            except KafkaException as raised:
                error = kafka_error(raised)
            if error.code() == KafkaError.GROUP_ID_NOT_FOUND:
                return []
            self._wait_or_raise(f'can\'t look up the members of group "{group}"', error, deadline)

    def close(self) -> None:
        """Let go."""
        self._consumer.close()

    def _read_to(self, end: int) -> Iterator[list[Record]]:
        deadline = self._deadline()
        while True:
            messages = self._consumer.consume(READ_AT_ONCE, _POLL_S)
            good = [message for message in messages if self._is_record(message, deadline)]
            yield [(message.key() or b"", message.value()) for message in good if _offset(message) < end]
            # The end of the partition is a message too: it stands behind markers of transactions.
            if messages and max(map(_offset, messages)) >= end:
                return
            if messages:
                deadline = self._deadline()
            elif deadline.passed:
                raise self._unreadable(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  # the library's name

    def _is_record(self, message: Message, deadline: Deadline) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.code() != KafkaError._PARTITION_EOF and (error.fatal() or deadline.passed):  # noqa: SLF001  # as above
            raise self._unreadable(error)
        return False

    def _decided(self, partition: int) -> tuple[int, int]:
        """Where the state begins, and an end at which no transaction is open that was begun before this call.

        What was committed a moment ago is told by the group's offset first: its marker may still be on its way here.
        """
        topic, deadline = self._kafka.state_topic, self._deadline()
        newest = self._newest_end(topic, partition, deadline)
        while True:
            begin, end = self._ends(topic, partition)
            if end >= newest:
                return begin, end
            if deadline.passed:
                raise ViewerConsumerError(
                    f"{topic}-{partition}: a transaction stays open; brokers end those of dead workers within their "
                    "transaction.timeout.ms: try again"
                )
            time.sleep(_RETRY_PAUSE_S)

    def _newest_end(self, topic: str, partition: int, deadline: Deadline) -> int:
        """One past the newest record, of open transactions too."""
        wanted: dict[TopicPartition, OffsetSpec] = {TopicPartition(topic, partition): latest_spec()}
        while True:
            try:
                asked = self._admin.list_offsets(
                    wanted, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=self._call_within_s
                )
                (future,) = asked.values()
                return end_of(future.result())
            except KafkaException as raised:
                error = kafka_error(raised)
            self._wait_or_raise(f"can't look up where {topic}-{partition} ends", error, deadline)

    def _ends(self, topic: str, partition: int) -> tuple[int, int]:
        """Where a partition begins, and up to where all transactions are decided."""
        deadline = self._deadline()
        while True:
            try:
                begin, end = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), self._call_within_s)
            except KafkaException as raised:
                error = kafka_error(raised)
            else:
                return begin, end
            self._wait_or_raise(f"can't look up where {topic}-{partition} begins and ends", error, deadline)

    def _wait_or_raise(self, doing: str, error: KafkaError, deadline: Deadline) -> None:
        if error.fatal() or error.code() in ACCESS_DENIED or deadline.passed:
            raise explain(doing, self._kafka.bootstrap_servers, error, self._last_words.error())
        time.sleep(_RETRY_PAUSE_S)

    def _unreadable(self, error: KafkaError) -> ViewerConsumerError:
        doing = f'can\'t read topic "{self._kafka.state_topic}"'
        return explain(doing, self._kafka.bootstrap_servers, error, self._last_words.error())

    def _deadline(self) -> Deadline:
        return Deadline.after(self._answer_within_s, self._clock)


def _offset(message: Message) -> int:
    """-1 where it has none, as some errors."""
    offset = message.offset()
    return -1 if offset is None else offset
