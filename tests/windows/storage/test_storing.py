"""Any history, stored and loaded anywhere, continues as if it had not been interrupted; the judge agrees."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.windows.partition import ClosedBuckets, PartitionWindows
from consumer.windows.process import STATUSES
from consumer.windows.rules import WindowRules
from consumer.windows.storage.batch import RowError
from tests.reference.events_counting import Event, Reference, Rules
from tests.windows.columns import KINDS, columns
from tests.windows.storage.life import HASH_KEY, PARTS, Change, Life, acts, damages, steps, stores
from tests.windows.test_against_reference import (
    bucket_row,
    closed_rows,
    engine,
    histories,
    reference_row,
    rules,
    run,
)
from tests.windows.topic import loaded


class Seen(NamedTuple):
    stream_id: str
    kind: str
    step_ms: int
    value: int


@st.composite
def lives(draw: st.DrawFn) -> tuple[Rules, list[Any]]:
    drawn = draw(rules())
    bucket_ms = drawn.bucket_ms
    steps_ms = st.one_of(
        st.integers(-3 * bucket_ms, 3 * bucket_ms), st.sampled_from([0, 1, bucket_ms, 20 * bucket_ms, 86_400_000])
    )
    seen = st.builds(
        Seen,
        st.sampled_from(["a", "b", "stream-of-a-long-name", "é", ""]),
        st.sampled_from(KINDS),
        steps_ms,
        st.one_of(st.integers(0, 5), st.integers(0, 2**32 - 1)),
    )
    return drawn, draw(acts(seen, st.one_of(steps, stores, st.builds(Change, rules())), bucket_ms))


class EventsLife(Life[Rules]):
    sessions = False

    def __init__(self, drawn: Rules) -> None:
        super().__init__(drawn)
        self.reference = Reference(drawn)

    def _see(self, seen: Seen) -> None:
        event = Event(seen.stream_id, seen.kind, self.time_ms, seen.value, seen.value // 3)
        assert self.apply(event) == self.reference.apply(event, self.offset)

    def judge_step(self, to_ms: int) -> None:
        self.reference.step(to_ms, self.offset)

    def judge_change(self, drawn: Rules) -> None:
        self.reference.change_rules(drawn, self.offset)

    def closed_rows(self, closed: ClosedBuckets) -> list[tuple[object, ...]]:
        return closed_rows(closed)

    def compare(self) -> None:
        super().compare()
        expected = [(c.stream_id, reference_row(c.bucket), c.reason, c.offset) for c in self.reference.closed]
        assert sorted(self.closed[0], key=repr) == sorted(expected, key=repr)
        assert self.steady.times()[:2] == (self.reference.partition_time_ms, self.reference.idle_watermark_ms)
        assert {view.stream_id for view in self.steady.views()} == set(self.reference.streams)
        for stream_id in self.reference.streams:
            self._compare_stream(stream_id)

    def _compare_stream(self, stream_id: str) -> None:
        view = self.steady.view_of(stream_id.encode())
        assert view is not None
        assert view.time_ms == self.reference.time_of(stream_id)
        assert view.concurrent_viewers == self.reference.streams[stream_id].viewers
        expected = [reference_row(bucket) for bucket in self.reference.window(stream_id)]
        for windows in (self.steady, self.stored):
            assert [bucket_row(bucket) for bucket in windows.window_of(stream_id.encode())] == expected


@given(lives())
@settings(max_examples=400)
def test_stored_and_loaded_windows_continue_as_if_never_stored(life: tuple[Rules, list[Any]]) -> None:
    drawn, acts = life
    lived = EventsLife(drawn)
    for act in acts:
        lived.act(act)
    lived.compare()


@given(histories(), st.integers(0, 60), PARTS)
@settings(max_examples=150)
def test_a_history_interrupted_anywhere_gives_the_same_results(
    history: tuple[Rules, list[Event]], cut: int, part_bytes: int
) -> None:
    drawn, events = history
    whole, first = engine(drawn), engine(drawn)
    cut %= len(events) + 1
    before = run(first, events[:cut], [])
    rows = first.changed_rows(part_bytes)
    second, checksum = loaded(WindowRules(**vars(drawn)), HASH_KEY, first.times(), rows.records)
    assert checksum == rows.all_rows
    behind = run_behind(second, events, cut)
    statuses, closed = run(whole, events, [cut])
    assert statuses == before[0] + behind[0]
    assert sorted(closed, key=repr) == sorted(before[1] + behind[1], key=repr)
    assert sorted(whole.views()) == sorted(second.views())


def run_behind(
    windows: PartitionWindows, events: Sequence[Event], cut: int
) -> tuple[list[str], list[tuple[object, ...]]]:
    """Statuses and closed buckets of the events from the cut on, with their original offsets."""
    status = windows.apply(columns(events), cut, len(events), np.arange(len(events)))
    return [STATUSES[code] for code in status], closed_rows(windows.pop_closed())


@given(histories(), PARTS, st.data())
@settings(max_examples=400)
def test_damaged_rows_are_errors_or_change_the_checksum(
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
        again, checksum = loaded(WindowRules(**vars(drawn)), HASH_KEY, windows.times(), damaged)
    except RowError:
        return
    assert checksum != rows.all_rows
    again.changed_rows()
    again.step(2**52, 0)
    again.close_all()


@given(histories())
@settings(max_examples=50)
def test_the_checksum_is_the_same_in_any_batches_and_orders(history: tuple[Rules, list[Event]]) -> None:
    drawn, events = history
    one, other = engine(drawn), engine(drawn)
    # Streams that came earlier and are gone leave other rows free, so that all positions differ.
    other.load([(b"r\0\0x%d" % i, bytes.fromhex("01000101000000020000")) for i in range(3)])
    other.load([(b"r\0\0x%d" % i, None) for i in range(3)])
    other.finish_load()
    run(one, events, [])
    run(other, events, range(60))
    assert one.published_checksum() == other.published_checksum()


def test_rows_are_marked_as_stored_only_if_the_windows_have_not_changed() -> None:
    windows = engine(Rules(30, 10, 5))
    run(windows, [Event("a", "B", 3)], [])
    rows = windows.changed_rows()
    run(windows, [Event("a", "B", 4)], [])
    with pytest.raises(ValueError, match="changed since"):
        windows.mark_stored(rows)
    again = windows.changed_rows()
    windows.mark_stored(again)
    with pytest.raises(ValueError, match="changed since"):
        windows.mark_stored(again)
