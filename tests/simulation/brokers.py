"""The brokers: logs with open and aborted transactions, and the coordinator of transactions.

The coordinator follows Kafka's: a producer's id and epoch are checked by every request, a transaction has ended once
its markers are written, which takes its time, and one that is too old is aborted under a new epoch.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, NamedTuple

from confluent_kafka import KafkaError, Message

from consumer.runtime.record_columns import Headers
from tests.simulation.scheduler import Scheduler

OK = 0
State = Literal["empty", "ongoing", "committing", "aborting"]


class NewRecord(NamedTuple):
    """A record to append."""

    key: bytes | None
    value: bytes | None
    headers: Headers | None = None
    timestamp_ms: int = 0


class Log:
    """One partition of a topic."""

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.open: dict[int, list[int]] = {}
        """Offsets of undecided records, by producer."""
        self._messages: list[Message | None] = []
        """None stands for what no reader gets: markers, records of aborted transactions, and compacted ones."""

    @property
    def end(self) -> int:
        return len(self._messages)

    @property
    def stable_end(self) -> int:
        """The last stable offset."""
        return min((offsets[0] for offsets in self.open.values()), default=self.end)

    def append(self, records: Sequence[NewRecord], producer: int | None = None) -> None:
        for record in records:
            if producer is not None:
                self.open.setdefault(producer, []).append(self.end)
            message = Message(
                topic=self.topic,
                partition=self.partition,
                offset=self.end,
                key=record.key,
                value=record.value,
                headers=list(record.headers) if record.headers else None,
                timestamp=(1, record.timestamp_ms),
            )
            self._messages.append(message)

    def mark(self, producer: int, *, commit: bool) -> None:
        """End a producer's transaction here."""
        for offset in self.open.pop(producer, []):
            if not commit:
                self._messages[offset] = None
        self._messages.append(None)

    def committed(self, begin: int, most: int | None = None) -> tuple[list[Message], int]:
        """Committed records from an offset on, and the offset behind them and behind what is hidden."""
        position, found = begin, list[Message]()
        while position < self.stable_end and (most is None or len(found) < most):
            message = self._messages[position]
            position += 1
            if message is not None:
                found.append(message)
        return found, position

    def compact(self) -> None:
        """Remove committed records that are followed by one with their key."""
        newest = {message.key(): message.offset() for message in self.committed(0)[0]}
        for message in self.committed(0)[0]:
            if newest[message.key()] != message.offset():
                self._messages[message.offset() or 0] = None


@dataclass
class Transactional:
    """What the coordinator knows of one transactional id."""

    producer: int
    timeout_s: float
    epoch: int = -1
    state: State = "empty"
    committed_last: bool | None = None
    """How the transaction before has ended, as long as none has begun since."""
    number: int = 0
    logs: dict[Log, None] = field(default_factory=dict)
    with_offsets: bool = False
    used: bool = False
    """There are records or offsets in it."""
    notes: dict[int, object] = field(default_factory=dict)
    markers_left: int = 0


class GroupOffsets:
    """Committed offsets of the group, and those of undecided transactions."""

    def __init__(self) -> None:
        self.committed: dict[int, int] = {}
        self.pending: dict[int, dict[int, int]] = {}
        """By producer."""

    def mark(self, producer: int, *, commit: bool) -> None:
        offsets = self.pending.pop(producer, {})
        if not commit:
            return
        for partition, offset in offsets.items():
            before = self.committed.get(partition, 0)
            assert offset >= before, f"the offset of partition {partition} went back from {before} to {offset}"
            self.committed[partition] = offset

    def is_stable(self, partition: int) -> bool:
        return not any(partition in offsets for offsets in self.pending.values())


