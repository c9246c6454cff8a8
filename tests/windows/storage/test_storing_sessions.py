"""Any sessions history, stored and loaded anywhere, continues as if it had not been interrupted; the judge agrees."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.windows.partition import ClosedBuckets
from consumer.windows.rules import WindowRules
from consumer.windows.storage.batch import RowError
from consumer.windows.viewers import room
from tests.reference.sessions_counting import Event, Reference, Rules
from tests.windows.columns import KINDS
from tests.windows.storage.life import HASH_KEY, PARTS, Change, Life, acts, damages, steps, stores
from tests.windows.test_sessions_against_reference import (
    Row,
    closed_rows,
    engine,
    histories,
    judged_rows,
    rules,
    run,
)
from tests.windows.topic import loaded


class Seen(NamedTuple):
    stream_id: str
    viewer_id: str
    kind: str
    step_ms: int
    value: int


@st.composite
def lives(draw: st.DrawFn) -> tuple[Rules, list[Any]]:
    drawn = draw(rules())
    bucket_ms = drawn.bucket_ms
    seen = st.builds(
        Seen,
        st.sampled_from(["a", "a", "b", "stream-of-a-long-name"]),
        st.sampled_from(["v", "v", "w", "x", "viewer-of-a-very-long-name"]),
        st.sampled_from(KINDS),
        st.one_of(
            st.integers(-3 * bucket_ms, 3 * bucket_ms),
            st.sampled_from([0, 0, 1, bucket_ms, drawn.viewer_timeout_ms, 86_400_000]),
        ),
        st.integers(0, 2**32 - 1),
    )
    others = st.one_of(steps, stores, st.builds(Change, rules())) if draw(st.booleans()) else st.one_of(steps, stores)
    return drawn, draw(acts(seen, others, bucket_ms))


class SessionsLife(Life[Rules]):
    sessions = True

    def __init__(self, drawn: Rules) -> None:
        super().__init__(drawn)
        self.reference = Reference(drawn)
        self.is_judged = True
        """The judge supports only one set of rules."""

    def _see(self, seen: Seen) -> None:
        event = Event(seen.stream_id, seen.viewer_id, self.time_ms, seen.kind, seen.value, seen.value // 3)
        status = self.apply(event)
        if self.is_judged:
            assert status == self.reference.apply(event, self.offset)

    def judge_step(self, to_ms: int) -> None:
        self.reference.step(to_ms, self.offset)

    def judge_change(self, drawn: Rules) -> None:
        del drawn
        self.is_judged = False

    def closed_rows(self, closed: ClosedBuckets) -> list[Row]:
        return closed_rows(closed)

    def compare(self) -> None:
        super().compare()
        if self.is_judged:
            assert sorted(self.closed[0], key=repr) == sorted(judged_rows(self.reference.closed), key=repr)
        for windows in (self.steady, self.stored):
            windows.close_all()
        closed = [closed_rows(windows.pop_closed()) for windows in (self.steady, self.stored)]
        assert sorted(closed[0], key=repr) == sorted(closed[1], key=repr)


@given(lives(), st.sampled_from([room.KEPT_ANYWAY, 0]))
@settings(max_examples=400)
def test_stored_and_loaded_windows_continue_as_if_never_stored(life: tuple[Rules, list[Any]], kept_anyway: int) -> None:
    drawn, acts = life
    lived = SessionsLife(drawn)
    with patch.multiple(room, KEPT_ANYWAY=kept_anyway, FREE_SHARE=0.0):
        for act in acts:
            lived.act(act)
    lived.compare()


@given(histories(), PARTS, st.data())
@settings(max_examples=300)
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
        again, checksum = loaded(WindowRules(**vars(drawn), sessions=True), HASH_KEY, windows.times(), damaged)
    except RowError:
        return
    assert checksum != rows.all_rows
    again.changed_rows()
    again.step(2**52, 0)
    again.close_all()


@pytest.mark.parametrize("change", [{"sessions": False}, {"bucket_ms": 5}])
def test_counting_and_bucket_length_cannot_change(change: dict[str, int]) -> None:
    windows = engine(Rules(30, 10, 5))
    before = WindowRules(**vars(Rules(30, 10, 5)), sessions=True)
    with pytest.raises(ValueError, match="change"):
        windows.change_rules(before._replace(**change), 0)  # type: ignore[arg-type]  # flags are numbers here


def test_a_row_of_events_counting_is_refused() -> None:
    records: Sequence[tuple[bytes, bytes | None]] = [(b"r\0\0a", bytes([1, 0, 1, 1, 2 * 13, 0, 0, 2, 0, 0]))]
    with pytest.raises(RowError, match="lacks one"):
        loaded(WindowRules(30, 10, 5, 40, 100, sessions=True), HASH_KEY, engine(Rules(30, 10, 5)).times(), records)
