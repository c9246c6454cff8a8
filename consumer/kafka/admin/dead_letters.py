"""Read the committed records of the dead-letter topic up to its current end, without a consumer group."""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from consumer.errors import ViewerConsumerError
from consumer.kafka.admin.partition_reader import read_to_end
from consumer.kafka.clients import LastClientError, explain, kafka_error, make_consumer
from consumer.kafka.config import reader_config
from consumer.kafka.deadline import Deadline
from consumer.kafka.messages import headers_of
from consumer.kafka.record import Record
from consumer.kafka.timeouts import TIMEOUTS, Timeouts
from consumer.settings.model import KafkaSettings

_BEGINNING = -2  # OFFSET_BEGINNING

_CHUNK_RECORDS = 1_000
_CHUNK_BYTES = 2**20
"""A partition is read to one of these limits before it is another one's turn."""
_POLLED_RECORDS = 500
_IN_TURNS: Mapping[str, int] = {
    # What is fetched ahead is dropped at the end of a turn.
    "queued.max.messages.kbytes": 1_024,
    # The first fetch of a turn comes behind the last one of the turn before, which may wait for records to come.
    "fetch.wait.max.ms": 10,
}


class DeadLetters:
    """Reads one cluster's dead letters.

    Raises:
        UsageError: librdkafka doesn't take `kafka.client`.
    """

    def __init__(self, kafka: KafkaSettings, timeouts: Timeouts = TIMEOUTS) -> None:
        self._kafka = kafka
        self._topic = kafka.dead_letter_topic
        self._timeout_s = timeouts.dead_letters_s

    def read(self, since_ms: int | None = None) -> Iterator[Record]:
        """All current dead letters, each partition in order; optionally from a time on.

        Raises:
            ViewerConsumerError: the cluster doesn't answer in time or refuses, or there is no such topic.
        """
        with self._consumer() as (consumer, last_error):
            yield from self._read(consumer, last_error, self._starts(consumer, last_error, since_ms))

    def read_in_order(self, since_ms: int | None = None) -> Iterator[Record]:
        """The same in the order in which all partitions were written, up to where they end at the call.

        The order is that of the Kafka timestamps. A chunk of each partition is in memory.

        Raises:
            ViewerConsumerError: as `read`.
        """
        with self._consumer(_IN_TURNS) as (consumer, last_error):
            with self._explaining(last_error):
                starts = self._starts(consumer, last_error, since_ms)
                bounds = [(start, self._end(consumer, start)) for start in starts]
            partitions = [self._in_turns(consumer, last_error, start, end) for start, end in bounds]
            yield from heapq.merge(*partitions, key=lambda record: record.timestamp_ms)

    def at(self, partition: int, offset: int) -> Record | None:
        """The dead letter at an offset; None if there is none, or none any more.

        Raises:
            ViewerConsumerError: as `read`.
        """
        with self._consumer() as (consumer, last_error):
            if partition not in self._partitions(consumer, last_error):
                return None
            with self._explaining(last_error):
                place = TopicPartition(self._topic, partition)
                first, end = consumer.get_watermark_offsets(place, timeout=self._timeout_s)
            if not first <= offset < end:
                return None
            found = next(self._read(consumer, last_error, [TopicPartition(self._topic, partition, offset)]), None)
        return found if found is not None and found.offset == offset else None

    @contextmanager
    def _consumer(self, config: Mapping[str, int] | None = None) -> Iterator[tuple[Consumer, LastClientError]]:
        last_error = LastClientError()
        consumer = make_consumer({**reader_config(self._kafka), **(config or {})}, last_error)
        try:
            yield consumer, last_error
        finally:
            consumer.close()

    def _partitions(self, consumer: Consumer, last_error: LastClientError) -> list[int]:
        with self._explaining(last_error):
            found = consumer.list_topics(self._topic, timeout=self._timeout_s).topics[self._topic]
            if found.error is not None and found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise ViewerConsumerError(
                    f'dead letter topic "{self._topic}" does not exist on {self._kafka.bootstrap_servers}: '
                    "check kafka.dead_letter_topic"
                )
            if found.error is not None:
                raise KafkaException(found.error)
        return sorted(found.partitions)

    def _starts(self, consumer: Consumer, last_error: LastClientError, since_ms: int | None) -> list[TopicPartition]:
        partitions = self._partitions(consumer, last_error)
        if since_ms is None:
            return [TopicPartition(self._topic, each, _BEGINNING) for each in partitions]
        with self._explaining(last_error):
            return consumer.offsets_for_times(
                [TopicPartition(self._topic, each, since_ms) for each in partitions], timeout=self._timeout_s
            )

    def _end(self, consumer: Consumer, place: TopicPartition) -> int:
        """Where the committed records of a partition end; 0 for an empty one."""
        begin, end = consumer.get_watermark_offsets(place, timeout=self._timeout_s)
        return end if begin < end else 0

    def _in_turns(
        self, consumer: Consumer, last_error: LastClientError, start: TopicPartition, end: int
    ) -> Iterator[Record]:
        """One partition in chunks, between which the consumer reads others."""
        offset = start.offset
        while offset == _BEGINNING or 0 <= offset < end:
            chunk = self._chunk(consumer, last_error, TopicPartition(self._topic, start.partition, offset), end)
            if not chunk:
                return
            offset = chunk[-1].offset + 1
            yield from chunk

    def _chunk(self, consumer: Consumer, last_error: LastClientError, start: TopicPartition, end: int) -> list[Record]:
        """The next records up to a limit; none at the end."""
        chunk: list[Record] = []
        held = 0
        make_deadline = partial(Deadline.after, self._timeout_s)
        batches = read_to_end(consumer, [start], make_deadline, end, batch=_POLLED_RECORDS)
        with self._explaining(last_error), closing(batches):
            for messages in batches:
                chunk.extend(map(_record, messages))
                held += sum(len(message) for message in messages)
                if len(chunk) >= _CHUNK_RECORDS or held >= _CHUNK_BYTES:
                    break
        return chunk

    def _read(
        self, consumer: Consumer, last_error: LastClientError, starts: Iterable[TopicPartition]
    ) -> Iterator[Record]:
        with self._explaining(last_error):
            for messages in read_to_end(consumer, list(starts), partial(Deadline.after, self._timeout_s)):
                yield from map(_record, messages)

    @contextmanager
    def _explaining(self, last_error: LastClientError) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            raise self._explained(kafka_error(error), last_error) from None

    def _explained(self, error: KafkaError, last_error: LastClientError) -> ViewerConsumerError:
        silence = last_error.reason_of_silence()
        return explain("can't read the dead letters", self._kafka.bootstrap_servers, error, silence)


def _record(message: Message) -> Record:
    _, timestamp_ms = message.timestamp()
    return Record(
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        timestamp_ms=timestamp_ms,
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        headers=headers_of(message),
    )


def _bytes(content: bytes | str | None) -> bytes | None:
    return (
        content.encode() if isinstance(content, str) else content
    )  # the type stub declares text only for what may be produced