class Brokers:
    """Topics and the transaction coordinator; the group's coordinator is in `group`."""

    def __init__(self, scheduler: Scheduler, dice: random.Random, topics: Mapping[str, int]) -> None:
        self.logs = {topic: [Log(topic, each) for each in range(number)] for topic, number in topics.items()}
        self.offsets = GroupOffsets()
        self.on_commit: Callable[[Mapping[int, object]], None] = lambda _: None
        """Is given the notes of each transaction that is committed."""
        self.slow_markers = 0.0
        """Share of markers that take seconds."""
        self._scheduler = scheduler
        self._dice = dice
        self._ids: dict[str, Transactional] = {}
        self._batches: set[tuple[int, int, int, int]] = set()

    @property
    def quiet(self) -> bool:
        """Whether no transaction of a worker is undecided."""
        return all(each.state == "empty" for each in self._ids.values())

    def init_producer(self, name: str, timeout_s: float) -> tuple[int, int, int]:
        """InitProducerId: an error, the producer's id and epoch."""
        known = self._ids.setdefault(name, Transactional(len(self._ids) + 1, timeout_s))
        if known.state == "ongoing":
            known.epoch += 1
            self._decide(known, commit=False)
        if known.state != "empty":
            return KafkaError.CONCURRENT_TRANSACTIONS, -1, -1
        known.epoch += 1
        known.number, known.committed_last = 0, None
        return OK, known.producer, known.epoch

    def begin(self, name: str, epoch: int, number: int, logs: Sequence[Log]) -> int:
        """AddPartitionsToTxn; `number` is the producer's own of its transaction."""
        known = self._ids[name]
        if epoch != known.epoch:
            return KafkaError.INVALID_PRODUCER_EPOCH
        if known.state in {"committing", "aborting"}:
            return KafkaError.CONCURRENT_TRANSACTIONS
        if known.state == "empty":
            if number <= known.number:
                return KafkaError.INVALID_TXN_STATE  # a late request of a transaction that has ended
            known.state, known.number, known.committed_last = "ongoing", number, None
            self._scheduler.after(
                known.timeout_s + self._dice.uniform(0.0, 1.0), lambda: self._end_by_age(known, epoch, number)
            )
        if number > known.number and not known.used:
            known.number = number  # the one before was given up before anything was in it
        if number != known.number:
            return KafkaError.INVALID_TXN_STATE
        known.logs.update(dict.fromkeys(logs))
        return OK

    def produce(self, name: str, epoch: int, number: int, batch: int, records: Sequence[tuple[Log, NewRecord]]) -> int:
        """Produce; a batch that comes again is appended once."""
        known = self._ids[name]
        if error := self._refused(known, epoch, number):
            return error
        place = (known.producer, epoch, number, batch)
        if place not in self._batches:
            self._batches.add(place)
            known.used = True
            for log, record in records:
                log.append([record], known.producer)
        return OK

    def add_offsets(self, name: str, epoch: int, number: int, offsets: Mapping[int, int]) -> int:
        """The part of TxnOffsetCommit that concerns the transaction."""
        known = self._ids[name]
        if error := self._refused(known, epoch, number):
            return error
        known.used = known.with_offsets = True
        self.offsets.pending.setdefault(known.producer, {}).update(offsets)
        return OK

    @staticmethod
    def _refused(known: Transactional, epoch: int, number: int) -> int:
        """Since KIP-890 brokers verify that a transaction is open before they append."""
        if epoch != known.epoch:
            return KafkaError.INVALID_PRODUCER_EPOCH
        return OK if (known.state, known.number) == ("ongoing", number) else KafkaError.INVALID_TXN_STATE

    def note(self, name: str, epoch: int, number: int, notes: Mapping[int, object]) -> None:
        """Keep something for `on_commit`; not Kafka's."""
        known = self._ids[name]
        if (known.epoch, known.number, known.state) == (epoch, number, "ongoing"):
            known.notes.update(notes)

    def end(self, name: str, epoch: int, number: int, *, commit: bool) -> int:
        """EndTxn; answers before the markers are written. One that comes late ends no later transaction."""
        known = self._ids[name]
        if epoch != known.epoch:
            return KafkaError.INVALID_PRODUCER_EPOCH
        if number != known.number:
            return KafkaError.INVALID_TXN_STATE  # nobody waits for the answer of an earlier transaction
        if known.state == "ongoing":
            self._decide(known, commit=commit)
            return OK
        if known.state == "empty":
            return OK if known.committed_last is commit else KafkaError.INVALID_TXN_STATE
        same = commit == (known.state == "committing")
        return KafkaError.CONCURRENT_TRANSACTIONS if same else KafkaError.INVALID_TXN_STATE

    def _end_by_age(self, known: Transactional, epoch: int, number: int) -> None:
        if (known.epoch, known.number, known.state) == (epoch, number, "ongoing"):
            known.epoch += 1
            self._decide(known, commit=False)

    def _decide(self, known: Transactional, *, commit: bool) -> None:
        known.state = "committing" if commit else "aborting"
        if commit:
            self.on_commit(known.notes)
        marks: list[Log | GroupOffsets] = [*known.logs, *([self.offsets] if known.with_offsets else [])]
        known.markers_left = len(marks)
        known.logs, known.with_offsets, known.used, known.notes = {}, False, False, {}
        for place in marks:
            slow = self._dice.random() < self.slow_markers
            way_s = self._dice.uniform(0.0, 3.0 if slow else 0.01)
            self._scheduler.after(way_s, partial(self._mark, known, place, commit=commit))
        if not marks:
            known.state, known.committed_last = "empty", commit

    def _mark(self, known: Transactional, place: "Log | GroupOffsets", *, commit: bool) -> None:
        place.mark(known.producer, commit=commit)
        known.markers_left -= 1
        if not known.markers_left:
            known.state, known.committed_last = "empty", commit
