"""Kafka as the worker sees it, without a broker: one input topic, its group, and what transactions published.

The fakes stand in for `LiveInput`, `EndOffsets` and `TransactionOwner`; the suites `test_*_contract.py` in
`tests/kafka` hold both to the same behaviour. A test drives a fake by what it queues: `assign`, `revoke`, `lose` take
place inside the next poll, as rebalances do; `fail` makes a step of the transaction fail.
"""

import contextlib
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, NoReturn

from confluent_kafka import Message

from consumer.kafka.batch import Batch
from consumer.kafka.errors import TransactionAborted, TransactionLost
from consumer.kafka.protocols import (
    AssignmentHandler,
    Bounds,
    GroupMetadata,
    HeldPartition,
    TransactionListener,
)
from consumer.kafka.record import Record
from consumer.runtime.record_columns import Headers, RecordColumns
from tests.support.lent import BatchLender

Step = Literal["produce", "commit", "abort", "renew"]


class Published(NamedTuple):
    """One record that was committed."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, str | bytes | None], ...] = ()
    partition: int = -1


@dataclass
class FakeCluster:
    """What would be on the brokers."""

    topic: str = "viewer-events"
    partitions: int = 1
    committed: dict[int, int] = field(default_factory=dict)
    published: list[Published] = field(default_factory=list)
    generation: int = 1
    newest_owner: int = 0
    pending: set[int] = field(default_factory=set)
    """Partitions whose committed offset waits for a transaction to end."""
    begins: dict[int, int] = field(default_factory=dict)
    """Where the input begins now, where its oldest records were deleted."""
    hidden: set[tuple[int, int]] = field(default_factory=set)
    """Partition and offset of markers, and of records that were compacted."""

    def __post_init__(self) -> None:
        self.log: list[list[Message]] = [[] for _ in range(self.partitions)]

    def write(
        self,
        partition: int,
        value: bytes | None,
        timestamp_ms: int = 0,
        key: bytes | None = None,
        headers: Headers = (),
    ) -> None:
        """Append one record to the input topic."""
        log = self.log[partition]
        log.append(
            Message(
                topic=self.topic,
                partition=partition,
                offset=len(log),
                key=key,
                value=value,
                headers=list(headers) or None,
                timestamp=(1, timestamp_ms),
            )
        )

    def write_marker(self, partition: int) -> None:
        """Append what ends a producer's transaction: it has an offset, and no reader gets it."""
        self.hidden.add((partition, len(self.log[partition])))
        self.write(partition, None)

    def visible(self, read: Sequence[Message]) -> list[Message]:
        """Of an input partition, what readers get."""
        return [each for each in read if (each.partition(), each.offset()) not in self.hidden]

    def records(self, topic: str, partition: int) -> list[Published]:
        """What was committed to a partition of a topic, in order."""
        return [each for each in self.published if (each.topic, each.partition) == (topic, partition)]

    def metadata(self) -> GroupMetadata:
        """Of the group's generation now."""
        return b"generation %d" % self.generation


@dataclass
class FakeBrokers:
    """What is known of the brokers, as a test sets it."""

    silent: str = ""
    holding: str = ""
    group: str = ""
    held_partitions: dict[int, HeldPartition] = field(default_factory=dict)

    def silence(self) -> str:
        return self.silent

    def held(self) -> Mapping[int, HeldPartition]:
        return self.held_partitions

    def held_reason(self) -> str:
        return self.holding

    def group_reason(self) -> str:
        return self.group


