"""The client library's producer as the real `TransactionOwner` uses it: its states, and the errors that it raises.

Brokers' answers become the client library's errors: hidden and retried, retriable, abortable or fatal.
"""

import random
import struct
import sys
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from consumer.kafka.clients import DeliveryReport
from consumer.kafka.deadline import CallTimedOutError
from tests.simulation.brokers import OK, Brokers, Log, NewRecord
from tests.simulation.group import Group
from tests.simulation.network import Network
from tests.simulation.scheduler import Answer, Process

LINGER_S = 0.005
RETRY_S = 0.02
GROUP_MOVED_ON = frozenset({KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID})


class Mishaps(NamedTuple):
    """Shares of calls that fail without reason."""

    abortable: float = 0.0
    """Of commits and of sending offsets: the brokers ask for an abort."""
    undelivered: float = 0.0
    """Of batches: the records cannot be delivered."""
    queue_full: float = 0.0
    """Of records: there is no room at the moment."""


class Surroundings(NamedTuple):
    """What a producer works with."""

    process: Process
    brokers: Brokers
    group: Group
    network: Network
    dice: random.Random
    mishaps: Callable[[], Mishaps]


class SimulatedProducer:
    """Handed to the owner; once it is dropped, its client stops."""

    def __init__(self, client: "ProducerClient") -> None:
        self._client = client
        for name in ("cluster_id", "init_transactions", "begin_transaction", "produce", "poll"):
            setattr(self, name, getattr(client, name))
        for name in ("send_offsets_to_transaction", "commit_transaction", "abort_transaction"):
            setattr(self, name, getattr(client, name))

    def __del__(self) -> None:
        self._client.destroy()


