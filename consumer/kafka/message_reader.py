"""Read through the Python binding's consumer and its message objects."""

from collections.abc import Callable, Iterator, Sequence
from typing import cast

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from consumer.kafka.batch import Batch
from consumer.kafka.messages import batch_of
from consumer.kafka.reading import NO_OFFSET, Place, ReadEvent, RecordReader, close_aside


class MessageReader(RecordReader):
    """A consumer that joins no group.

    Args:
        make: makes a consumer, as `make_consumer` does; closed by `close`.
    """

    def __init__(self, make: Callable[[], Consumer]) -> None:
        super().__init__()
        self._make = make
        self._consumer = make()
        self._with_errors: Sequence[Message] = ()

    def known_end(self, place: Place) -> int:
        """As of the last fetch."""
        known = self._consumer.get_watermark_offsets(TopicPartition(*place), cached=True)
        return known[1] if known is not None else NO_OFFSET

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()

    def _renew_client(self) -> None:
        old, self._with_errors = self._consumer, ()
        self._consumer = self._make()
        close_aside(old.close)

    def _fetch(self, max_records: int, timeout_s: float) -> Batch:
        messages = self._consumer.consume(max_records, timeout_s)
        self._with_errors = ()
        if any(map(Message.error, messages)):
            self._with_errors = [each for each in messages if each.error() is not None]
            messages = [each for each in messages if each.error() is None]
        return batch_of(messages)

    def _pop_events(self) -> Iterator[ReadEvent]:
        for message in self._with_errors:
            topic = message.topic()
            place = None if topic is None else (topic, cast("int", message.partition()))
            yield ReadEvent(cast("KafkaError", message.error()), place, message.offset() or 0)

    def _assign(self, place: Place, offset: int) -> None:
        self._consumer.incremental_assign([TopicPartition(*place, offset)])

    def _unassign(self, place: Place) -> None:
        self._consumer.incremental_unassign([TopicPartition(*place)])
