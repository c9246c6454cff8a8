"""The clock of a quiet partition, drawn as timelines, and against a judge that sums idle time."""

from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from consumer.worker.idleness import IdleClock

IDLE_MS = 30_000
BUCKET_MS = 10_000
TIME_MS = 1_004_000
"""Partition time at the last record: 6 s before the next bucket."""
NEXT = 7
"""Offset of the next record, which has not arrived."""


def poll(clock: IdleClock, ms: float, each_ms: float = 100) -> None:
    """Poll for this much idle time, in polls of this length."""
    for _ in range(round(ms / each_ms)):
        clock.polled(each_ms)


def quiet_for(ms: float) -> IdleClock:
    clock = IdleClock(IDLE_MS, BUCKET_MS)
    poll(clock, ms)
    return clock


def test_time_stands_still_for_partition_idle_ms_and_then_moves_bucket_by_bucket_at_the_clocks_pace() -> None:
    #  idle      0 ──────────── 30 s ──── 36 s ─────────────── 46 s
    #  time      1004 ──────────────────► 1010 ──────────────► 1020
    clock = quiet_for(35_900)
    clock.answered(NEXT, NEXT)
    assert clock.step(TIME_MS) is None
    poll(clock, 100)
    clock.answered(NEXT, NEXT)
    assert clock.step(TIME_MS) == 1_010_000
    poll(clock, 9_900)
    clock.answered(NEXT, NEXT)
    assert clock.step(1_010_000) is None
    poll(clock, 100)
    clock.answered(NEXT, NEXT)
    assert clock.step(1_010_000) == 1_020_000


def test_buckets_shorter_than_the_query_interval_are_passed_in_one_step() -> None:
    #  idle      0 ──── 30 s ──── 32.5 s
    #  time      1004 ──────────► 1006
    clock = IdleClock(IDLE_MS, 1_000)
    poll(clock, 32_500)
    clock.answered(NEXT, NEXT)
    assert clock.step(TIME_MS) == 1_006_000


def test_time_below_zero_moves_to_the_next_bucket_start_too() -> None:
    #  idle      0 ──── 30 s ──── 34 s
    #  time      -4 s ──────────► 0 s
    clock = quiet_for(34_000)
    clock.answered(NEXT, NEXT)
    assert clock.step(-4_000) == 0


def test_each_step_needs_an_answer_of_its_own() -> None:
    #  idle      ──── 36 s ──────────────── 46 s
    #  answer         1    step    (none)   no step    2    step
    clock = quiet_for(36_000)
    assert clock.step(TIME_MS) is None
    clock.answered(NEXT, NEXT)
    assert clock.step(TIME_MS) == 1_010_000
    assert clock.step(1_010_000) is None
    poll(clock, 10_000)
    assert clock.step(1_010_000) is None
    clock.answered(NEXT, NEXT)
    assert clock.step(1_010_000) == 1_020_000


def test_an_answer_is_invalid_after_the_next_poll() -> None:
    #  idle      ──── 36 s ──── poll ────
    #  answer         1                  no step
    clock = quiet_for(36_000)
    clock.answered(NEXT, NEXT)
    clock.polled(1)
    assert clock.step(TIME_MS) is None
    assert clock.wants_query(TIME_MS)


def test_a_record_restarts_idle_time_from_the_current_time() -> None:
    #  idle      ──── 36 s ── record ── 30 s ──── 31 s ──── 40 s
    #  time      1010 ───────  1019  ────────────► 1020 ───► (1029)
    clock = quiet_for(36_000)
    clock.answered(NEXT, NEXT)
    assert clock.step(TIME_MS) == 1_010_000
    clock.record_seen()
    poll(clock, 30_900)
    clock.answered(NEXT + 1, NEXT + 1)
    assert clock.step(1_019_000) is None
    poll(clock, 100)
    clock.answered(NEXT + 1, NEXT + 1)
    assert clock.step(1_019_000) == 1_020_000
    poll(clock, 9_000)
    clock.answered(NEXT + 1, NEXT + 1)
    assert clock.step(1_020_000) is None


