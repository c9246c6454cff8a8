"""Read the committed records of the dead-letter topic up to its current end, without a consumer group."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

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
            partitions = self._partitions(consumer, last_error)
            starts = [TopicPartition(self._topic, each, 0 if since_ms is None else since_ms) for each in partitions]
            if since_ms is not None:
                with self._explaining(last_error):
                    starts = consumer.offsets_for_times(starts, timeout=self._timeout_s)
            else:
                starts = [TopicPartition(self._topic, each.partition, _BEGINNING) for each in starts]
            yield from self._read(consumer, last_error, starts)

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
    def _consumer(self) -> Iterator[tuple[Consumer, LastClientError]]:
        last_error = LastClientError()
        consumer = make_consumer(reader_config(self._kafka), last_error)
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

    def _read(
        self, consumer: Consumer, last_error: LastClientError, starts: Iterable[TopicPartition]
    ) -> Iterator[Record]:
        with self._explaining(last_error):
            for messages in read_to_end(consumer, list(starts), lambda: Deadline.after(self._timeout_s)):
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