class ProducerClient:
    """One transactional producer."""

    def __init__(self, surroundings: Surroundings, name: str, timeout_s: float, on_delivery: DeliveryReport) -> None:
        self._process, self._brokers, self._group, self._network, self._dice, self._mishaps = surroundings
        self._name = name
        self._timeout_s = timeout_s
        self._on_delivery = on_delivery
        self.notes: dict[int, object] = {}
        """Of the open transaction, for those who watch what is committed."""
        self._epoch = -1
        self._number = 0
        self._batches = 0
        self._ending: bool | None = None
        """Whether a commit (True) or an abort was begun."""
        self._registered = False
        """The brokers may know of the transaction."""
        self._fatal: int | None = None
        self._abortable: int | None = None
        self._queue: list[tuple[Log, NewRecord]] = []
        self._in_flight: int | None = None
        """Number of the batch that is not answered."""
        self._give_up: Callable[[], None] = lambda: None
        self._destroyed = False
        self._sent: Answer[None] = Answer()
        self._reports: list[int] = []

    def destroy(self) -> None:
        """Send nothing more; what is on its way arrives."""
        self._destroyed, self._in_flight = True, None
        self._give_up()

    def cluster_id(self, timeout: float) -> str:
        self._process.check()
        assert timeout > 0
        return "cluster"

    def init_transactions(self, timeout: float) -> None:
        self._process.check()
        end_s = self._now_s + timeout
        while True:
            answer = self._network.call(
                self._process,
                "InitProducerId",
                lambda: self._brokers.init_producer(self._name, self._timeout_s),
                max(0.0, end_s - self._now_s),
            )
            if answer is None:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "init", retriable=True))
            error, _, self._epoch = answer
            if error == OK:
                return
            self._process.sleep(RETRY_S)

    def begin_transaction(self) -> None:
        self._process.check()
        if self._fatal is not None:
            raise KafkaException(KafkaError(self._fatal, "fatal", fatal=True))
        self._raise_if_failed()
        assert not self._number or self._ending is None, "the transaction before has not ended"
        self._number += 1
        self._registered, self.notes = False, {}

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        partition: int,
        _callback: None,
        _report: None,
        _timestamp: int,
        headers: Any,
    ) -> None:
        self._process.check()
        if self._fatal is not None:
            raise KafkaException(KafkaError(KafkaError._FATAL))
        if self._abortable is not None:
            raise KafkaException(KafkaError(KafkaError._STATE))
        if self._dice.random() < self._mishaps().queue_full:
            raise BufferError
        logs = self._brokers.logs[topic]
        log = logs[zlib.crc32(key or b"") % len(logs) if partition < 0 else partition]
        self._queue.append((log, NewRecord(key, value, headers)))
        if self._in_flight is None and len(self._queue) == 1:
            number = self._number
            self._process.background(LINGER_S, lambda: self._send_some() if number == self._number else None)

    def poll(self, timeout: float) -> int:
        self._process.check()
        if timeout > 0:
            self._process.sleep(timeout)
        self._serve_reports()
        return 0

    def send_offsets_to_transaction(
        self, positions: Sequence[TopicPartition], metadata: bytes, _timeout: float
    ) -> None:
        """Its time-out is ignored, as the client library does; what gives it up is the limit of the process."""
        self._process.check()
        self._raise_if_failed()
        self._raise_if_unlucky()
        offsets = {place.partition: place.offset for place in positions}
        generation, member = _unpacked(metadata)
        number = self._number

        def commit_offsets() -> int:
            error = self._group.check(member, generation)
            return error or self._brokers.add_offsets(self._name, self._epoch, number, offsets)

        self._until_ok("AddOffsetsToTxn", lambda: self._brokers.begin(self._name, self._epoch, number, []))
        self._registered = True
        self._until_ok("TxnOffsetCommit", commit_offsets)

    def _until_ok(self, kind: str, handle: Callable[[], int]) -> None:
        while True:
            limit_s = self._process.limit_s
            left_s = 3600.0 if limit_s is None else max(0.0, limit_s - self._now_s)
            error = self._network.call(self._process, kind, handle, left_s)
            if error is None:
                raise CallTimedOutError
            if error == OK:
                return
            if error in GROUP_MOVED_ON:
                self._abortable = error
            self._retry_or_fail(error)

    def commit_transaction(self, timeout: float) -> None:
        self._process.check()
        assert timeout == -1
        self._raise_if_failed()
        if self._ending is None:
            self._raise_if_unlucky()
        self._ending = True
        end_s = self._now_s + self._timeout_s
        self._flush(end_s)
        self._end(commit=True, end_s=end_s)

    def abort_transaction(self, timeout: float) -> None:
        self._process.check()
        assert timeout == -1
        assert self._ending is not True, "a commit is under way"  # _CONFLICT
        if self._fatal is not None:
            self._raise_fatal()
        self._ending = False
        self._queue.clear()
        self._give_up()
        self._in_flight = None
        self._reports.append(KafkaError._PURGE_QUEUE)
        self._serve_reports()
        self._end(commit=False, end_s=self._now_s + self._timeout_s)

    def _end(self, *, commit: bool, end_s: float) -> None:
        number, notes = self._number, self.notes

        def handle() -> int:
            if commit:
                self._brokers.note(self._name, self._epoch, number, notes)
            return self._brokers.end(self._name, self._epoch, number, commit=commit)

        while self._registered:
            error = self._network.call(self._process, "EndTxn", handle, max(0.0, end_s - self._now_s))
            if error is None:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "EndTxn", retriable=True))
            if error == OK:
                break
            self._retry_or_fail(error)
        self._ending = self._abortable = None

    def _flush(self, end_s: float) -> None:
        while self._queue or self._in_flight is not None:
            self._send_some()
            if not self._process.wait(self._sent, max(0.0, end_s - self._now_s)):
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "flush", retriable=True))
            self._raise_if_failed()
        self._raise_if_failed()

    def _send_some(self) -> None:
        """One batch at a time, so that none overtakes another."""
        if self._in_flight is not None or not self._queue or self._destroyed:
            return
        records, self._queue = self._queue, []
        self._sent = Answer()
        self._batches += 1
        self._in_flight = self._batches
        self._add_partitions(self._batches, records)

    def _add_partitions(self, batch: int, records: list[tuple[Log, NewRecord]]) -> None:
        number, epoch, logs = self._number, self._epoch, [log for log, _ in records]

        def done(error: int) -> None:
            if error == KafkaError.CONCURRENT_TRANSACTIONS:
                self._process.background(RETRY_S, again)
            elif error == OK:
                self._registered = True
                self._send_batch(batch, records)
            else:
                self._sent_some(error)

        def again() -> None:
            if self._in_flight == batch:
                self._give_up = self._network.send(
                    self._process,
                    "AddPartitionsToTxn",
                    lambda: self._brokers.begin(self._name, epoch, number, logs),
                    done,
                )

        again()

    def _send_batch(self, batch: int, records: list[tuple[Log, NewRecord]]) -> None:
        number, epoch = self._number, self._epoch
        self._give_up = self._network.send(
            self._process,
            "Produce",
            lambda: self._brokers.produce(self._name, epoch, number, batch, records),
            self._sent_some,
        )

    def _sent_some(self, error: int) -> None:
        self._in_flight = None
        if error == KafkaError.INVALID_PRODUCER_EPOCH:
            self._fatal = KafkaError._FENCED
        elif error != OK:
            self._fatal = error
        elif self._dice.random() < self._mishaps().undelivered:
            self._abortable = KafkaError._MSG_TIMED_OUT
            self._reports.append(KafkaError._MSG_TIMED_OUT)
        self._sent.set(None)
        if self._queue and self._fatal is None and self._abortable is None:
            self._process.background(LINGER_S, self._send_some)

    def _serve_reports(self) -> None:
        reports, self._reports = self._reports, []
        for each in reports:
            self._on_delivery(KafkaError(each), None)

    def _retry_or_fail(self, error: int) -> None:
        if error == KafkaError.CONCURRENT_TRANSACTIONS:
            self._process.sleep(RETRY_S)
            return
        if error not in GROUP_MOVED_ON:
            self._fatal = KafkaError._FENCED if error == KafkaError.INVALID_PRODUCER_EPOCH else error
        self._raise_if_failed()

    def _raise_if_unlucky(self) -> None:
        if self._dice.random() < self._mishaps().abortable:
            self._abortable = KafkaError.TRANSACTION_ABORTABLE
            self._raise_if_failed()

    def _raise_if_failed(self) -> None:
        if self._fatal is not None:
            self._raise_fatal()
        if self._abortable is not None:
            self._ending = None
            raise KafkaException(KafkaError(self._abortable, "abort", txn_requires_abort=True))

    def _raise_fatal(self) -> NoReturn:
        """With its code, or as a general error whose reason only the next begin tells."""
        code = self._fatal if self._fatal is not None and self._dice.random() < 0.5 else KafkaError._FATAL
        raise KafkaException(KafkaError(code, "fatal", fatal=True))

    @property
    def _now_s(self) -> float:
        return self._process.scheduler.now_s


def _unpacked(metadata: bytes) -> tuple[int, str]:
    head = len(b"CGMDv2:")
    (generation,) = struct.unpack_from("<i" if sys.byteorder == "little" else ">i", metadata, head)
    return generation, metadata[head + 4 :].split(b"\0")[1].decode()