class FakeInputConsumer:
    """Reads a `FakeCluster`."""

    def __init__(self, cluster: FakeCluster, handler: AssignmentHandler) -> None:
        self.cluster = cluster
        self.brokers = FakeBrokers()
        self.failures: dict[int, str] = {}
        """Partitions that cannot be read on."""
        self.closed = False
        self._handler = handler
        self._positions: dict[int, int] = {}
        self._paused: set[int] = set()
        self._begun: set[int] = set()
        """Under their present assignment."""
        self._ends_seen: dict[int, int] = {}
        self._changes: deque[Callable[[], None]] = deque()
        self._generation = 0
        self._kept: list[Message] = []
        self._lender = BatchLender()
        self.stuck: set[int] = set()
        """Partitions of which nothing is fetched until the reader is renewed."""
        self.renewed = 0

    def assign(self, *partitions: int) -> None:
        """In the next poll, these become ours; all of the topic where none is named."""
        self._change(lambda: self._take(partitions or tuple(range(self.cluster.partitions))))

    def revoke(self, *partitions: int) -> None:
        """In the next poll, these go to others."""
        self._change(lambda: self._give_up(partitions, self._handler.on_revoked))

    def lose(self, *partitions: int) -> None:
        """In the next poll, we hear that these went to others."""
        self._change(lambda: self._give_up(partitions, self._handler.on_lost))

    def fail(self, error: Exception) -> None:
        """The next poll raises this."""
        self._change(lambda: _throw(error))

    def _change(self, change: Callable[[], None]) -> None:
        self._changes.append(change)
        self.cluster.generation += 1

    def subscribe(self) -> None:
        self.assign()

    @property
    def assignment(self) -> frozenset[int]:
        return frozenset(self._positions)

    def poll(self, max_records: int, timeout_s: float) -> Batch:
        del timeout_s  # nothing is worth waiting for
        self._lender.take_back()
        batch = self._kept or self._read(max_records)
        self._kept = []
        try:
            while self._changes:
                self._changes.popleft()()
        except Exception:
            self._kept = self._current(batch)
            raise
        finally:
            self._generation = self.cluster.generation
        return self._lender.lend(self._current(batch))

    def _current(self, batch: Sequence[Message]) -> list[Message]:
        return [message for message in batch if message.partition() in self._begun]

    def group_metadata(self) -> GroupMetadata | None:
        return self.cluster.metadata() if self._generation == self.cluster.generation else None

    def pause(self, partitions: Iterable[int]) -> None:
        self._paused.update(partitions)

    def resume(self, partitions: Iterable[int]) -> None:
        self._paused.difference_update(partitions)

    def begin(self, partition: int, offset: int) -> None:
        self._paused.discard(partition)
        self._positions[partition] = offset
        self._begun.add(partition)
        self._forget(partition)
        self._kept = [message for message in self._kept if message.partition() != partition]

    def renew_reader(self) -> None:
        self.renewed += 1
        self.stuck.clear()

    def last_seen_end(self, partition: int) -> int:
        return self._ends_seen.get(partition, 0)

    def pop_failures(self) -> Mapping[int, str]:
        failures, self.failures = self.failures, {}
        return failures

    def end_offsets(self) -> Mapping[int, int]:
        return {partition: len(self.cluster.log[partition]) for partition in self._positions}

    def close(self, within_s: float = math.inf) -> bool:
        del within_s  # nothing is waited for
        self.closed = True
        self._give_up(sorted(self._positions), self._handler.on_revoked)
        return True

    def _take(self, partitions: Sequence[int]) -> None:
        self._positions.update(dict.fromkeys(partitions, 0))
        self._paused.update(partitions)
        self._begun.difference_update(partitions)
        self._generation = self.cluster.generation
        self._handler.on_assigned(partitions)

    def _give_up(self, partitions: Sequence[int], tell: Callable[[Sequence[int]], None]) -> None:
        self._generation = self.cluster.generation
        ours = [partition for partition in partitions if partition in self._positions]
        try:
            if ours:
                tell(ours)
        finally:
            for partition in ours:
                del self._positions[partition]
                self._begun.discard(partition)
                self._forget(partition)

    def _forget(self, partition: int) -> None:
        self._ends_seen.pop(partition, None)
        self.failures.pop(partition, None)

    def _read(self, most: int) -> list[Message]:
        batch: list[Message] = []
        for partition, position in self._positions.items():
            if partition in self._paused or partition in self.stuck:
                continue
            if position < self.cluster.begins.get(partition, 0):
                self.failures[partition] = f"offset {position} of partition {partition} is gone"
                self._paused.add(partition)
                continue
            log = self.cluster.log[partition]
            read = log[position : position + most - len(batch)]
            self._positions[partition] = position + len(read)
            if self._positions[partition] == len(log):
                self._ends_seen[partition] = len(log)
            batch += self.cluster.visible(read)
        return batch


class FakeLookUp:
    """Known at once, unless the cluster has a transaction pending."""

    def __init__(self, cluster: FakeCluster, state_topic: str) -> None:
        self._cluster = cluster
        self._state_topic = state_topic

    def bounds(self, partition: int) -> Bounds | None:
        cluster = self._cluster
        if partition in cluster.pending:
            return None
        state = cluster.records(self._state_topic, partition)
        log = cluster.log[partition]
        return Bounds(cluster.committed.get(partition), len(state), cluster.begins.get(partition, 0), len(log))

    def reason(self, partition: int) -> str:
        return "a transaction is pending" if partition in self._cluster.pending else ""


