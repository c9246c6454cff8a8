"""The dead-letter topic as people read it: what is committed, up to where it ends now; no group takes note of it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from consumer.errors import ViewerConsumerError
from consumer.kafka.batch import headers_of
from consumer.kafka.clients import LastClientError, explain, kafka_error, make_consumer
from consumer.kafka.config import reader_config
from consumer.kafka.deadline import Deadline
from consumer.kafka.protocols import Record
from consumer.settings.model import KafkaSettings

ANSWER_WITHIN_S = 15.0
"""How long the brokers may take over the topic, and between two records of it."""

_BATCH = 500
_POLL_S = 0.1
_BEGINNING = -2  # OFFSET_BEGINNING


class DeadLetters:
    """Reads one cluster's dead letters.

    Raises:
        UsageError: librdkafka doesn't take `kafka.client`.
    """

    def __init__(self, kafka: KafkaSettings, answer_within_s: float = ANSWER_WITHIN_S) -> None:
        self._kafka = kafka
        self._topic = kafka.dead_letter_topic
        self._answer_within_s = answer_within_s

    def read(self, since_ms: int | None = None) -> Iterator[Record]:
        """All that are there now, each partition in order; from the first set aside at a time, if one is given.

        Raises:
            ViewerConsumerError: the cluster doesn't answer in time or refuses, or there is no such topic.
        """
        with self._consumer() as (consumer, last_words):
            partitions = self._partitions(consumer, last_words)
            starts = [TopicPartition(self._topic, each, 0 if since_ms is None else since_ms) for each in partitions]
            if since_ms is not None:
                with self._told(last_words):
                    starts = consumer.offsets_for_times(starts, timeout=self._answer_within_s)
            else:
                starts = [TopicPartition(self._topic, each.partition, _BEGINNING) for each in starts]
            yield from self._read(consumer, last_words, starts)

    def at(self, partition: int, offset: int) -> Record | None:
        """The one at a place; None where there is none (any more).

        Raises:
            ViewerConsumerError: as `read`.
        """
        with self._consumer() as (consumer, last_words):
            if partition not in self._partitions(consumer, last_words):
                return None
            with self._told(last_words):
                place = TopicPartition(self._topic, partition)
                first, end = consumer.get_watermark_offsets(place, timeout=self._answer_within_s)
            if not first <= offset < end:
                return None
            found = next(self._read(consumer, last_words, [TopicPartition(self._topic, partition, offset)]), None)
        return found if found is not None and found.offset == offset else None

    @contextmanager
    def _consumer(self) -> Iterator[tuple[Consumer, LastClientError]]:
        last_words = LastClientError()
        consumer = make_consumer(reader_config(self._kafka), last_words)
        try:
            yield consumer, last_words
        finally:
            consumer.close()

    def _partitions(self, consumer: Consumer, last_words: LastClientError) -> list[int]:
        with self._told(last_words):
            found = consumer.list_topics(self._topic, timeout=self._answer_within_s).topics[self._topic]
            if found.error is not None and found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise ViewerConsumerError(
                    f'dead letter topic "{self._topic}" does not exist on {self._kafka.bootstrap_servers}: '
                    "check kafka.dead_letter_topic"
                )
            if found.error is not None:
                raise KafkaException(found.error)
        return sorted(found.partitions)

    def _read(
        self, consumer: Consumer, last_words: LastClientError, starts: Iterable[TopicPartition]
    ) -> Iterator[Record]:
        starts = list(starts)
        unfinished = {start.partition for start in starts}
        consumer.assign(starts)
        deadline = Deadline.after(self._answer_within_s)
        while unfinished:
            for message in consumer.consume(_BATCH, _POLL_S):
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  # the library's name
                    raise self._explained(error, last_words)
                deadline = Deadline.after(self._answer_within_s)
                if error is not None:
                    unfinished.discard(message.partition() or 0)
                else:
                    yield _record(message)
                    deadline = Deadline.after(self._answer_within_s)  # whoever reads may take their time
            if deadline.passed:
                raise self._explained(KafkaError(KafkaError._TIMED_OUT), last_words)  # noqa: SLF001  # as above

    @contextmanager
    def _told(self, last_words: LastClientError) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            raise self._explained(kafka_error(error), last_words) from None

    def _explained(self, error: KafkaError, last_words: LastClientError) -> ViewerConsumerError:
        return explain("can't read the dead letters", self._kafka.bootstrap_servers, error, last_words.error())


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
    return content.encode() if isinstance(content, str) else content  # text is only what one may produce
