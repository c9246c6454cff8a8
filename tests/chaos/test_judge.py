"""The judge sees what is not as it must be, and names it."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from tests.chaos.counting import Summary
from tests.chaos.judge import (
    NONE,
    DeadLetterRecord,
    Interventions,
    Published,
    Stop,
    Verdict,
    judge_dead_letters,
    judge_offsets,
    judge_stops,
    judge_summaries,
    must_be_published,
)
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


def verdict_on(expected: list[Summary], got: list[Summary], interventions: Interventions = NONE) -> Verdict:
    verdict = Verdict()
    judge_summaries(verdict, expected, (Published(0, each) for each in got), interventions)
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
    judge_dead_letters(verdict, [first, second, third], [first, first, third._replace(reason="future")])
    assert verdict.counts == {"dead letters lost": 2, "dead letters duplicated": 1, "dead letters wrong": 1}
    assert verdict.dead_letters == 3


def test_offsets_must_be_at_the_end() -> None:
    verdict = Verdict()
    judge_offsets(verdict, {0: 10, 1: 10, 2: 10, 3: 0}, {0: 10, 1: 9})
    assert verdict.counts == {"offsets behind": 2}


def test_where_the_output_has_grown_a_stream_moves_without_an_order(expected: list[Summary]) -> None:
    verdict = Verdict()
    ours = [each for each in expected if each["stream_id"] == "stream 1"]
    judge_summaries(
        verdict, ours, [*(Published(1, each) for each in ours[4:]), *(Published(0, each) for each in ours[:4])]
    )
    assert verdict.clean


class Written:
    """A record of the input, as far as the judge looks."""

    def __init__(self, offset: int, event: sessions_counting.Event) -> None:
        self._offset = offset
        self._event = event

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes:
        return viewings.encoded(self._event)

    def headers(self) -> None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return TIMESTAMP_NOT_AVAILABLE, -1


RECORDS: Any = [Written(offset, event) for offset, event in enumerate(VIEWINGS)]
RESET_AT = 47
"""In the middle of the sixth second."""


def expect(records: Iterable[Message], topic: str, partition: int) -> Iterator[Summary]:
    rules = sessions_counting.Rules(**vars(RULES), viewer_timeout_ms=1_000)
    for closed in viewings.judged(records, rules).closed:
        yield viewings.summary_of(closed, rules, topic, partition)


def test_a_reset_drops_open_buckets_and_counts_anew() -> None:
    resets = Interventions(resets={0: [RESET_AT]})
    expected = list(must_be_published({0: RECORDS}, "events", expect, resets))
    before = [each for each in expected if each["offset"] < RESET_AT]
    behind = [each for each in expected if each["offset"] >= RESET_AT]
    assert before == list(expect(RECORDS[:RESET_AT], "events", 0))
    assert behind == list(expect(RECORDS[RESET_AT:], "events", 0))
    assert verdict_on(expected, expected, resets).clean
    whole = list(must_be_published({0: RECORDS}, "events", expect))
    assert verdict_on(expected, whole, resets).counts["wrong"]


def test_only_a_reset_may_publish_a_bucket_once_more() -> None:
    (summary, *_) = expect(RECORDS, "events", 0)
    again = summary | {"offset": RESET_AT}
    resets = Interventions(resets={0: [RESET_AT]})
    assert verdict_on([summary, again], [summary, again], resets).clean
    assert not verdict_on([summary], [summary, again]).clean


def test_deleted_records_count_as_if_they_were_there() -> None:
    deleted = Interventions(deleted={0: {each.offset(): each for each in RECORDS[:20]}})
    assert deleted.with_deleted({0: RECORDS[15:], 1: []}) == {0: RECORDS, 1: []}


def test_a_partition_stops_only_where_it_must_and_for_the_reason_that_is_meant() -> None:
    meant = Interventions(stops=[Stop(3, "the journal is not JSON")])
    verdict = Verdict()
    said = "partition 3: the journal is not JSON: look at it"
    judge_stops(verdict, [Stop(3, said), Stop(3, "partition 3: gone"), Stop(4, said)], meant)
    assert verdict.counts == {"partitions stopped": 2}
