"""Write records to the input topic as its producers do: without transactions, each acknowledged by all replicas."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message

from consumer.kafka.clients import LastClientError, explain, kafka_error, make_producer
from consumer.kafka.config import plain_producer_config
from consumer.kafka.deadline import Deadline
from consumer.kafka.errors import GENERAL, PURGED
from consumer.kafka.protocols import Sent
from consumer.kafka.record import OutgoingRecord
from consumer.kafka.timeouts import TIMEOUTS, Timeouts
from consumer.settings.model import KafkaSettings

_ROOM_POLL_S = 0.05
_BATCH_BYTES = 100_000
"""A batch above the topic's limit is refused as a whole, though each of its records may be small."""
_GRACE_S = 5.0
"""The client library reports a record whose time is up a little later."""

OnDelivery = Callable[[KafkaError | None, Message], None]


class TopicSender:
    """Writes to the input topic; records are in order within a partition, and none is written twice by a retry.

    Raises:
        UsageError: librdkafka doesn't take `kafka.client`.
    """

    def __init__(self, kafka: KafkaSettings, timeouts: Timeouts = TIMEOUTS) -> None:
        self._servers = kafka.bootstrap_servers
        self._topic = kafka.input_topic
        self._send_s = timeouts.send_s
        self._last_error = LastClientError()
        config = {
            **plain_producer_config(kafka),
            "acks": "all",
            "delivery.report.only.error": False,
            "batch.size": _BATCH_BYTES,
            "linger.ms": 5,
            "message.timeout.ms": int(timeouts.send_s * 1_000),
        }
        self._producer = make_producer(config, self._last_error, _ignore)

    def send(self, records: Sequence[OutgoingRecord]) -> Sent:
        """Write these and wait until each is acknowledged or has failed, for a bounded time.

        After a failure nothing more is written, and this must not be called again. A record without acknowledgement may
        have been written all the same, if its broker's answer was lost.
        """
        written = [False] * len(records)
        errors: list[KafkaError] = []

        def delivered(row: int, error: KafkaError | None, _message: Message) -> None:
            if error is None:
                written[row] = True
            else:
                errors.append(error)

        deadline = Deadline.after(self._send_s + _GRACE_S)
        with _noting(errors):
            self._put_all(records, delivered, errors, deadline)
        with _noting(errors):  # those before a failure are written
            self._producer.flush(deadline.left_s())
        if all(written):
            return Sent(written, "")
        self._give_up()
        reason = next(filter(_says_why, errors), KafkaError(KafkaError._MSG_TIMED_OUT))  # noqa: SLF001  # the library's name
        doing = f'can\'t write to topic "{self._topic}"'
        return Sent(written, str(explain(doing, self._servers, reason, self._last_error.error())))

    def _put_all(
        self,
        records: Sequence[OutgoingRecord],
        delivered: Callable[[int, KafkaError | None, Message], None],
        errors: Sequence[KafkaError],
        deadline: Deadline,
    ) -> None:
        """Queue records until one has failed."""
        for row, record in enumerate(records):
            self._put(record, partial(delivered, row), deadline)
            if errors:
                return

    def _give_up(self) -> None:
        """Write nothing of what is queued."""
        with suppress(KafkaException):
            self._producer.purge()
            self._producer.flush(_GRACE_S)

    def _put(self, record: OutgoingRecord, on_delivery: OnDelivery, deadline: Deadline) -> None:
        """Queue a record, waiting while the queue is full.

        Raises:
            KafkaException: it cannot be queued.
        """
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    record.value,
                    record.key,
                    record.partition,
                    on_delivery=on_delivery,
                    timestamp=record.timestamp_ms or 0,  # 0 is now
                    headers=list(record.headers),
                )
            except BufferError:
                if deadline.passed:
                    raise KafkaException(KafkaError(KafkaError._QUEUE_FULL)) from None  # noqa: SLF001  # as above
                self._producer.poll(_ROOM_POLL_S)
            else:
                self._producer.poll(0)
                return


@contextmanager
def _noting(errors: list[KafkaError]) -> Iterator[None]:
    """Note errors of calls: of a record, or fatal ones, as without the right to write to any topic."""
    try:
        yield
    except KafkaException as error:
        errors.append(kafka_error(error))
    except SystemError as error:  # the library raised a fatal one, and then called a callback all the same
        if not isinstance(error.__cause__, KafkaException):
            raise
        errors.append(kafka_error(error.__cause__))


def _says_why(error: KafkaError) -> bool:
    """Behind a fatal error, calls and records fail with codes of their own that give no reason."""
    return error.code() not in GENERAL | PURGED


def _ignore(_error: KafkaError | None, _message: object) -> None:
    """Each record has a callback of its own."""
