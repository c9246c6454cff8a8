from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.errors import UsageError
from consumer.simulate.audience import HEARTBEAT_MS, LADDER_BPS, LONGEST_STALL_MS
from consumer.simulate.batch import EventBatch
from consumer.simulate.programme import OUTAGE_FIRST_MS, OUTAGE_LENGTH_MS, WARM_UP_MS, Cast
from consumer.windows.events import BITRATE, BUFFER, JOIN, LEAVE
from tests.simulate.audiences import MINUTE_MS, START_MS, audience, run, same, steps


def test_one_seed_gives_the_same_events_and_another_seed_others() -> None:
    ends = list(steps(2 * MINUTE_MS, 1_000))
    first = run(audience(seed=1), ends)
    assert first.size > 1_000
    assert same(first, run(audience(seed=1), ends))
    assert not same(first, run(audience(seed=2), ends))


@settings(max_examples=15)
@given(st.lists(st.integers(1, 7_000), min_size=1, max_size=30))
def test_the_size_of_the_steps_changes_nothing(sizes: list[int]) -> None:
    ends = START_MS + np.cumsum(sizes)
    stepped = audience(viewers=200)
    at_once = audience(viewers=200)
    assert same(run(stepped, ends.tolist()), at_once.step(int(ends[-1])))
    assert np.array_equal(stepped.present(), at_once.present())


def test_events_are_ordered_by_time_and_inside_their_step() -> None:
    one = audience()
    begin = START_MS
    for end in steps(3 * MINUTE_MS, 700):
        batch = one.step(end)
        assert (np.diff(batch.timestamp_ms) >= 0).all()
        assert ((batch.timestamp_ms >= begin) & (batch.timestamp_ms < end)).all()
        begin = end


def test_joins_minus_leaves_equal_the_true_count_until_an_outage() -> None:
    one = audience()
    balance = np.zeros(40, np.int64)
    for end in steps(OUTAGE_FIRST_MS, 5_000):
        batch = one.step(end)
        np.add.at(balance, batch.stream[batch.facts == JOIN], 1)
        np.subtract.at(balance, batch.stream[batch.facts == LEAVE], 1)
        assert np.array_equal(balance, one.present())
    assert balance.sum() > 300


def test_every_viewer_joins_reports_and_leaves_in_that_order_on_one_stream() -> None:
    batch = run(audience(), steps(OUTAGE_FIRST_MS, 10_000))
    lives: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for viewer, stream, kind, at in zip(
        batch.viewer.tolist(), batch.stream.tolist(), batch.facts.tolist(), batch.timestamp_ms.tolist(), strict=True
    ):
        lives[viewer].append((stream, kind, at))
    for events in lives.values():
        kinds = [kind for _, kind, _ in events]
        assert kinds[0] == JOIN
        assert kinds.count(JOIN) == 1
        assert LEAVE not in kinds[:-1]
        assert len({stream for stream, _, _ in events}) == 1


def test_heartbeats_come_every_thirty_seconds_starting_soon_after_the_join() -> None:
    batch = run(audience(), steps(OUTAGE_FIRST_MS, 10_000))
    joined = dict(zip(batch.viewer[batch.facts == JOIN].tolist(), batch.timestamp_ms[batch.facts == JOIN], strict=True))
    left = dict(zip(batch.viewer[batch.facts == LEAVE].tolist(), batch.timestamp_ms[batch.facts == LEAVE], strict=True))
    beats: dict[int, list[int]] = defaultdict(list)
    for viewer, at in zip(
        batch.viewer[batch.facts == BITRATE].tolist(), batch.timestamp_ms[batch.facts == BITRATE], strict=True
    ):
        beats[viewer].append(at)
    assert len(beats) > 300
    for viewer, times in beats.items():
        assert 500 <= times[0] - joined[viewer] < 2_000
        assert set(np.diff(times).tolist()) <= {HEARTBEAT_MS}
        end = left.get(viewer, START_MS + OUTAGE_FIRST_MS)
        assert 0 <= end - times[-1] <= HEARTBEAT_MS


def test_bitrates_are_steps_of_the_ladder_and_stalls_are_plausible() -> None:
    batch = run(audience(), steps(5 * MINUTE_MS, 10_000))
    bitrates = batch.bitrate_bps[batch.facts == BITRATE]
    nearest = np.abs(bitrates[:, np.newaxis] / LADDER_BPS - 1).min(axis=1)
    assert nearest.max() <= 0.0701
    stalls = batch.duration_ms[batch.facts == BUFFER]
    assert len(stalls) > 50
    assert (stalls >= 50).all()
    assert (stalls <= LONGEST_STALL_MS).all()
    assert not batch.bitrate_bps[batch.facts != BITRATE].any()
    assert not batch.duration_ms[batch.facts != BUFFER].any()