def test_a_stopped_process_counts_one_second() -> None:
    #  idle      ──── 20 s ──── stopped for an hour ──── 21 s
    clock = quiet_for(20_000)
    clock.polled(3_600_000)
    clock.answered(NEXT, NEXT)
    assert clock.step(TIME_MS) is None
    assert not clock.wants_query(TIME_MS)
    poll(clock, 14_900)
    clock.answered(NEXT, NEXT)
    assert clock.step(TIME_MS) is None
    poll(clock, 100)
    clock.answered(NEXT, NEXT)
    assert clock.step(TIME_MS) == 1_010_000


def test_a_clock_that_goes_back_counts_nothing() -> None:
    clock = quiet_for(35_900)
    clock.polled(-5_000)
    poll(clock, 100)
    clock.answered(NEXT, NEXT)
    assert clock.step(TIME_MS) == 1_010_000


def test_unavailable_brokers_restart_idle_time() -> None:
    #  idle      ──── 36 s ── no answer ── 0 ──── 36 s
    #  time      1004 ──────────────────────────► 1010
    clock = quiet_for(36_000)
    clock.answered(None, NEXT)
    poll(clock, 35_900)
    clock.answered(NEXT, NEXT)
    assert clock.step(TIME_MS) is None
    poll(clock, 100)
    clock.answered(NEXT, NEXT)
    assert clock.step(TIME_MS) == 1_010_000


def test_unread_records_restart_idle_time() -> None:
    clock = quiet_for(36_000)
    clock.answered(NEXT + 3, NEXT)
    clock.answered(NEXT + 3, NEXT + 3)
    assert clock.step(TIME_MS) is None


def test_an_end_before_the_read_position_is_not_trusted() -> None:
    clock = quiet_for(36_000)
    clock.answered(NEXT - 1, NEXT)
    clock.answered(NEXT, NEXT)
    assert clock.step(TIME_MS) is None


def test_end_offsets_are_queried_after_a_second_then_every_five_and_when_a_step_is_due() -> None:
    #  idle      0 ── 1 s ─────── 6 s ── … ── 31 s ───────── 36 s ─────── 41 s ──── 46 s
    #  query           ?           ?      …    ?              ? step       ?         ? step
    clock, time_ms, asked_at_ms = IdleClock(IDLE_MS, BUCKET_MS), TIME_MS, []
    for idle_ms in range(100, 46_100, 100):
        clock.polled(100)
        if clock.wants_query(time_ms):
            asked_at_ms.append(idle_ms)
            clock.answered(NEXT, NEXT)
            time_ms = clock.step(time_ms) or time_ms
    assert asked_at_ms == [1_000, 6_000, 11_000, 16_000, 21_000, 26_000, 31_000, 36_000, 41_000, 46_000]
    assert time_ms == 1_020_000


def test_when_a_step_is_due_the_end_offset_is_queried_at_once() -> None:
    #  idle      31.9 s        36 s
    #  query     ?             ?      4.1 s later
    clock = quiet_for(31_900)
    clock.answered(NEXT, NEXT)
    poll(clock, 4_000)
    assert not clock.wants_query(TIME_MS)
    poll(clock, 100)
    assert clock.wants_query(TIME_MS)
    clock.answered(NEXT, NEXT)
    assert not clock.wants_query(TIME_MS)


def test_a_query_without_an_answer_stays_wanted() -> None:
    clock = quiet_for(1_000)
    assert clock.wants_query(TIME_MS)
    clock.polled(100)
    assert clock.wants_query(TIME_MS)


def test_a_partition_with_rare_records_is_queried_at_most_every_five_seconds() -> None:
    #  records   r         r         r         r         r
    #  query        ?                          ?              every 5 s of idle time, one second after a record
    clock, asked_at_ms = IdleClock(IDLE_MS, BUCKET_MS), []
    for at_ms in range(0, 20_000, 100):
        clock.polled(100)
        if at_ms % 2_000 == 0:
            clock.record_seen()
        elif clock.wants_query(TIME_MS):
            asked_at_ms.append(at_ms)
            clock.answered(NEXT, NEXT)
    assert asked_at_ms
    assert min(b - a for a, b in pairwise(asked_at_ms)) >= 5_000


