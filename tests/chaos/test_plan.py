"""The plan follows from the seed alone, and is as long as was asked for."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos import journals
from tests.chaos.__main__ import _arguments, _options
from tests.chaos.faults import (
    BROKERS,
    BUSY_PARTITIONS,
    CLOCKS,
    GROWTH,
    JOURNALS,
    LONE_PARTITION,
    POISONS,
    RETENTION,
    SHARES,
    plan,
)
from tests.chaos.points import POINTS, Order, order
from tests.chaos.producer import PartitionEvents

WORKERS = ["worker-0", "worker-1", "worker-2"]


@given(seed=st.integers(0, 2**32), length=st.integers(0, 300))
def test_the_same_seed_gives_the_same_faults(seed: int, length: int) -> None:
    made = plan(seed, length, WORKERS, list(POINTS))
    assert made == plan(seed, length, WORKERS, list(POINTS))
    assert made.keys() == {*WORKERS, *SHARES} - {"workers"}
    assert sum(map(len, made.values())) == length


def test_another_seed_gives_others() -> None:
    assert plan(1, 20, WORKERS, list(POINTS)) != plan(2, 20, WORKERS, list(POINTS))


def test_all_points_come_in_turn() -> None:
    lane = plan(1, 600, WORKERS, list(POINTS))["worker-1"]
    names = [fault.point.name for fault in lane if fault.point is not None]
    assert Counter(names[: len(POINTS)]) == dict.fromkeys(POINTS, 1)


def test_only_the_points_that_were_asked_for() -> None:
    lanes = plan(1, 200, WORKERS, ["after_commit"])
    points = [fault.point for lane in lanes.values() for fault in lane if fault.point is not None]
    assert {point.name for point in points} == {"after_commit"}
    assert {point.stop for point in points} == {True, False}


def test_an_order_reads_as_it_is_written() -> None:
    for wanted in (Order("after_commit", 3), Order("after_poll", 1, stop=True)):
        assert order(str(wanted)) == wanted


def test_the_same_seed_gives_the_same_events() -> None:
    one, other, third = PartitionEvents(1, 2), PartitionEvents(1, 2), PartitionEvents(2, 2)
    steps = [(list(one.step()), list(other.step()), list(third.step())) for _ in range(100)]
    assert all(mine == yours for mine, yours, _ in steps)
    assert any(mine != theirs for mine, _, theirs in steps)


def test_a_short_plan_has_one_of_each_lane() -> None:
    assert all(plan(1, 20, WORKERS, list(POINTS)).values())


def test_only_the_lanes_that_were_asked_for() -> None:
    assert {
        lane: len(faults) for lane, faults in plan(1, 9, WORKERS, list(POINTS), ["workers"]).items()
    } == dict.fromkeys(WORKERS, 3)
    made = plan(1, 10, WORKERS, list(POINTS), [GROWTH, JOURNALS])
    assert {lane: len(faults) for lane, faults in made.items()} == {GROWTH: 5, JOURNALS: 5}


def test_the_other_lanes_have_the_same_faults_whatever_is_asked_for_beside_them() -> None:
    alone = plan(1, 6, WORKERS, list(POINTS), [CLOCKS])[CLOCKS]
    beside = plan(1, 60, WORKERS, list(POINTS))[CLOCKS]
    assert list(alone[: len(beside)]) == list(beside[: len(alone)])


def test_brokers_are_stopped_killed_frozen_and_one_partition_has_no_leader() -> None:
    lane = plan(1, 40, WORKERS, list(POINTS), [BROKERS])[BROKERS]
    assert Counter(fault.kind for fault in lane) == {"stop": 8, "kill": 8, "freeze": 16, "leaderless": 8}
    assert {fault.partition for fault in lane if fault.kind == "leaderless"} == {LONE_PARTITION}
    assert max(fault.for_s for fault in lane) > 20


def test_journals_are_replaced_in_every_way_but_not_where_a_reset_may_find_no_leader() -> None:
    lane = plan(1, 40, WORKERS, list(POINTS), [JOURNALS])[JOURNALS]
    assert {fault.poison for fault in lane} == set(POISONS) == journals.POISONS.keys()
    assert {fault.partition for fault in lane} == set(BUSY_PARTITIONS) - {LONE_PARTITION}
    assert {fault.dirty for fault in lane} == {True, False}


def test_clocks_go_both_ways_and_retention_has_each_kind() -> None:
    lanes = plan(1, 80, WORKERS, list(POINTS), [CLOCKS, RETENTION])
    assert min(fault.shift_s for fault in lanes[CLOCKS]) < 0 < max(fault.shift_s for fault in lanes[CLOCKS])
    assert {fault.kind for fault in lanes[RETENTION]} == {"trim", "trim stopped", "trim uncounted"}


def test_the_options_said_by_a_failing_run_give_the_same_run() -> None:
    options = _options(["--seed", "3", "--length", "12", "--lanes", "clocks,bursts", "--counting", "events"])
    assert vars(_options(_arguments(options).split())) == vars(options)


def test_a_lane_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _options(["--lanes", "clocks,weather"])
    assert "there is no weather; choose from workers" in capsys.readouterr().err
