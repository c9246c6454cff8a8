import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from consumer.observe.snapshot import Health, SnapshotBoard, StreamStatus, busiest, merge_streams
from tests.observe.samples import READY, snapshot, stream


def test_before_the_first_snapshot_nothing_is_ready_or_shown() -> None:
    board = SnapshotBoard(5.0)
    assert board.latest().streams == ()
    assert not board.latest().health.ready
    assert board.latest().health.reason == "starting"
    assert board.last_tick_s == 5.0


def test_readers_see_the_newest_snapshot_and_tick() -> None:
    board = SnapshotBoard(0.0)
    newest = snapshot(stream("b"))
    board.publish(snapshot(stream("a")))
    board.publish(newest)
    board.tick(7.0)
    assert board.latest() is newest
    assert board.last_tick_s == 7.0


@pytest.mark.parametrize(
    ("health", "missing"),
    [
        (READY, ()),
        (Health(), ("producer ready", "assigned", "restored")),
        (Health(assigned=True, restored=True, producer_ready=True, breaker_closed=False), ("breaker closed",)),
        (Health(assigned=True, restored=True, producer_ready=True, commits_succeed=False), ("commits succeed",)),
        (Health(assigned=True, restored=False, producer_ready=True), ("restored",)),
    ],
)
def test_health_names_what_is_missing(health: Health, missing: tuple[str, ...]) -> None:
    assert health.missing() == missing
    assert health.ready == (missing == ())


def test_the_busiest_come_first_and_the_rest_is_counted() -> None:
    stats = [stream("small", 1), stream("big", 9), stream("also-big", 9), stream("middle", 5)]
    shown, left_out = busiest(stats, 3)
    assert [one.stream_id for one in shown] == ["also-big", "big", "middle"]
    assert left_out == 1
    assert busiest(stats, 10)[1] == 0
    assert busiest(stats, 0) == ((), 4)


def test_a_stream_over_two_partitions_is_shown_once() -> None:
    one = StreamStatus("s", 3, 5, 2, 100.0, 50, 150, 1, 400, 10_000)
    other = StreamStatus("s", 4, 6, 6, 500.0, 400, 600, 2, 100, 20_000)
    assert merge_streams([one, stream("t", 1), other]) == [
        StreamStatus("s", 7, 11, 8, 400.0, 50, 600, 3, 500, 20_000),
        stream("t", 1),
    ]


def test_a_part_without_samples_leaves_the_bitrates_alone() -> None:
    sampled = stream(
        "s", window_bitrate_samples=2, window_bitrate_avg_bps=9.0, window_bitrate_min_bps=8, window_bitrate_max_bps=10
    )
    (merged,) = merge_streams([stream("s"), sampled])
    assert merged == sampled


samples = st.lists(st.integers(0, 2**41), max_size=6)


def of_samples(values: list[int]) -> StreamStatus:
    if not values:
        return stream("s")
    return stream(
        "s",
        window_bitrate_samples=len(values),
        window_bitrate_avg_bps=sum(values) / len(values),
        window_bitrate_min_bps=min(values),
        window_bitrate_max_bps=max(values),
    )


@settings(max_examples=100)
@given(st.lists(samples, min_size=1, max_size=4))
def test_merged_bitrates_are_those_of_all_samples_together(parts: list[list[int]]) -> None:
    (merged,) = merge_streams(map(of_samples, parts))
    whole = of_samples([value for part in parts for value in part])
    assert merged.window_bitrate_avg_bps == pytest.approx(whole.window_bitrate_avg_bps)
    assert merged._replace(window_bitrate_avg_bps=0.0) == whole._replace(window_bitrate_avg_bps=0.0)
