"""Events taken at their records' time: only the reason of a late one tells them from others."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.windows.events import EventColumns
from consumer.windows.partition import PartitionWindows
from consumer.windows.process import STATUSES
from consumer.windows.rules import WindowRules
from tests.reference import events_counting, sessions_counting
from tests.windows.columns import columns
from tests.windows.test_against_reference import histories as histories_of_events
from tests.windows.test_sessions_against_reference import histories as histories_of_sessions

RULES = WindowRules(window_duration_ms=30, bucket_ms=10, grace_ms=5, stream_idle_ms=40, max_streams=100)
CLAMPED_MS = st.lists(st.sampled_from([0, 1, 5, 1_000, 20_000, 90_000_000]), min_size=60, max_size=60)


def statuses(windows: PartitionWindows, table: EventColumns) -> list[str]:
    number = len(table.facts)
    return [STATUSES[code] for code in windows.apply(table, 0, number, np.arange(number, dtype=np.int64))]


@given(histories_of_events(), CLAMPED_MS)
@settings(max_examples=200)
def test_events_counting_gives_the_judges_reasons(
    history: tuple[events_counting.Rules, list[events_counting.Event]], clamped_ms: list[int]
) -> None:
    rules, events = history
    assert_judged(WindowRules(**vars(rules)), events_counting.Reference(rules), events, clamped_ms)


@given(histories_of_sessions(), CLAMPED_MS)
@settings(max_examples=200)
def test_sessions_counting_gives_the_judges_reasons(
    history: tuple[sessions_counting.Rules, list[sessions_counting.Event]], clamped_ms: list[int]
) -> None:
    rules, events = history
    engine = WindowRules(**vars(rules), sessions=True)
    assert_judged(engine, sessions_counting.Reference(rules), events, clamped_ms)


def assert_judged(
    rules: WindowRules,
    judge: events_counting.Reference | sessions_counting.Reference,
    events: Sequence[events_counting.Event] | Sequence[sessions_counting.Event],
    clamped_ms: list[int],
) -> None:
    clamped_ms = clamped_ms[: len(events)]
    windows = PartitionWindows(rules, (1, 2))
    got = statuses(windows, columns(events, clamped_ms))
    assert got == [
        judge.apply(event, offset, by_ms)  # type: ignore[arg-type]  # each judge has its own events
        for offset, (event, by_ms) in enumerate(zip(events, clamped_ms, strict=True))
    ]
    assert windows.stats().partition_time_ms == judge.partition_time_ms


def test_late_only_because_it_was_clamped() -> None:
    #  0        10   15 16
    #  |--c------|----.-e         c is of 12, in a record of 9
    windows = PartitionWindows(RULES, (1, 2))
    event = events_counting.Event
    seen = [event("a", "B", 16), event("a", "B", 9), event("a", "B", 9), event("a", "B", 8)]
    assert statuses(windows, columns(seen, [0, 3, 0, 1])) == ["accepted", "late_clamped", "late", "late"]
    assert windows.stats().largest_lateness_ms == 8


@pytest.mark.parametrize(("clamped_ms", "status"), [(0, "late_idle"), (9, "late_idle"), (10, "late_clamped")])
def test_late_by_the_idle_watermark_only_because_it_was_clamped(clamped_ms: int, status: str) -> None:
    #  busy  |--e--- … ---e 70       idle watermark 30: what ends with its grace before that is closed
    windows = PartitionWindows(RULES, (1, 2))
    statuses(windows, columns([events_counting.Event("busy", "B", 1), events_counting.Event("busy", "B", 70)]))
    assert statuses(windows, columns([events_counting.Event("a", "B", 10)], [clamped_ms])) == [status]
