"""The judge sees what is not as it must be, and names it."""

import pytest

from tests.chaos.counting import Summary
from tests.chaos.judge import DeadLetterRecord, Verdict, judge_letters, judge_offsets, judge_summaries
from tests.end_to_end import events, viewings
from tests.reference import events_counting, sessions_counting

RULES = events_counting.Rules(window_duration_ms=3_000, bucket_ms=1_000, grace_ms=0)
VIEWINGS = [
    sessions_counting.Event(f"stream {stream}", "v", second * 1_000 + stream, kind, 7)
    for second in range(10)
    for stream in range(3)
    for kind in "JBS"
]


def by_joins_and_leaves() -> list[Summary]:
    plain = [events_counting.Event(each.stream_id, each.kind, each.timestamp_ms, each.value) for each in VIEWINGS]
    closed = events.judged_events(enumerate(plain), RULES).closed
    return [events.summary_of(each, RULES, "events", 0) for each in closed]


def by_viewer() -> list[Summary]:
    rules = sessions_counting.Rules(**vars(RULES), viewer_timeout_ms=1_000)
    closed = viewings.judged_events(enumerate(VIEWINGS), rules).closed
    return [viewings.summary_of(each, rules, "events", 0) for each in closed]


@pytest.fixture(params=[by_joins_and_leaves, by_viewer])
def expected(request: pytest.FixtureRequest) -> list[Summary]:
    made: list[Summary] = request.param()
    return made


def verdict_on(expected: list[Summary], got: list[Summary]) -> Verdict:
    verdict = Verdict()
    judge_summaries(verdict, expected, got)
    return verdict


def test_what_must_be_is_clean_in_any_order_of_streams(expected: list[Summary]) -> None:
    verdict = verdict_on(expected, sorted(expected, key=lambda each: each["stream_id"]))
    assert verdict.clean
    assert verdict.expected == len(expected) == 26
    assert not verdict.examples


def test_nothing_to_judge_is_not_clean() -> None:
    assert not verdict_on([], []).clean


def test_one_lost(expected: list[Summary]) -> None:
    verdict = verdict_on(expected, expected[:5] + expected[6:])
    assert verdict.counts == {"lost": 1}
    assert str(expected[5]["bucket_start_ms"]) in verdict.examples[0]
    assert not verdict.clean


def test_one_doubled(expected: list[Summary]) -> None:
    assert verdict_on(expected, [*expected[:6], *expected[5:]]).counts == {"duplicated": 1}


def test_one_doubled_later_is_out_of_order_too(expected: list[Summary]) -> None:
    assert verdict_on(expected, [*expected, expected[0]]).counts == {"duplicated": 1, "disordered": 1}


@pytest.mark.parametrize("figure", ["peak_concurrent_viewers", "bitrate_sum_bps", "joins", "unique_viewers", "offset"])
def test_one_wrong(expected: list[Summary], figure: str) -> None:
    got = [*expected[:-1], expected[-1] | {figure: 1_000}]
    verdict = verdict_on(expected, got)
    assert verdict.counts == {"wrong": 1}
    assert f"{figure} is 1000, not {expected[-1][figure]}" in verdict.examples[0]


def test_one_that_was_not_to_be(expected: list[Summary]) -> None:
    got = [*expected, expected[-1] | {"bucket_start_ms": 1_000_000}]
    assert verdict_on(expected, got).counts == {"wrong": 1}


def test_two_swapped(expected: list[Summary]) -> None:
    ours = [number for number, each in enumerate(expected) if each["stream_id"] == "stream 1"]
    got = list(expected)
    got[ours[2]], got[ours[3]] = got[ours[3]], got[ours[2]]
    assert verdict_on(expected, got).counts == {"disordered": 1}


def test_dead_letters() -> None:
    first, second, third = (DeadLetterRecord(0, offset, "truncated") for offset in (3, 5, 8))
    verdict = Verdict()
    judge_letters(verdict, [first, second, third], [first, first, third._replace(reason="future")])
    assert verdict.counts == {"letters lost": 2, "letters duplicated": 1, "letters wrong": 1}
    assert verdict.letters == 3


def test_offsets_must_be_at_the_end() -> None:
    verdict = Verdict()
    judge_offsets(verdict, {0: 10, 1: 10, 2: 10, 3: 0}, {0: 10, 1: 9})
    assert verdict.counts == {"offsets behind": 2}
