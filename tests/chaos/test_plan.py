"""The plan follows from the seed alone, and is as long as was asked for."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.faults import BROKERS, NETWORK, PRODUCERS, plan
from tests.chaos.points import POINTS, Order, order
from tests.chaos.producer import EventSource

WORKERS = ["worker-0", "worker-1", "worker-2"]


@given(seed=st.integers(0, 2**32), length=st.integers(0, 300))
def test_the_same_seed_gives_the_same_faults(seed: int, length: int) -> None:
    made = plan(seed, length, WORKERS, list(POINTS))
    assert made == plan(seed, length, WORKERS, list(POINTS))
    assert made.keys() == {*WORKERS, BROKERS, NETWORK, PRODUCERS}
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
    one, other, third = EventSource(1, 2), EventSource(1, 2), EventSource(2, 2)
    steps = [(list(one.step()), list(other.step()), list(third.step())) for _ in range(100)]
    assert all(mine == yours for mine, yours, _ in steps)
    assert any(mine != theirs for mine, _, theirs in steps)