class FakeRestoreReader:
    """Reads what is committed to a `FakeCluster`."""

    def __init__(self, cluster: FakeCluster, state_topic: str) -> None:
        self.cluster = cluster
        self.closed = False
        self._state_topic = state_topic
        self._positions: dict[tuple[str, int], int] = {}
        self._ends_seen: dict[tuple[str, int], int] = {}
        self._failures: dict[tuple[str, int], str] = {}
        self._lender = BatchLender()
        self.errors: dict[tuple[str, int], str] = {}
        """Why partitions cannot be read, as long as a test leaves it there."""

    def serve(self) -> None:
        """Its clients say nothing."""

    def look_up(self, partitions: Sequence[int]) -> FakeLookUp:
        del partitions
        return FakeLookUp(self.cluster, self._state_topic)

    def begin(self, place: tuple[str, int], offset: int) -> None:
        self.pause([place])
        self._positions[place] = offset

    def pause(self, places: Iterable[tuple[str, int]]) -> None:
        for place in places:
            self._positions.pop(place, None)
            self._ends_seen.pop(place, None)
            self._failures.pop(place, None)

    def poll(self, max_records: int, timeout_s: float) -> Batch:
        del timeout_s  # nothing is worth waiting for
        self._lender.take_back()
        batch: list[Message] = []
        for place in list(self._positions):
            batch += self._read(place, max_records - len(batch))
        return self._lender.lend(batch)

    def _read(self, place: tuple[str, int], most: int) -> list[Message]:
        topic, partition = place
        is_input, offset = topic == self.cluster.topic, self._positions[place]
        log = self.cluster.log[partition] if is_input else self._state(partition)
        begin = self.cluster.begins.get(partition, 0) if is_input else 0
        if place in self.errors or 0 < offset < begin:
            self._failures[place] = self.errors.get(place, f"can't read {topic}-{partition}: offset {offset} is gone")
            del self._positions[place]
            return []
        offset = max(offset, begin)
        read = log[offset : offset + most]
        self._positions[place] = offset + len(read)
        if self._positions[place] == len(log):
            self._ends_seen[place] = len(log)
        return self.cluster.visible(read) if is_input else read

    def last_seen_end(self, place: tuple[str, int]) -> int:
        return self._ends_seen.get(place, 0)

    def pop_failures(self) -> Mapping[tuple[str, int], str]:
        failures, self._failures = self._failures, {}
        return failures

    def close(self, within_s: float = math.inf) -> None:
        del within_s  # nothing is waited for
        self.closed = True

    def _state(self, partition: int) -> list[Message]:
        return [
            Message(topic=each.topic, partition=partition, offset=offset, key=each.key, value=each.value)
            for offset, each in enumerate(self.cluster.records(self._state_topic, partition))
        ]


