import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.errors import UsageError
from consumer.simulate.batch import EventBatch, concatenate
from consumer.simulate.noise import Noise, NoiseRules
from consumer.windows.events import JOIN, LEAVE
from tests.simulate.audiences import MINUTE_MS, START_MS, audience, run, same, steps

ALL = NoiseRules(loss=0.02, leave_loss=0.1, duplicates=0.05, disorder=0.3, max_delay_ms=8_000, max_skew_ms=1_500)


@pytest.fixture(scope="module")
def events() -> EventBatch:
    return run(audience(viewers=2_000), steps(3 * MINUTE_MS, 10_000))


def through(rules: NoiseRules, events: EventBatch, seed: int = 3) -> EventBatch:
    noise = Noise(rules, seed)
    return concatenate([noise.apply(events, START_MS + 3 * MINUTE_MS), noise.rest()])


def close_to(share: float, of: int) -> float:
    """Within five standard deviations: a fixed seed stays inside, a wrong rate does not."""
    return 5 * math.sqrt(share * (1 - share) / of)


def test_without_noise_nothing_changes(events: EventBatch) -> None:
    assert same(through(NoiseRules(), events), events)


def test_one_seed_gives_the_same_arrivals_and_another_seed_others(events: EventBatch) -> None:
    assert same(through(ALL, events), through(ALL, events))
    assert not same(through(ALL, events), through(ALL, events, seed=4))


@settings(max_examples=15)
@given(st.lists(st.integers(1, 12_000), min_size=1, max_size=20))
def test_the_size_of_the_slices_changes_nothing(sizes: list[int]) -> None:
    ends = (START_MS + np.cumsum(sizes)).tolist()
    people, noise = audience(viewers=150), Noise(ALL, 3)
    sliced = concatenate([*(noise.apply(people.step(end), end) for end in ends), noise.rest()])
    others, once = audience(viewers=150), Noise(ALL, 3)
    assert same(sliced, concatenate([once.apply(others.step(ends[-1]), ends[-1]), once.rest()]))


def test_loss_removes_its_share(events: EventBatch) -> None:
    kept = through(NoiseRules(loss=0.1), events).size / events.size
    assert abs(kept - 0.9) < close_to(0.1, events.size)


def test_leave_loss_removes_only_leaves(events: EventBatch) -> None:
    out = through(NoiseRules(leave_loss=0.5), events)
    leaves = int((events.facts == LEAVE).sum())
    assert abs((out.facts == LEAVE).sum() / leaves - 0.5) < close_to(0.5, leaves)
    assert same(out.take(out.facts != LEAVE), events.take(events.facts != LEAVE))


def test_duplicates_add_their_share_and_arrive_after_the_original(events: EventBatch) -> None:
    out = through(NoiseRules(duplicates=0.2, max_delay_ms=2_000), events)
    assert abs(out.size / events.size - 1.2) < close_to(0.2, events.size)
    joins = out.take(out.facts == JOIN)
    viewers, counts = np.unique(joins.viewer, return_counts=True)
    twice = viewers[counts == 2]
    assert len(twice) > 50
    for viewer in twice[:50]:
        first, second = joins.take(joins.viewer == viewer).arrival_ms
        assert 0 <= second - first <= 2_000


def test_disorder_delays_its_share_by_at_most_the_limit(events: EventBatch) -> None:
    out = through(NoiseRules(disorder=0.25, max_delay_ms=4_000), events)
    delays = out.arrival_ms - out.timestamp_ms
    assert out.size == events.size
    assert delays.min() == 0
    assert 3_900 < delays.max() <= 4_000
    assert abs((delays > 0).mean() - 0.25) < close_to(0.25, events.size) + 0.001
    assert (np.diff(out.timestamp_ms) < 0).any()


def test_arrivals_are_ordered_by_arrival_time(events: EventBatch) -> None:
    noise = Noise(ALL, 3)
    out = concatenate([noise.apply(events, START_MS + 3 * MINUTE_MS), noise.rest()])
    assert (np.diff(out.arrival_ms) >= 0).all()


def test_no_event_arrives_before_its_time(events: EventBatch) -> None:
    noise = Noise(ALL, 3)
    middle = START_MS + 90_000
    before = noise.apply(events.take(events.timestamp_ms < middle), middle)
    assert before.arrival_ms.max() < middle
    later = noise.apply(events.take(events.timestamp_ms >= middle), START_MS + 3 * MINUTE_MS)
    assert later.arrival_ms.min() >= middle


def test_a_viewers_clock_error_is_constant_and_within_the_limit(events: EventBatch) -> None:
    out = through(NoiseRules(max_skew_ms=700), events)
    skew = out.timestamp_ms - events.timestamp_ms
    assert -700 <= skew.min() < -600
    assert 600 < skew.max() <= 700
    assert np.array_equal(out.arrival_ms, events.arrival_ms)
    for viewer in np.unique(events.viewer)[:100]:
        assert len(set(skew[events.viewer == viewer].tolist())) == 1


def test_memory_of_events_in_transit_is_freed(events: EventBatch) -> None:
    noise = Noise(ALL, 3)
    noise.apply(events, START_MS + 3 * MINUTE_MS)
    assert 0 < noise._underway.size < events.size
    noise.rest()
    assert noise._underway.size == 0


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: NoiseRules(loss=1.5), "loss"),
        (lambda: NoiseRules(duplicates=-0.1), "duplicates"),
        (lambda: NoiseRules(max_delay_ms=-1), "max_delay"),
        (lambda: NoiseRules(max_skew_ms=-5), "max_skew"),
    ],
)
def test_values_out_of_range_are_refused(make: Callable[[], NoiseRules], name: str) -> None:
    with pytest.raises(UsageError, match=name):
        make()