def test_unavailable_brokers_are_queried_at_most_every_five_seconds() -> None:
    clock, asked_at_ms = IdleClock(IDLE_MS, BUCKET_MS), []
    for at_ms in range(0, 20_000, 100):
        clock.polled(100)
        if clock.wants_query(TIME_MS):
            asked_at_ms.append(at_ms)
            clock.answered(None, NEXT)
    assert asked_at_ms == [900, 5_900, 10_900, 15_900]


@dataclass
class Judge:
    """Sums idle time since the last event that restarted it, and knows whether there is a valid answer."""

    idle_ms: int = 0
    ran_ms: int = 0
    at_end: bool = False
    counted_ms: int = 0
    ran_in_all_ms: int = 0

    def anew(self) -> None:
        self.idle_ms = self.ran_ms = 0
        self.at_end = False

    def polled(self, elapsed_ms: int) -> None:
        counted = sorted((0, elapsed_ms, 1_000))[1]
        self.idle_ms += counted
        self.counted_ms += counted
        self.at_end = False

    def may_run_ms(self, partition_idle_ms: int) -> int:
        return max(0, self.idle_ms - partition_idle_ms)


happenings = st.one_of(
    st.tuples(st.just("poll"), st.integers(-10, 5_000)),
    st.tuples(st.just("polls"), st.integers(1, 80)),
    st.tuples(st.just("record"), st.integers(0, 40_000)),
    st.tuples(st.just("answer"), st.sampled_from([None, -1, 0, 0, 0, 0, 0, 1])),
    st.tuples(st.just("answer if wanted"), st.just(0)),
)


@given(
    st.lists(happenings, max_size=60),
    st.integers(1, 20_000),
    st.integers(1, 15_000),
    st.integers(-(2**52), 2**52),
)
def test_time_advances_at_most_by_the_idle_polls_beyond_partition_idle_ms(
    story: list[tuple[str, int | None]], partition_idle_ms: int, bucket_ms: int, time_ms: int
) -> None:
    clock, judge = IdleClock(partition_idle_ms, bucket_ms), Judge()
    for what, value in story:
        if what == "poll" and value is not None:
            clock.polled(value)
            judge.polled(value)
        elif what == "polls" and value is not None:
            for _ in range(value):
                clock.polled(250)
                judge.polled(250)
        elif what == "record" and value is not None:
            clock.record_seen()
            judge.anew()
            time_ms += value
        elif what == "answer" or clock.wants_query(time_ms):
            clock.answered(None if value is None else NEXT + value, NEXT)
            if value == 0:
                judge.at_end = True
            else:
                judge.anew()
        to_ms = clock.step(time_ms)
        reached_ms = time_ms + judge.may_run_ms(partition_idle_ms) - judge.ran_ms
        if not judge.at_end or reached_ms // bucket_ms == time_ms // bucket_ms:
            assert to_ms is None
            continue
        assert to_ms == reached_ms - reached_ms % bucket_ms
        judge.ran_ms += to_ms - time_ms
        judge.ran_in_all_ms += to_ms - time_ms
        judge.at_end = False
        time_ms = to_ms
        assert judge.ran_ms <= judge.may_run_ms(partition_idle_ms)
        assert judge.ran_in_all_ms <= judge.counted_ms - partition_idle_ms


@given(st.lists(st.integers(0, 1_000), min_size=200, max_size=400), st.integers(1, 20_000), st.integers(1, 15_000))
def test_a_quiet_partition_follows_the_clock_if_its_queries_are_answered(
    polls_ms: list[int], partition_idle_ms: int, bucket_ms: int
) -> None:
    clock, time_ms = IdleClock(partition_idle_ms, bucket_ms), TIME_MS
    for poll_ms in polls_ms:
        clock.polled(poll_ms)
        if clock.wants_query(time_ms):
            clock.answered(NEXT, NEXT)
            time_ms = clock.step(time_ms) or time_ms
    reached_ms = TIME_MS + max(0, sum(polls_ms) - partition_idle_ms)
    assert time_ms == max(TIME_MS, reached_ms // bucket_ms * bucket_ms)