class FakeEndQuery:
    """Knows where a `FakeCluster` ends."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.under_way = False
        """While set, what is asked gets no answer."""
        self.away = False
        """While set, what is asked fails."""
        self.leaderless: set[int] = set()
        """Partitions that get no answer."""
        self._asked: tuple[int, ...] = ()
        self._failed = False

    def ask(self, partitions: Iterable[int]) -> bool:
        wanted = tuple(partitions)
        if self._asked or not wanted:
            return False
        self._asked, self._failed = wanted, False
        return True

    def answers(self) -> Mapping[int, int] | None:
        asked = self._answered()
        log = self.cluster.log
        there = {} if self.away else {partition: len(log[partition]) for partition in asked if partition < len(log)}
        there = {partition: end for partition, end in there.items() if partition not in self.leaderless}
        self._failed = bool(asked) and not there
        return there or None

    def failed(self) -> bool:
        failed, self._failed = self._failed, False
        return failed

    def _answered(self) -> tuple[int, ...]:
        if self.under_way:
            return ()
        asked, self._asked = self._asked, ()
        return asked


class FakeTransactionOwner:
    """Publishes to a `FakeCluster`."""

    def __init__(self, cluster: FakeCluster, listener: TransactionListener | None = None) -> None:
        self.cluster = cluster
        self.closed = False
        self._listener = listener or SilentListener()
        self._number = 0
        self._outbox: list[Published] = []
        self._in_transaction = False
        self._faults: dict[Step, deque[tuple[Exception, bool]]] = {}

    def fail(self, step: Step, error: Exception, *, published: bool = False) -> None:
        """The next such step raises this; with `published`, a commit took place all the same."""
        self._faults.setdefault(step, deque()).append((error, published))

    @property
    def ready(self) -> bool:
        return self._number != 0

    @property
    def in_transaction(self) -> bool:
        """Not part of the protocol: tests look at what is begun but not ended."""
        return self._in_transaction

    def init(self) -> None:
        self._start()

    def renew(self) -> None:
        self._stumble("renew", {})
        self._start()

    def produce(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers | None = None, partition: int = -1
    ) -> None:
        self._begin()
        self._stumble("produce", {})
        self._outbox.append(Published(topic, key, value, tuple(headers or ()), partition))

    def produce_all(
        self, topic: str, records: Iterable[tuple[bytes | None, bytes | None]], partition: int = -1
    ) -> None:
        self._begin()
        for key, value in records:
            self.produce(topic, key, value, partition=partition)

    def produce_columns(self, topic: str, records: RecordColumns) -> None:
        self._begin()
        for key, value, headers in records.records():
            self.produce(topic, key, value, headers)

    @contextlib.contextmanager
    def time_limit(self, seconds: float) -> Iterator[None]:
        del seconds  # nothing here takes any
        yield

    def commit(self, offsets: Mapping[tuple[str, int], int], group_metadata: GroupMetadata) -> None:
        if not offsets or min(offsets.values()) < 0:
            raise ValueError(f"a transaction carries the offsets of its input, not {dict(offsets)}")
        self._begin()
        self._stumble("commit", offsets)
        if self._number != self.cluster.newest_owner:
            self._lose(TransactionLost("_FENCED", "another has this name"))
        if group_metadata != self.cluster.metadata():
            self._discard()
            self._listener.aborted("ILLEGAL_GENERATION")
            raise TransactionAborted("ILLEGAL_GENERATION", "the group has moved on")
        self._publish(offsets)
        self._listener.committed(0.0)

    def abort(self) -> None:
        if self._in_transaction:
            self._stumble("abort", {})
            self._discard()
            self._listener.aborted("requested")

    def close(self) -> None:
        self._discard()
        self.closed = True
        self._number = 0

    def _start(self) -> None:
        if not self._number:
            self.cluster.newest_owner += 1
            self._number = self.cluster.newest_owner

    def _begin(self) -> None:
        self._start()
        self._in_transaction = True

    def _publish(self, offsets: Mapping[tuple[str, int], int]) -> None:
        self.cluster.published += self._outbox
        self.cluster.committed.update({partition: offset for (_, partition), offset in offsets.items()})
        self._discard()

    def _discard(self) -> None:
        self._outbox, self._in_transaction = [], False

    def _stumble(self, step: Step, offsets: Mapping[tuple[str, int], int]) -> None:
        faults = self._faults.get(step)
        if not faults:
            return
        error, published = faults.popleft()
        if published:
            self._publish(offsets)
        if isinstance(error, TransactionLost):
            self._lose(error)
        self._discard()
        if isinstance(error, TransactionAborted):
            self._listener.aborted(error.error)
        raise error

    def _lose(self, error: TransactionLost) -> NoReturn:
        self._discard()
        self._number = 0
        self._listener.lost(error.error)
        raise error


class FakeTopicIds:
    """The id of the input topic, as a test sets it."""

    def __init__(self, topic_id: str) -> None:
        self.newest = topic_id

    def topic_id(self) -> str:
        return self.newest


class SilentListener:
    def committed(self, seconds: float) -> None: ...

    def aborted(self, error: str) -> None: ...

    def lost(self, error: str) -> None: ...

    def retried(self, error: str) -> None: ...


class RecordingHandler:
    """Writes down what it hears of the assignment; may fail."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.heard: list[tuple[str, tuple[int, ...]]] = []
        self.failure: Exception | None = None

    def on_assigned(self, partitions: Sequence[int]) -> None:
        self._hear("assigned", partitions)

    def on_revoked(self, partitions: Sequence[int]) -> None:
        self._hear("revoked", partitions)

    def on_lost(self, partitions: Sequence[int]) -> None:
        self._hear("lost", partitions)

    def _hear(self, what: str, partitions: Sequence[int]) -> None:
        self.heard.append((what, tuple(sorted(partitions))))
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure


def _throw(error: Exception) -> None:
    raise error


@dataclass
class FakeDeadLetters:
    """Dead letters in memory; those of aborted transactions are never in it."""

    letters: list[Record] = field(default_factory=list)

    def read(self, since_ms: int | None = None) -> Iterator[Record]:
        for partition in sorted({letter.partition for letter in self.letters}):
            mine = [letter for letter in self.letters if letter.partition == partition]
            stamps = [letter.timestamp_ms for letter in mine]
            first = next((i for i, stamp in enumerate(stamps) if since_ms is None or stamp >= since_ms), len(mine))
            yield from mine[first:]

    def read_in_order(self, since_ms: int | None = None) -> Iterator[Record]:
        yield from sorted(self.read(since_ms), key=lambda letter: letter.timestamp_ms)

    def at(self, partition: int, offset: int) -> Record | None:
        return next((each for each in self.letters if (each.partition, each.offset) == (partition, offset)), None)
