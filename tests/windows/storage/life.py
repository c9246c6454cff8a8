"""Property tests of stored windows: one engine runs on, another one is stored and loaded now and then.

What is the same for both countings: clock steps, changes of rules, checkpoints, restarts, and damaged records. A
subclass adds its events and its judge.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from hypothesis import strategies as st

from consumer.windows.partition import ClosedBuckets, PartitionWindows
from consumer.windows.process import STATUSES
from consumer.windows.rules import WindowRules
from consumer.windows.storage.batch import Record
from tests.reference import events_counting, sessions_counting
from tests.windows.columns import columns
from tests.windows.topic import Topic, loaded

HASH_KEY = (0x0706050403020100, 0x0F0E0D0C0B0A0908)
PARTS = st.sampled_from([1, 7, 30, 512 * 1024])

Event = events_counting.Event | sessions_counting.Event
RulesT = TypeVar("RulesT", events_counting.Rules, sessions_counting.Rules)


class Step(NamedTuple):
    buckets: int


class Change(NamedTuple):
    rules: Any


class Store(NamedTuple):
    part_bytes: int
    committed: bool
    restarted: bool
    new_key: bool
    seed: int


steps = st.builds(Step, st.integers(0, 9))
stores = st.builds(Store, PARTS, st.booleans(), st.booleans(), st.booleans(), st.integers(0, 2**32))


@st.composite
def acts(draw: st.DrawFn, seen: st.SearchStrategy[Any], others: st.SearchStrategy[Any], bucket_ms: int) -> list[Any]:
    """Events, clock steps, changes of rules and checkpoints, in any order."""
    drawn = draw(st.lists(st.one_of(seen, seen, seen, others, stores), max_size=70))
    return [Change(replace(a.rules, bucket_ms=bucket_ms)) if isinstance(a, Change) else a for a in drawn]


class Life(ABC, Generic[RulesT]):
    """One engine that runs on, one that is stored and loaded now and then, and the judge."""

    sessions: bool

    def __init__(self, drawn: RulesT) -> None:
        self.rules = WindowRules(**vars(drawn), sessions=self.sessions)
        self.steady, self.stored = PartitionWindows(self.rules, HASH_KEY), PartitionWindows(self.rules, HASH_KEY)
        self.topic = Topic()
        self.closed: tuple[list[object], list[object]] = ([], [])
        self.offset = 0
        self.time_ms = 1_000

    def act(self, act: Any) -> None:
        self.offset += 1
        if isinstance(act, Step):
            self._step(act.buckets)
        elif isinstance(act, Change):
            self._change(act.rules)
        elif isinstance(act, Store):
            self._store(act)
        else:
            self.time_ms += act.step_ms
            self._see(act)
        for windows, closed in zip((self.steady, self.stored), self.closed, strict=True):
            closed.extend(self.closed_rows(windows.pop_closed()))

    @abstractmethod
    def _see(self, seen: Any) -> None:
        """Process an event in both engines and the judge."""

    @abstractmethod
    def judge_step(self, to_ms: int) -> None:
        """Process a clock step in the judge."""

    @abstractmethod
    def judge_change(self, drawn: RulesT) -> None:
        """Change the rules of the judge."""

    @abstractmethod
    def closed_rows(self, closed: ClosedBuckets) -> Sequence[object]:
        """Return closed buckets as plain values."""

    def apply(self, event: Event) -> str:
        """Process an event in both engines; return its status, which must be the same."""
        steady, stored = (
            STATUSES[windows.apply(columns([event]), 0, 1, np.array([self.offset]))[0]]
            for windows in (self.steady, self.stored)
        )
        assert steady == stored
        return steady

    def _step(self, buckets: int) -> None:
        edge_ms = self.steady.next_step_ms()
        assert edge_ms == self.stored.next_step_ms()
        if edge_ms is None:
            return
        to_ms = edge_ms + (buckets - 1) * self.rules.bucket_ms
        self.time_ms = max(self.time_ms, to_ms)
        self.judge_step(to_ms)
        for windows in (self.steady, self.stored):
            windows.step(to_ms, self.offset)

    def _change(self, drawn: RulesT) -> None:
        self.judge_change(drawn)
        self.rules = WindowRules(**vars(drawn), sessions=self.sessions)
        for windows in (self.steady, self.stored):
            windows.change_rules(self.rules, self.offset)

    def _store(self, store: Store) -> None:
        before = self.stored.changed_rows(store.part_bytes)
        rows = self.stored.changed_rows(store.part_bytes)
        assert (rows.records, rows.all_rows) == (before.records, before.all_rows)
        if not store.committed:
            return
        self.topic.write(rows.records)
        assert self.topic.checksum() == rows.all_rows
        self.stored.mark_stored(rows)
        again = self.stored.changed_rows(store.part_bytes)
        assert (again.records, again.all_rows) == ([], rows.all_rows)
        if store.restarted:
            self._restart(random.Random(store.seed), new_key=store.new_key)

    def _restart(self, chance: random.Random, *, new_key: bool) -> None:
        records, times = self.topic.half_compacted(chance), self.stored.times()
        counters, at_once = self.stored.published_checksum(), chance.choice([1, 3, 1_000])
        if new_key:  # rows are read before the key is known
            self.stored = PartitionWindows.loading(self.rules, (7, 8), times)
            for begin in range(0, len(records), at_once):
                self.stored.load(records[begin : begin + at_once])
            self.stored.take_over(self.rules, HASH_KEY, times)
            checksum = self.stored.finish_load()
        else:
            self.stored, checksum = loaded(self.rules, HASH_KEY, times, records, at_once)
        assert checksum == self.topic.checksum()
        assert self.stored.changed_rows().records == []
        assert self.stored.published_checksum().count == 0
        assert counters == self.steady.published_checksum()
        self.steady.reset_published_checksum()

    def compare(self) -> None:
        """Assert that both engines are in the same state."""
        assert sorted(self.closed[0], key=repr) == sorted(self.closed[1], key=repr)
        assert self.steady.published_checksum() == self.stored.published_checksum()
        assert self.steady.times() == self.stored.times()
        steady, stored = self.steady.stats(), self.stored.stats()
        assert (steady.streams, steady.viewers_held, steady.activities_held) == (
            stored.streams,
            stored.viewers_held,
            stored.activities_held,
        )
        assert sorted(self.steady.views()) == sorted(self.stored.views())


@st.composite
def damages(draw: st.DrawFn, records: Sequence[Record]) -> list[Record]:
    """Yield the records with one of them changed, cut, extended, left out or moved to another key."""
    at = draw(st.integers(0, len(records) - 1))
    key, value = records[at]
    assert value is not None
    how = draw(st.sampled_from(["flip", "cut", "add", "drop", "key", "short key", "splice"]))
    damaged: list[Record]
    if how == "flip":
        changed = bytearray(value)
        changed[draw(st.integers(0, len(value) - 1))] ^= draw(st.integers(1, 255))
        damaged = [(key, bytes(changed))]
    elif how == "splice":
        begin = draw(st.integers(0, len(value)))
        damaged = [(key, value[:begin] + draw(st.binary(max_size=20)) + value[begin + draw(st.integers(0, 9)) :])]
    else:
        ways: dict[str, list[Record]] = {
            "cut": [(key, value[: draw(st.integers(0, len(value) - 1))])],
            "add": [(key, value + draw(st.binary(min_size=1, max_size=3)))],
            "drop": [],
            "key": [(draw(st.binary(max_size=9)), value)],
            "short key": [(key[: draw(st.integers(0, 2))], value)],
        }
        damaged = ways[how]
    return [*records[:at], *damaged, *records[at + 1 :]]
