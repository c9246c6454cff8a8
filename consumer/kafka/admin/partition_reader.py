"""Read assigned partitions to their ends, once."""

from collections.abc import Callable, Generator

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from consumer.kafka.deadline import Deadline
from consumer.kafka.retries import NOT_FOUND_OR_DENIED

_BATCH = 10_000
_POLL_S = 0.1


def read_to_end(
    consumer: Consumer,
    starts: list[TopicPartition],
    make_deadline: Callable[[], Deadline],
    end: int | None = None,
    *,
    batch: int = _BATCH,
) -> Generator[list[Message]]:
    """Yield the records of the partitions in batches, from the given offsets to the ends at the time of reading.

    The consumer must report ends of partitions (`enable.partition.eof`). Its assignment is removed at the end.

    Args:
        consumer: without an assignment.
        starts: topic, partition and offset of each partition.
        make_deadline: a time-out that starts anew with every batch and after every pause of the caller.
        end: stop at this offset; for one partition.
        batch: largest number of records of a batch.

    Raises:
        KafkaException: an error of a partition, or no progress within the time-out.
    """
    unfinished = {start.partition for start in starts}
    consumer.assign(starts)
    try:
        deadline = make_deadline()
        while unfinished:
            messages = consumer.consume(batch, _POLL_S)
            records = [message for message in messages if _is_record(message)]
            unfinished -= {message.partition() for message in messages if _is_end(message, end)}
            if records:
                yield [message for message in records if end is None or _offset(message) < end]
            if messages:
                deadline = make_deadline()
            elif deadline.passed:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  # the library's name
    finally:
        consumer.unassign()


def _is_record(message: Message) -> bool:
    error = message.error()
    if error is None:
        return True
    if error.code() != KafkaError._PARTITION_EOF and (error.fatal() or error.code() in NOT_FOUND_OR_DENIED):  # noqa: SLF001  # as above
        raise KafkaException(error)
    return False


def _is_end(message: Message, end: int | None) -> bool:
    """Whether a message is the end of its partition, whose offset lies behind transaction markers, or reaches `end`."""
    if end is not None:
        return _offset(message) >= end
    error = message.error()
    return error is not None and error.code() == KafkaError._PARTITION_EOF  # noqa: SLF001  # as above


def _offset(message: Message) -> int:
    """The offset; -1 for messages without one, such as some errors."""
    offset = message.offset()
    return -1 if offset is None else offset
