"""The only owner of the transaction: records and the input offsets they came from are published atomically.

```
            produce, commit                commit
  [ready] ─────────────────► [open] ─────────────────────► [ready]
     ▲                          │ produce, commit, abort
     │                          ├─ ABORT ─► aborted ───────► [ready], or [none] if its records were at fault
     │ init, or the next call   ├─ LOST ──► producer dropped ─► [none]
     └───────── [none] ◄────────┘
```
Used by one thread. `consumer.kafka.errors` maps errors to outcomes.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import NamedTuple, NoReturn, Protocol, runtime_checkable

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from consumer.errors import ViewerConsumerError
from consumer.kafka.clients import DeliveryReport, LastClientError, explain, kafka_error
from consumer.kafka.config import ClientConfig
from consumer.kafka.deadline import CallTimedOutError, Clock, Deadline, call_within, no_limit
from consumer.kafka.errors import (
    FENCED,
    GENERAL,
    MOVED_ON,
    PURGED,
    Outcome,
    TransactionAborted,
    TransactionLost,
    outcome_of,
    outcome_of_record,
)
from consumer.kafka.failure_budget import FailureBudget
from consumer.kafka.producers import TransactionalProducer, make_transactional_producer
from consumer.kafka.protocols import GroupMetadata, TransactionListener
from consumer.runtime.record_columns import Headers, RecordColumns, record_columns

_log = logging.getLogger(__name__)

_SERVE_EVERY = 1_000
_FEW = 30
"""So few records are added one by one: columns of them would cost more."""
_ROOM_POLL_S = 0.05
_REPORT_WAIT_S = 1.0
"""How long to wait for the delivery report that names the reason of an error."""
_RETRY_PAUSE_S = 0.1
_SHORTEST_CALL_S = 1.0
"""The time of a call that begins when little or none is left: most are answered within milliseconds."""
_HANG_MARGIN_S = 0.5
_HANG = "_TIMED_OUT"
"""Name of the error of a call that did not return."""


class TimeLimits(NamedTuple):
    """Time-outs of calls in seconds, retries included."""

    start_s: float = 30.0
    """init_transactions at the start, which first ends an unfinished transaction of the predecessor."""
    restart_s: float = 5.0
    """init_transactions of a later producer; the loop turns between attempts."""
    offsets_s: float = 5.0
    """send_offsets_to_transaction, which ignores its own time-out, and may hang after a broker was away."""
    end_s: float = 30.0
    """Commit or abort; after it the outcome counts as unknown."""
    room_s: float = 15.0
    """Waiting for room in a full queue; after it the brokers count as unreachable."""


USUAL_LIMITS = TimeLimits()


class PendingRecords(Protocol):
    """Records in columns that are being added."""

    @property
    def left(self) -> int:
        """How many are not added yet."""

    def put(self, most: int) -> None:
        """Add the next ones; raises what the binding's `produce` raises for the first that is not added."""


@runtime_checkable
class ColumnProducer(TransactionalProducer, Protocol):
    """A producer that takes records in columns."""

    def pending(self, topic: str, columns: RecordColumns, partition: int = -1) -> PendingRecords:
        """Begin to add records."""


