"""Any history counted by viewer, stored and loaded anywhere, goes on as if it had never been cut; the judge agrees."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.windows.partition import PartitionWindows
from consumer.windows.process import STATUSES
from consumer.windows.rules import WindowRules
from consumer.windows.storage.batch import RowError
from consumer.windows.viewers import room
from tests.reference.sessions_counting import Event, Reference, Rules
from tests.windows.columns import columns
from tests.windows.storage.test_storing import PARTS, damages
from tests.windows.test_sessions_against_reference import (
    HASH_KEY,
    Row,
    closed_rows,
    engine,
    histories,
    judged_rows,
    rules,
    run,
)
from tests.windows.topic import Topic, loaded


class Seen(NamedTuple):
    stream_id: str
    viewer_id: str
    kind: str
    step_ms: int
    value: int


class Step(NamedTuple):
    buckets: int


class Change(NamedTuple):
    rules: Rules


class Store(NamedTuple):
    part_bytes: int
    restarted: bool
    new_key: bool
    seed: int


Act = Seen | Step | Change | Store


@st.composite
def lives(draw: st.DrawFn) -> tuple[Rules, list[Act]]:
    """Events, steps of the clock, changes of rules and checkpoints, in any order."""
    drawn = draw(rules())
    bucket_ms = drawn.bucket_ms
    seen = st.builds(
        Seen,
        st.sampled_from(["a", "a", "b", "stream-of-a-long-name"]),
        st.sampled_from(["v", "v", "w", "x", "viewer-of-a-very-long-name"]),
        st.sampled_from("JJLLBS"),
        st.one_of(
            st.integers(-3 * bucket_ms, 3 * bucket_ms),
            st.sampled_from([0, 0, 1, bucket_ms, drawn.viewer_timeout_ms, 86_400_000]),
        ),
        st.integers(0, 2**32 - 1),
    )
    store = st.builds(Store, PARTS, st.booleans(), st.booleans(), st.integers(0, 2**32))
    step = st.builds(Step, st.integers(0, 9))
    others = st.one_of(step, store, st.builds(Change, rules())) if draw(st.booleans()) else st.one_of(step, store)
    acts = draw(st.lists(st.one_of(seen, seen, seen, others, store), max_size=70))
    return drawn, [Change(replace(a.rules, bucket_ms=bucket_ms)) if isinstance(a, Change) else a for a in acts]


class Life:
    """One engine that lives on, one that is stored and loaded now and then, and the judge."""

    def __init__(self, drawn: Rules) -> None:
        self.reference = Reference(drawn)
        self.rules = WindowRules(**vars(drawn), sessions=True)
        self.steady, self.stored = engine(drawn), engine(drawn)
        self.topic = Topic()
        self.closed: tuple[list[Row], list[Row]] = ([], [])
        self.offset = 0
        self.time_ms = 1_000
        self.is_judged = True
        """The judge knows one set of rules only."""

    def act(self, act: Act) -> None:
        self.offset += 1
        if isinstance(act, Seen):
            self._see(act)
        elif isinstance(act, Step):
            self._step(act.buckets)
        elif isinstance(act, Change):
            self._change(act.rules)
        else:
            self._store(act)
        for windows, closed in zip((self.steady, self.stored), self.closed, strict=True):
            closed.extend(closed_rows(windows.take_closed()))

    def _see(self, seen: Seen) -> None:
        self.time_ms += seen.step_ms
        event = Event(seen.stream_id, seen.viewer_id, self.time_ms, seen.kind, seen.value)
        steady, stored = (
            STATUSES[windows.apply(columns([event]), 0, 1, np.array([self.offset]))[0]]
            for windows in (self.steady, self.stored)
        )
        assert steady == stored
        if self.is_judged:
            assert steady == self.reference.apply(event, self.offset)

    def _step(self, buckets: int) -> None:
        edge_ms = self.steady.next_step_ms()
        assert edge_ms == self.stored.next_step_ms()
        if edge_ms is None:
            return
        to_ms = edge_ms + (buckets - 1) * self.rules.bucket_ms
        self.time_ms = max(self.time_ms, to_ms)
        self.reference.step(to_ms, self.offset)
        self.steady.step(to_ms, self.offset)
        self.stored.step(to_ms, self.offset)

    def _change(self, drawn: Rules) -> None:
        self.is_judged = False
        self.rules = WindowRules(**vars(drawn), sessions=True)
        self.steady.change_rules(self.rules, self.offset)
        self.stored.change_rules(self.rules, self.offset)

    def _store(self, store: Store) -> None:
        rows = self.stored.changed_rows(store.part_bytes)
        self.topic.write(rows.records)
        assert self.topic.checksum() == rows.all_rows
        self.stored.mark_stored(rows)
        if not store.restarted:
            return
        chance, times = random.Random(store.seed), self.stored.times()
        records, at_once = self.topic.half_compacted(chance), chance.choice([1, 3, 1_000])
        if store.new_key:  # rows are read before the key is known
            self.stored = PartitionWindows.loading(self.rules, (7, 8), times)
            for begin in range(0, len(records), at_once):
                self.stored.load(records[begin : begin + at_once])
            self.stored.take_over(self.rules, HASH_KEY, times)
            checksum = self.stored.finish_load()
        else:
            self.stored, checksum = loaded(self.rules, HASH_KEY, times, records, at_once)
        assert checksum == self.topic.checksum()
        assert self.stored.changed_rows().records == []

    def compare(self) -> None:
        assert sorted(self.closed[0], key=repr) == sorted(self.closed[1], key=repr)
        if self.is_judged:
            assert sorted(self.closed[0], key=repr) == sorted(judged_rows(self.reference.closed), key=repr)
        steady, stored = self.steady.stats(), self.stored.stats()
        assert (steady.streams, steady.viewers_held, steady.activities_held) == (
            stored.streams,
            stored.viewers_held,
            stored.activities_held,
        )
        assert sorted(self.steady.views()) == sorted(self.stored.views())
        for windows in (self.steady, self.stored):
            windows.close_all()
        closed = [closed_rows(windows.take_closed()) for windows in (self.steady, self.stored)]
        assert sorted(closed[0], key=repr) == sorted(closed[1], key=repr)


@given(lives(), st.sampled_from([room.KEPT_ANYWAY, 0]))
@settings(max_examples=400, deadline=None)
def test_any_life_goes_on_where_it_was_stored(life: tuple[Rules, list[Act]], kept_anyway: int) -> None:
    drawn, acts = life
    lived = Life(drawn)
    with patch.multiple(room, KEPT_ANYWAY=kept_anyway, FREE_SHARE=0.0):
        for act in acts:
            lived.act(act)
    lived.compare()


@given(histories(), PARTS, st.data())
@settings(max_examples=300, deadline=None)
def test_damage_is_an_error_or_shows_in_the_checksum(
    history: tuple[Rules, list[Event]], part_bytes: int, data: st.DataObject
) -> None:
    drawn, events = history
    windows = engine(drawn)
    run(windows, events, [])
    rows = windows.changed_rows(part_bytes)
    if not rows.records:
        return
    damaged = data.draw(damages(rows.records))
    if damaged == rows.records:
        return
    try:
        again, checksum = loaded(WindowRules(**vars(drawn), sessions=True), HASH_KEY, windows.times(), damaged)
    except RowError:
        return
    assert checksum != rows.all_rows
    again.changed_rows()
    again.step(2**52, 0)
    again.close_all()


@pytest.mark.parametrize("change", [{"sessions": False}, {"bucket_ms": 5}])
def test_counting_and_buckets_stay_what_they_are(change: dict[str, int]) -> None:
    windows = engine(Rules(30, 10, 5))
    before = WindowRules(**vars(Rules(30, 10, 5)), sessions=True)
    with pytest.raises(ValueError, match="change"):
        windows.change_rules(before._replace(**change), 0)  # type: ignore[arg-type]  # flags are numbers here


def test_a_row_of_events_counting_is_none_of_this_one() -> None:
    records: Sequence[tuple[bytes, bytes | None]] = [(b"r\0\0a", bytes([1, 0, 1, 1, 2 * 13, 0, 0, 2, 0, 0]))]
    with pytest.raises(RowError, match="lacks one"):
        loaded(WindowRules(30, 10, 5, 40, 100, sessions=True), HASH_KEY, engine(Rules(30, 10, 5)).times(), records)
