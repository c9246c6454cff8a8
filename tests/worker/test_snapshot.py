"""The snapshots that the loop publishes."""

from consumer.worker.loop import SHOW_EVERY_S
from tests.intake.payloads import bitrate
from tests.worker.rig import Rig

SHOW_S = 1.0


def shown(rig: Rig) -> dict[str, int]:
    return {each.stream_id: each.concurrent_viewers for each in rig.board.latest().streams}


def test_the_largest_streams_are_shown_and_the_others_are_a_number() -> None:
    rig = Rig(partitions=2, max_stream_series=3).start()
    for partition in (0, 1):
        for viewers in range(1, 5):
            for _ in range(viewers):
                rig.join(0, partition, f"{partition}-{viewers}")
    rig.turn(SHOW_S)
    assert list(shown(rig).items()) == [("0-4", 4), ("1-4", 4), ("0-3", 3)]
    assert rig.board.latest().streams_left_out == 5


def test_a_stream_of_two_partitions_is_shown_once_with_the_sum_of_viewers() -> None:
    rig = Rig(partitions=2).start()
    for partition in (0, 1):
        rig.join(0, partition, "both")
        rig.join(0, partition, f"only {partition}")
    rig.join(0, 1, "both")
    rig.turn(SHOW_S)
    assert shown(rig) == {"both": 3, "only 0": 1, "only 1": 1}
    assert rig.board.latest().streams_left_out == 0


def test_partitions_are_shown_with_position_and_contents() -> None:
    rig = Rig(partitions=2).start()
    rig.join(0, 1)
    rig.join(0, 1, "t")
    rig.join(1, 1)
    rig.turn(SHOW_S)
    idle, busy = rig.board.latest().partitions
    assert (idle.partition, idle.next_offset, idle.end_offset, idle.time_lag_s) == (0, 0, 0, None)
    assert (busy.partition, busy.next_offset, busy.end_offset) == (1, 3, 3)
    assert (busy.streams, busy.buckets, busy.viewers) == (2, 3, 3)
    assert busy.time_lag_s == SHOW_S
    assert busy.state_bytes > 0


def test_snapshots_are_published_at_intervals() -> None:
    rig = Rig().start()
    rig.turn(SHOW_EVERY_S)
    first = rig.board.latest()
    rig.turn(SHOW_EVERY_S / 2)
    assert rig.board.latest() is first
    rig.turn(SHOW_EVERY_S / 2)
    assert rig.board.latest() is not first
    assert rig.board.last_tick_s == rig.clock.now_s


def test_health_follows_start_assignment_and_end() -> None:
    rig = Rig()
    assert rig.board.latest().health.missing() == ("producer ready", "assigned", "restored")
    rig.start().turn(SHOW_S)
    assert rig.board.latest().health.ready
    rig.input.revoke(0)
    rig.turn(SHOW_S)
    assert rig.board.latest().health.missing() == ("assigned",)
    rig.worker.stop()
    assert not rig.board.latest().health.ready
    assert rig.board.latest().health.reason == "stopping"


def test_closed_buckets_outside_the_window_are_not_shown() -> None:
    rig = Rig().start()
    rig.write(bitrate(5_000, timestamp_ms=1))
    rig.turn(SHOW_S)
    (before,) = rig.board.latest().streams
    assert (before.window_bitrate_samples, before.window_bitrate_max_bps) == (1, 5_000)
    rig.join(50)
    rig.turn(SHOW_S)
    (after,) = rig.board.latest().streams
    assert (after.window_bitrate_samples, after.window_bitrate_max_bps) == (0, 0)
