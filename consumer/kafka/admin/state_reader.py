"""Read stored state and group offsets from outside the group, with or without running workers."""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from consumer.errors import ViewerConsumerError
from consumer.kafka.admin.partition_reader import read_to_end
from consumer.kafka.clients import LastClientError, explain, kafka_error, make_admin, make_consumer
from consumer.kafka.config import admin_config, restore_config
from consumer.kafka.deadline import Clock, Deadline
from consumer.kafka.end_offsets import ask_ends, end_of
from consumer.kafka.retries import call_until
from consumer.kafka.timeouts import TIMEOUTS, Timeouts
from consumer.settings.model import Settings

T = TypeVar("T")

Record = tuple[bytes, bytes | None]


class PartitionBounds(NamedTuple):
    """Log start and end of an input partition, and the group's committed offset."""

    committed: int | None
    begin: int
    end: int


class Member(NamedTuple):
    """A member of the group as the coordinator reports it."""

    client_id: str
    host: str


class StateReader:
    """Reads the state topic and the group's offsets; belongs to no group's assignment and changes nothing.

    Args:
        settings: those in force.
        timeouts: how long to wait.
        clock: monotonic seconds.

    Raises:
        UsageError: librdkafka doesn't take `kafka.client`.
    """

    def __init__(self, settings: Settings, timeouts: Timeouts = TIMEOUTS, clock: Clock = time.monotonic) -> None:
        self._kafka = settings.kafka
        self._timeouts = timeouts
        self._call_s = min(timeouts.call_s, timeouts.state_s)
        self._clock = clock
        self._last_error = LastClientError()
        # No log line per attempt: the raised error contains the reason once.
        config = {**restore_config(settings), "log_level": 2, "enable.partition.eof": True}
        self._consumer: Consumer = make_consumer(config, self._last_error)
        self._admin: AdminClient = make_admin(admin_config(settings.kafka), self._last_error)

    def bounds(self, partition: int) -> PartitionBounds:
        """Offsets of the input of a partition.

        Raises:
            ViewerConsumerError: the cluster doesn't answer in time, or refuses.
        """
        return PartitionBounds(self.committed(partition), *self._ends(self._kafka.input_topic, partition))

    def committed(self, partition: int) -> int | None:
        """The group's offset, None if it has none; waits for a pending transaction that changes it.

        Raises:
            ViewerConsumerError: as `bounds`.
        """
        wanted = [TopicPartition(self._kafka.input_topic, partition)]

        def ask() -> int:
            (found,) = self._consumer.committed(wanted, timeout=self._call_s)
            if found.error is not None:
                raise KafkaException(found.error)
            return found.offset

        offset = self._asked(f'can\'t look up the offsets of group "{self._kafka.group_id}"', self._deadline(), ask)
        return offset if offset >= 0 else None

    def records(self, partition: int) -> Iterator[list[Record]]:
        """The records of a state partition in order: all transactions that are committed by now.

        Raises:
            ViewerConsumerError: as `bounds`.
        """
        begin, end = self._decided(partition)
        if begin == end:
            return
        start = TopicPartition(self._kafka.state_topic, partition, OFFSET_BEGINNING)
        try:
            for messages in read_to_end(self._consumer, [start], self._deadline, end):
                yield [(message.key() or b"", message.value()) for message in messages]
        except KafkaException as error:
            raise self._explained(f'can\'t read topic "{self._kafka.state_topic}"', error) from None

    def members(self) -> list[Member]:
        """The members of the group.

        Raises:
            ViewerConsumerError: as `bounds`.
        """
        group = self._kafka.group_id

        def ask() -> list[Member]:
            asked = self._admin.describe_consumer_groups([group], request_timeout=self._call_s)
            try:
                return [Member(each.client_id, each.host) for each in asked[group].result(self._call_s).members]
            except KafkaException as raised:
                if kafka_error(raised).code() == KafkaError.GROUP_ID_NOT_FOUND:
                    return []
                raise

        return self._asked(f'can\'t look up the members of group "{group}"', self._deadline(), ask)

    def close(self) -> None:
        """Close the clients."""
        self._consumer.close()

    def _decided(self, partition: int) -> tuple[int, int]:
        """Log start, and an end below which every transaction that began before this call is decided.

        The group's offset can be visible before the commit marker arrives in the state partition.
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
            self._pause()

    def _newest_end(self, topic: str, partition: int, deadline: Deadline) -> int:
        """The end offset, records of open transactions included."""

        def ask() -> int:
            (future,) = ask_ends(self._admin, topic, [partition], self._call_s).values()
            # The client library may try longer than its time-out.
            return end_of(future.result(self._call_s))

        return self._asked(f"can't look up where {topic}-{partition} ends", deadline, ask)

    def _ends(self, topic: str, partition: int) -> tuple[int, int]:
        """Log start and last stable offset of a partition."""
        place = TopicPartition(topic, partition)

        def ask() -> tuple[int, int]:
            begin, end = self._consumer.get_watermark_offsets(place, self._call_s)
            return begin, end

        return self._asked(f"can't look up where {topic}-{partition} begins and ends", self._deadline(), ask)

    def _asked(self, doing: str, deadline: Deadline, ask: Callable[[], T]) -> T:
        try:
            return call_until(deadline, ask, self._pause)
        except KafkaException as error:
            raise self._explained(doing, error) from None

    def _explained(self, doing: str, error: KafkaException) -> ViewerConsumerError:
        return explain(doing, self._kafka.bootstrap_servers, kafka_error(error), self._last_error.reason_of_silence())

    def _pause(self) -> None:
        time.sleep(self._timeouts.retry_pause_s)

    def _deadline(self) -> Deadline:
        return Deadline.after(self._timeouts.state_s, self._clock)