def test_popularity_falls_with_the_rank() -> None:
    one = audience(streams=200, viewers=20_000)
    one.step(START_MS + WARM_UP_MS + 5_000)
    channels = one.present()[~one.programme.is_event]
    assert channels[0] > 1.5 * channels[1]
    assert channels[:10].sum() > channels[10:60].sum() > 0
    assert 10_000 < one.present().sum() < 22_000


def test_a_live_event_fills_and_empties_at_its_end() -> None:
    one = audience(streams=10, viewers=5_000)
    event = int(np.argmax(one.programme.is_event))
    length = int(one.programme.length_ms[event])
    counts = []
    for end in steps(length + 2 * MINUTE_MS, MINUTE_MS):
        one.step(end)
        counts.append(int(one.present()[event]))
    summit = max(counts)
    assert summit > 300
    assert counts[0] < summit / 3
    assert counts[-1] < summit / 20


def test_an_outage_removes_a_region_half_of_it_silently_and_most_viewers_return_with_their_ids() -> None:
    one = audience(streams=40, viewers=8_000)
    one.step(START_MS + OUTAGE_FIRST_MS)
    before = one.present()
    region = one.programme.hit(START_MS + OUTAGE_FIRST_MS)
    assert 0 < region.sum() < len(region)
    out = one.step(START_MS + OUTAGE_FIRST_MS + OUTAGE_LENGTH_MS)
    during = one.present()
    back = one.step(START_MS + OUTAGE_FIRST_MS + OUTAGE_LENGTH_MS + 40_000)
    after = one.present()

    assert during[region].sum() < 0.45 * before[region].sum()
    assert during[~region].sum() > 0.9 * before[~region].sum()
    assert after[region].sum() > 1.5 * during[region].sum()
    with_leave = int(np.isin(out.stream[out.facts == LEAVE], np.flatnonzero(region)).sum())
    gone = int(before[region].sum() - during[region].sum())
    assert 0.3 < with_leave / gone < 0.75
    returned = back.viewer[(back.facts == JOIN) & region[back.stream]]
    with_leave_ids = out.viewer[out.facts == LEAVE]
    assert np.isin(with_leave_ids, returned).sum() > 100


def test_bitrates_fall_and_stalls_rise_in_an_outage() -> None:
    one = audience(streams=40, viewers=8_000)
    region = one.programme.hit(START_MS + OUTAGE_FIRST_MS)
    one.step(START_MS + OUTAGE_FIRST_MS - 30_000)
    calm = one.step(START_MS + OUTAGE_FIRST_MS)
    bad = one.step(START_MS + OUTAGE_FIRST_MS + OUTAGE_LENGTH_MS)

    def mean_bitrate(batch: EventBatch) -> float:
        return float(batch.bitrate_bps[(batch.facts == BITRATE) & region[batch.stream]].mean())

    def stalls(batch: EventBatch) -> int:
        return int(((batch.facts == BUFFER) & region[batch.stream]).sum())

    assert mean_bitrate(bad) < 0.8 * mean_bitrate(calm)
    assert stalls(bad) > 3 * stalls(calm)


def test_an_ad_break_causes_stalls() -> None:
    one = audience(streams=1, viewers=8_000)
    programme = one.programme
    one.step(START_MS + MINUTE_MS)
    stalls = {False: 0, True: 0}
    seconds = {False: 0, True: 0}
    for at in range(START_MS + MINUTE_MS, START_MS + 14 * MINUTE_MS, 1_000):
        batch = one.step(at + 1_000)
        if programme.hit(at)[0]:
            continue
        in_break = (at - START_MS + programme.offset_ms[0]) % programme.ad_period_ms[0] < programme.ad_length_ms[0]
        stalls[bool(in_break)] += int((batch.facts == BUFFER).sum())
        seconds[bool(in_break)] += 1
    assert seconds[True] >= 20
    assert stalls[True] / seconds[True] > 5 * stalls[False] / seconds[False]


def test_memory_grows_with_present_viewers_and_not_with_time() -> None:
    one = audience(streams=5, viewers=300)
    sizes = []
    for end in steps(45 * MINUTE_MS, 5 * MINUTE_MS):
        one.step(end)
        sizes.append(len(one._rows))
        assert len(one._back.at_ms) <= 600
    assert max(sizes) <= 2_048
    assert sum(batch.size for batch in one._ahead) == 0


@pytest.mark.parametrize("cast", [{"streams": 0}, {"viewers": 0}])
def test_an_empty_cast_is_refused(cast: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="must be from 1 to"):
        Cast(**cast)
