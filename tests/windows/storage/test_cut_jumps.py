"""A jump of time cut between any two streams, and restored at any cut, gives the same results as the whole jump.

whole   ──record──[ a b c d ]──────────────────────►
cut     ──record──[ a b ]─ stored, loaded ─[ c ]─[ d ]►
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.windows.partition import PartitionWindows
from consumer.windows.rules import WindowRules
from tests.reference import events_counting, sessions_counting
from tests.windows import test_against_reference as by_events
from tests.windows import test_sessions_against_reference as by_sessions
from tests.windows.columns import columns
from tests.windows.topic import Topic, loaded

HASH_KEY = (3, 4)

Event = events_counting.Event | sessions_counting.Event


class Step(NamedTuple):
    buckets: int


class Change(NamedTuple):
    rules: WindowRules


Act = Event | Step | Change


@st.composite
def lives(draw: st.DrawFn) -> tuple[WindowRules, list[Act]]:
    """Rules, and events with clock steps and changed rules between them; most streams are quiet when time jumps."""
    sessions = draw(st.booleans())
    source = by_sessions if sessions else by_events
    drawn, events = draw(source.histories())
    changed = source.rules().filter(lambda other: other.bucket_ms == drawn.bucket_ms)
    acts: list[Act] = list(events)
    for at in draw(st.lists(st.integers(0, len(acts)), max_size=4)):
        act = draw(st.one_of(st.builds(Step, st.sampled_from([1, 2, 30])), changed.map(lambda r: _change(r, sessions))))
        acts.insert(at, act)
    return WindowRules(**vars(drawn), sessions=sessions), acts


def _change(rules: events_counting.Rules | sessions_counting.Rules, sessions: bool) -> Change:
    return Change(WindowRules(**vars(rules), sessions=sessions))


class Life:
    """Apply the same acts to windows that never cut a jump, and to windows that cut all and restore at some cuts."""

    def __init__(self, rules: WindowRules, limit: int, restarts: Sequence[bool]) -> None:
        self.rules = rules
        self.limit = limit
        self.restarts = list(restarts)
        self.whole = PartitionWindows(rules, HASH_KEY)
        self.cut = PartitionWindows(rules, HASH_KEY)
        self.cut.limit_closed(limit)
        self.topic = Topic()
        self.offset = 0
        self.closed: tuple[list[object], list[object]] = ([], [])
        self.cuts = 0

    def act(self, act: Act) -> None:
        change: WindowRules | None = None
        for windows in (self.whole, self.cut):
            match act:
                case Step(buckets):
                    boundary_ms = windows.next_step_ms()
                    if boundary_ms is not None:
                        windows.step(boundary_ms + (buckets - 1) * self.rules.bucket_ms, self.offset)
                case Change(rules):
                    windows.change_rules(rules, self.offset)
                    change = rules
                case event:
                    windows.apply(columns([event]), 0, 1, np.array([self.offset]))
        self._collect()
        self._finish(change)
        self.rules = change or self.rules
        self.offset += not isinstance(act, Step | Change)

    def _finish(self, change: WindowRules | None) -> None:
        while self.cut.jump_pending:
            self.cuts += 1
            if self.restarts and self.restarts.pop():
                self._restart(change)
            else:
                self.cut.continue_jump()
            self._collect()
        assert self.cut.jump is None

    def _restart(self, change: WindowRules | None) -> None:
        """Store and load as of the rules before a change, which is then applied again."""
        rows, jump, times = self.cut.changed_rows(), self.cut.jump, self.cut.times()
        self.topic.write(rows.records)
        self.cut, checksum = loaded(self.rules, HASH_KEY, times, list(self.topic.newest().items()))
        assert checksum == rows.all_rows
        self.cut.limit_closed(self.limit)
        if jump is not None:
            self.cut.restore_jump(jump)
        elif change is not None:
            self.cut.change_rules(change, self.offset)

    def _collect(self) -> None:
        source = by_sessions if self.rules.sessions else by_events
        for windows, rows in zip((self.whole, self.cut), self.closed, strict=True):
            rows.extend(source.closed_rows(windows.pop_closed()))

    def compare(self) -> None:
        assert sorted(self.closed[0], key=repr) == sorted(self.closed[1], key=repr)
        assert self.whole.times() == self.cut.times()
        assert sorted(self.whole.views()) == sorted(self.cut.views())


@given(lives(), st.integers(1, 3), st.lists(st.booleans(), max_size=60))
@settings(max_examples=400)
def test_a_jump_cut_anywhere_gives_the_results_of_the_whole_jump(
    life: tuple[WindowRules, list[Act]], limit: int, restarts: list[bool]
) -> None:
    rules, acts = life
    lived = Life(rules, limit, restarts)
    for act in acts:
        lived.act(act)
        lived.compare()


@pytest.mark.parametrize("sessions", [False, True])
def test_the_record_that_causes_a_jump_is_counted_before_the_jump_is_cut(sessions: bool) -> None:
    rules = WindowRules(30, 10, 0, 20, 100, sessions=sessions, viewer_timeout_ms=20)
    lived = Life(rules, 1, [True] * 50)
    for name, time_ms in (*((name, 5) for name in "abcde"), ("a", 1_000)):
        lived.act(
            sessions_counting.Event(name, "v", time_ms, "B", 1)
            if sessions
            else events_counting.Event(name, "B", time_ms, 1)
        )
    lived.compare()
    assert lived.cuts >= 4, "one cut after each quiet stream except the last"
    assert str(lived.closed[1][0]).startswith("('a'")


def test_a_bucket_that_left_the_window_before_changed_rules_close_it_does_not_return_in_a_longer_window() -> None:
    before = WindowRules(7, 7, 7, 0, 3)
    lived = Life(before, 1, [True])
    for name in "aaaaab":
        lived.act(events_counting.Event(name, "J", 0, 0))
    lived.act(Step(2))
    lived.act(Change(before._replace(window_duration_ms=8, grace_ms=0)))
    lived.compare()
    assert lived.cuts == 1


def test_a_pending_jump_must_be_finished_before_anything_else() -> None:
    lived = Life(WindowRules(30, 10, 0, 20, 100), 1, [])
    for name in "abc":
        lived.act(events_counting.Event(name, "B", 5, 1))
    lived.cut.apply(columns([events_counting.Event("a", "B", 1_000, 1)]), 0, 1, np.array([3]))
    assert lived.cut.jump_pending
    for refused in (
        lambda: lived.cut.apply(columns([events_counting.Event("a", "B", 1_000, 1)]), 0, 1, np.array([4])),
        lambda: lived.cut.step(2_000, 4),
        lambda: lived.cut.change_rules(lived.rules, 4),
    ):
        with pytest.raises(ValueError, match="a jump of time is pending"):
            refused()