class TransactionOwner:
    """Runs transactions with one producer at a time, and replaces a producer that failed.

    Args:
        config: of the producer, from `producer_config`.
        listener: is told how transactions end.
        limits: time-outs of calls.
        clock: monotonic seconds.
        make: creates a producer from its configuration.
        stop_left_s: seconds that a stop of the worker leaves for transactions; infinite while it is to run on.
    """

    def __init__(
        self,
        config: ClientConfig,
        listener: TransactionListener,
        limits: TimeLimits = USUAL_LIMITS,
        clock: Clock = time.monotonic,
        make: Callable[
            [ClientConfig, LastClientError, DeliveryReport], TransactionalProducer
        ] = make_transactional_producer,
        stop_left_s: Callable[[], float] = no_limit,
    ) -> None:
        self._config = config
        self._servers = str(config["bootstrap.servers"])
        self._listener = listener
        self._limits = limits
        self._clock = clock
        self._make = make
        self._stop_left_s = stop_left_s
        self._last_error = LastClientError()
        self._producer: TransactionalProducer | None = None
        self._open = False
        self._replace = False
        """The next transaction needs a new producer."""
        self._failed_delivery: KafkaError | None = None
        self._producers = 0
        """Changes with every producer, and when one is dropped."""
        self._produced = 0
        self._topics: set[str] = set()
        """Topics in the transaction, for messages."""
        self._failure_budget = FailureBudget(self._servers, str(config["transactional.id"]), clock)
        self._hurry: Deadline | None = None

    @property
    def ready(self) -> bool:
        """Whether the producer is initialized; transactions can begin."""
        return self._producer is not None

    def init(self) -> None:
        """Initialize the producer: aborts what its predecessor left open. The first use does it otherwise.

        Raises:
            UsageError: librdkafka doesn't take the configuration.
            ViewerConsumerError: the cluster doesn't answer in time, or refuses.
        """
        self._ready_producer(self._limits.start_s)

    def renew(self) -> None:
        """Initialize another producer if the last one was dropped; the next transaction does it otherwise.

        Raises:
            TransactionAborted: the brokers do not answer; a later call tries again.
            ViewerConsumerError: retrying does not help.
        """
        self._ready_producer()

    def produce(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers | None = None, partition: int = -1
    ) -> None:
        """Add one record to the transaction; the partitioner chooses if no partition is given.

        Raises:
            TransactionAborted: the brokers refused a record, or accepted none for too long.
            TransactionLost: the producer failed.
            ViewerConsumerError: as `commit`.
        """
        producer = self._begun()
        self._topics.add(topic)
        self._put_all(producer, topic, [(key, value, None if headers is None else list(headers))], partition)

    def produce_all(
        self, topic: str, records: Iterable[tuple[bytes | None, bytes | None]], partition: int = -1
    ) -> None:
        """Add many (key, value) records in order; the partitioner chooses if no partition is given.

        Raises:
            TransactionAborted, TransactionLost, ViewerConsumerError: as `produce`.
        """
        producer = self._begun()
        self._topics.add(topic)
        waiting = iter(records)
        while some := list(islice(waiting, _SERVE_EVERY)):
            if len(some) > _FEW and isinstance(producer, ColumnProducer):
                self._put_columns(producer, topic, record_columns([(*each, ()) for each in some]), partition)
            else:
                self._put_all(producer, topic, ((*each, None) for each in some), partition)

    def produce_columns(self, topic: str, records: RecordColumns) -> None:
        """Add many records with headers, in order; the partitioner chooses.

        Raises:
            TransactionAborted, TransactionLost, ViewerConsumerError: as `produce`.
        """
        producer = self._begun()
        self._topics.add(topic)
        if isinstance(producer, ColumnProducer):
            self._put_columns(producer, topic, records)
        else:
            self._put_all(producer, topic, records.records())

    def commit(self, offsets: Mapping[tuple[str, int], int], group_metadata: GroupMetadata) -> None:
        """Commit the produced records together with the next offsets to read.

        Args:
            offsets: by (topic, partition), of every partition whose records or state the transaction holds.
            group_metadata: of the assignment under which the records were read.

        Raises:
            TransactionAborted: nothing was published.
            TransactionLost: the outcome is unknown.
            ViewerConsumerError: retrying does not help.
            ValueError: no offsets; brokers do not fence such a transaction.
        """
        positions = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
        if not positions or any(position.offset < 0 for position in positions):
            raise ValueError(f"a transaction carries the offsets of its input, not {dict(offsets)}")
        began_s = self._clock()
        producer, deadline = self._begun(), self._deadline(self._limits.end_s)
        self._send_offsets(producer, positions, group_metadata, deadline)
        # It flushes by itself. Its own limit is the transaction's time-out, and a shorter one would cut it in two.
        self._retried(deadline, lambda: _within(deadline, lambda: producer.commit_transaction(-1)), Outcome.LOST)
        self._open = False
        self._failure_budget.committed()
        self._listener.committed(self._clock() - began_s)

    def abort(self) -> None:
        """Abort: discard the records produced since the last commit or abort, if any.

        Raises:
            TransactionLost: it could not be aborted in time; the broker will abort it.
            ViewerConsumerError: as `commit`.
        """
        if self._open:
            self._abort()
            self._listener.aborted("requested")

    @contextlib.contextmanager
    def time_limit(self, seconds: float) -> Iterator[None]:
        """Limit the total time of all calls within this context; past it they fail as timed-out calls do."""
        self._hurry = Deadline.after(seconds, self._clock)
        try:
            yield
        finally:
            self._hurry = None

    def close(self) -> None:
        """Close the producer; an open transaction is aborted if that takes not long."""
        try:
            self.abort()
        except (TransactionLost, ViewerConsumerError) as error:
            _log.warning("a transaction is left for the broker to end: %s", error)
        self._drop_producer()

    def _deadline(self, seconds: float) -> Deadline:
        left_s = seconds if self._hurry is None else min(seconds, self._hurry.left_s())
        return Deadline.after(left_s, self._clock, self._stop_left_s)

    def _begun(self) -> TransactionalProducer:
        producer = self._ready_producer()
        if self._failed_delivery is not None:
            self._end_badly(self._failed_delivery, outcome_of_record(self._failed_delivery))
        if not self._open:
            try:
                producer.begin_transaction()
            except KafkaException as error:
                self._end_badly(kafka_error(error), Outcome.LOST)
            self._open = True
            self._topics.clear()
        return producer

    def _ready_producer(self, first_start_s: float | None = None) -> TransactionalProducer:
        """The producer, initialized; a time limit for the first one means that the worker starts."""
        if self._replace and not self._open:
            self._drop_producer()
        if self._producer is None:
            producer = self._make(self._config, self._last_error, self._reports_of_next())
            self._start(producer, first_start_s)
            self._producer = producer
        return self._producer

    def _start(self, producer: TransactionalProducer, first_start_s: float | None) -> None:
        deadline = self._deadline(self._limits.restart_s if first_start_s is None else first_start_s)
        while True:
            try:
                _timed(deadline, partial(_wait_for_a_broker, producer))
                return _timed(deadline, producer.init_transactions)
            except (KafkaException, CallTimedOutError) as error:
                reason = kafka_error(error if isinstance(error, KafkaException) else TimeoutError())
                _serve(producer, _RETRY_PAUSE_S)
                # Errors of a connection have no mark here.
                if not reason.retriable() or deadline.passed:
                    self._refuse_start(reason, at_start=first_start_s is not None)

    def _refuse_start(self, reason: KafkaError, *, at_start: bool) -> NoReturn:
        doing = f'can\'t begin transactions as "{self._config["transactional.id"]}"'
        error = explain(doing, self._servers, reason, self._last_error.error())
        if at_start or reason.fatal() or outcome_of(reason) is Outcome.GIVE_UP:
            raise error
        # Kafka is away: nothing was published, and the next call tries again.
        self._listener.retried(reason.name())
        raise TransactionAborted(reason.name(), str(error))

    def _put_all(
        self,
        producer: TransactionalProducer,
        topic: str,
        records: Iterable[tuple[bytes | None, bytes | None, list[tuple[str, str | bytes | None]] | None]],
        partition: int = -1,
    ) -> None:
        produce = producer.produce
        for key, value, headers in records:
            # Positional arguments take the client library two thirds of the time of keyword arguments.
            try:
                produce(topic, value, key, partition, None, None, 0, headers)
            except BufferError:
                put = partial(produce, topic, value, key, partition, None, None, 0, headers)
                self._put_patiently(producer, put)
            except KafkaException as error:
                self._refuse(error)
            self._produced += 1
            if self._produced % _SERVE_EVERY == 0:
                self._serve_reports(producer)

    def _put_columns(self, producer: "ColumnProducer", topic: str, records: RecordColumns, partition: int = -1) -> None:
        pending = producer.pending(topic, records, partition)
        while before := pending.left:
            try:
                pending.put(_SERVE_EVERY)
            except BufferError:
                self._put_patiently(producer, partial(pending.put, 1))
            except KafkaException as error:
                self._refuse(error)
            self._produced += before - pending.left
            self._serve_reports(producer)

    def _put_patiently(self, producer: TransactionalProducer, put: Callable[[], None]) -> None:
        # Records already queued stay queued: committing later would publish a part of the batch.
        deadline = self._deadline(self._limits.room_s)
        while not deadline.passed:
            _serve(producer, _ROOM_POLL_S)
            try:
                put()
            except BufferError:
                continue
            except KafkaException as error:
                self._refuse(error)
            return
        self._end_badly(KafkaError(KafkaError._QUEUE_FULL), Outcome.ABORT)  # noqa: SLF001  # the library's name

    def _refuse(self, error: KafkaException) -> NoReturn:
        self._end_badly(kafka_error(error), outcome_of_record(kafka_error(error)))

    def _serve_reports(self, producer: TransactionalProducer) -> None:
        """Serve delivery reports; the first failure ends the transaction."""
        _serve(producer, 0)
        if self._failed_delivery is not None:
            self._end_badly(self._failed_delivery, outcome_of_record(self._failed_delivery))

    def _reports_of_next(self) -> DeliveryReport:
        """Takes reports of the next producer, until that one is replaced: a call left behind may still serve them."""
        self._producers += 1
        number = self._producers

        def on_delivery(error: KafkaError | None, _message: object) -> None:
            if error is None or error.code() in PURGED or number != self._producers:
                return
            self._failed_delivery = self._failed_delivery or error

        return on_delivery

    def _send_offsets(
        self,
        producer: TransactionalProducer,
        positions: list[TopicPartition],
        group_metadata: GroupMetadata,
        deadline: Deadline,
    ) -> None:
        # The client library's call ignores its time-out and can hang.
        def call() -> None:
            left_s = min(deadline.left_s(), self._limits.offsets_s)
            send = partial(producer.send_offsets_to_transaction, positions, group_metadata)
            _timed(Deadline.after(left_s, self._clock, self._stop_left_s), send)

        self._retried(deadline, call, too_late=Outcome.ABORT)

    def _retried(self, deadline: Deadline, call: Callable[[], None], too_late: Outcome) -> None:
        """Call, and retry while the outcome is RETRY; any other error ends the transaction.

        A request that was sent twice may arrive late and end the producer's next transaction: so the next one gets
        another producer.
        """
        producer = self._ready_producer()
        while True:
            try:
                return call()
            except CallTimedOutError:
                self._leave_producer(too_late)
            except KafkaException as raised:
                error = kafka_error(raised)
            outcome = outcome_of(error)
            if outcome is Outcome.RETRY and not deadline.passed:
                self._replace = True
                self._listener.retried(error.name())
                _serve(producer, _RETRY_PAUSE_S)
                continue
            self._end_badly(error, too_late if outcome is Outcome.RETRY else outcome)

    def _leave_producer(self, outcome: Outcome) -> NoReturn:
        """Leave a producer behind whose call did not return.

        The outcome is definite unless a commit was asked for: the next producer aborts what is open.
        """
        if outcome is not Outcome.ABORT:
            self._lose_transaction(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  # the library's name
        self._drop_producer()
        self._listener.aborted(_HANG)
        raise TransactionAborted(_HANG, "the client library's call for the offsets did not return") from None

    def _end_badly(self, error: KafkaError, outcome: Outcome) -> NoReturn:
        error, outcome = self._reason(error, outcome)
        if outcome is Outcome.GIVE_UP:
            self._drop_producer()
            to = f" to {', '.join(sorted(self._topics))}" if self._topics else ""
            raise explain(f"can't publish{to}", self._servers, error)
        if outcome is not Outcome.ABORT:
            self._lose_transaction(error)
        self._abort()
        what = error.str()
        if error.code() == KafkaError._MSG_TIMED_OUT:  # noqa: SLF001  # the library's name
            what += f": not all records to {', '.join(sorted(self._topics))} could be written, a leader may be missing"
        if error.code() not in MOVED_ON:
            # After such an abort the client library's next transaction would fail with OUT_OF_ORDER_SEQUENCE_NUMBER.
            self._drop_producer()
            self._failure_budget.refused(error)
        self._listener.aborted(error.name())
        raise TransactionAborted(error.name(), what)

    def _reason(self, error: KafkaError, outcome: Outcome) -> tuple[KafkaError, Outcome]:
        """The error behind a general one: without it a fence or a missing right would not count as such."""
        if error.code() in GENERAL and self._producer is not None:
            first = self._first_error(self._producer, error)
            if first.code() not in GENERAL:
                error, outcome = first, outcome_of(first)
            elif self._open:
                self._await_failed_delivery(self._producer)
        if outcome is Outcome.ABORT and self._failed_delivery is not None:
            return self._failed_delivery, outcome_of_record(self._failed_delivery)
        return error, outcome

    def _first_error(self, producer: TransactionalProducer, error: KafkaError) -> KafkaError:
        """What made the producer or its open transaction fail; the same error where nobody knows."""
        if not (error.fatal() or self._open):
            return error
        try:
            producer.begin_transaction()  # refused, with the reason
        except KafkaException as refused:
            return kafka_error(refused)
        return error

    def _await_failed_delivery(self, producer: TransactionalProducer) -> None:
        deadline = self._deadline(_REPORT_WAIT_S)
        while self._failed_delivery is None and not deadline.passed:
            _serve(producer, _RETRY_PAUSE_S)

    def _abort(self) -> None:
        producer, deadline = self._ready_producer(), self._deadline(self._limits.end_s)
        while self._open:
            try:
                _within(deadline, lambda: producer.abort_transaction(-1))
                self._open, self._failed_delivery = False, None
            except CallTimedOutError:
                self._lose_transaction(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  # the library's name
            except KafkaException as raised:
                error = kafka_error(raised)
                if outcome_of(error) is not Outcome.RETRY or deadline.passed:
                    self._lose_transaction(error)
                self._replace = True
                self._listener.retried(error.name())
                _serve(producer, _RETRY_PAUSE_S)

    def _lose_transaction(self, error: KafkaError) -> NoReturn:
        self._drop_producer()
        self._listener.lost(error.name())
        if error.code() in FENCED:
            self._failure_budget.fenced()
        raise TransactionLost(error.name(), error.str())

    def _drop_producer(self) -> None:
        """Drop the producer with its records; the next one has the same transactional id and aborts what is left."""
        self._producers += 1
        self._producer, self._open, self._failed_delivery, self._replace = None, False, None, False


def _wait_for_a_broker(producer: TransactionalProducer, within_s: float) -> None:
    """Wait for a connection: without one the client looks for its coordinator only twice a second."""
    try:
        producer.cluster_id(within_s)
    except KafkaException:
        # Its own text is about brokers that are too old.
        no_answer = KafkaError(KafkaError._TIMED_OUT, "no broker answers", retriable=True)  # noqa: SLF001  # the library's name
        raise KafkaException(no_answer) from None


def _serve(producer: TransactionalProducer, wait_s: float) -> None:
    """Serve callbacks. A fatal error may be raised here too; the next call reports its meaning."""
    with contextlib.suppress(KafkaException):
        producer.poll(wait_s)


def _timed(deadline: Deadline, call: Callable[[float], object]) -> None:
    """Make a call that takes a time-out in seconds; leave it behind if it ignores that, or if a stop leaves no time.

    The margin keeps calls in time from being left behind: such an init_transactions could fence the next producer.
    """
    seconds = max(_SHORTEST_CALL_S, deadline.left_s())
    _within(Deadline.after(seconds + _HANG_MARGIN_S, deadline.clock, deadline.limit_s), lambda: call(seconds))


def _within(deadline: Deadline, call: Callable[[], object]) -> None:
    """Call in a thread, and wait as long as the deadline leaves, but not less than the shortest time of a call."""
    if deadline.left_s() < _SHORTEST_CALL_S:
        deadline = Deadline.after(_SHORTEST_CALL_S, deadline.clock)
    call_within(deadline, call)
