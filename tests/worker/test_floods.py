"""Floods of ids that come once: they stay within the limits, which count in record order."""

import pytest

from consumer.observe.snapshot import PartitionStatus
from tests.intake.payloads import bitrate, confluent, join
from tests.worker.rig import BUCKET_MS, Rig

TURN_S = 1.0
"""Snapshots are not made more often."""

BATCHES = pytest.mark.parametrize("at_once", [97, 1_000])
"""The batch size: results at a limit must not depend on it."""


def stats(rig: Rig) -> PartitionStatus:
    (partition,) = rig.board.latest().partitions
    return partition


def flood(rig: Rig, payloads: list[bytes], at_once: int) -> list[PartitionStatus]:
    """Write them, a number per turn; return what the partition held after each turn."""
    held = []
    for begin in range(0, len(payloads), at_once):
        for payload in payloads[begin : begin + at_once]:
            rig.write(payload)
        rig.turn(TURN_S)
        held.append(stats(rig))
    assert held[-1].next_offset == len(payloads), "all records are processed"
    return held


@BATCHES
def test_one_off_streams_beyond_the_limit_are_rejected_in_record_order_and_use_no_memory(at_once: int) -> None:
    most = 50
    rig = Rig(max_streams=most).start()
    one_off = [join(f"once-{number:04d}-{'x' * 200}", timestamp_ms=1) for number in range(4_000)]
    known = join("once-0000-" + "x" * 200, timestamp_ms=1)
    # Every second record is an event of a known stream, so that the breaker stays closed.
    held = flood(rig, [each for payload in one_off for each in (payload, known)], at_once)

    assert rig.dead_letters() == [confluent(payload) for payload in one_off[most:]]
    assert rig.counted("rejects_total", reason="stream_limit") == len(one_off) - most
    assert rig.counted("events_total", type="join") == len(one_off) + most
    assert {each.streams for each in held[4:]} == {most}
    assert len({each.state_bytes for each in held[4:]}) == 1, "ids beyond the limit use no memory"


@BATCHES
def test_one_off_viewers_beyond_the_limit_are_untracked_in_record_order_and_use_no_memory(at_once: int) -> None:
    """
    time    0 ················· 1000 ····· 2001
    first   o (most of them)                    tracked: unique, at the peak
    others    o (all the rest)                  untracked, their bitrates count
    again       o (the first)                   still tracked: they are held
    last                               o        closes both buckets
    """
    most, count = 100, 5_000
    rig = Rig(counting="sessions", max_viewers=most, viewer_timeout_ms=BUCKET_MS).start()
    once = [bitrate(1_000, 1, viewer_id=f"once-{number}") for number in range(count)]
    again = [bitrate(1_000, 3, viewer_id=f"once-{number}") for number in range(most)]
    held = flood(rig, [*once, *again], at_once)
    rig.write(bitrate(1_000, 2 * BUCKET_MS + 1, viewer_id="last"))
    rig.turn(TURN_S, times=2)

    summary = rig.summaries()[0]
    assert (summary["unique_viewers"], summary["peak_concurrent_viewers"]) == (most, most)
    assert summary["untracked_events"] == count - most
    assert (summary["bitrate_sample_count"], summary["bitrate_sum_bps"]) == (count + most, 1_000 * (count + most))
    assert rig.counted("untracked_events_total") == count - most
    assert {each.viewers_held for each in held[1:]} == {most}
    assert len({each.state_bytes for each in held[2 : count // at_once]}) == 1, "ids beyond the limit use no memory"


@BATCHES
def test_waves_of_one_off_viewers_reuse_the_memory_of_the_first(at_once: int) -> None:
    most, waves, count = 100, 12, 1_000
    rig = Rig(counting="sessions", max_viewers=most, viewer_timeout_ms=BUCKET_MS).start()
    held = flood(
        rig,
        [
            bitrate(1_000, wave * BUCKET_MS, viewer_id=f"{wave}-{number}")
            for wave in range(waves)
            for number in range(count)
        ],
        at_once,
    )
    closed = rig.summaries()
    assert len(closed) == waves - 2, "a bucket is closed once time is past its end"
    assert all(each["untracked_events"] >= count - most for each in closed)
    assert all(each["unique_viewers"] <= most for each in closed)
    assert max(each.viewers_held for each in held) == most
    half = len(held) // 2
    assert max(each.state_bytes for each in held) == max(each.state_bytes for each in held[:half])


@BATCHES
def test_activities_of_one_viewer_beyond_the_limit_are_untracked_and_use_no_memory(at_once: int) -> None:
    most, count = 8, BUCKET_MS
    rig = Rig(counting="sessions", max_events_per_viewer_bucket=most, viewer_timeout_ms=BUCKET_MS).start()
    held = flood(rig, [bitrate(1_000, timestamp_ms) for timestamp_ms in range(count)], at_once)
    rig.write(bitrate(1_000, 2 * BUCKET_MS + 1))
    rig.turn(TURN_S, times=2)

    summary = rig.summaries()[0]
    assert (summary["untracked_events"], summary["bitrate_sample_count"]) == (count - most, count)
    assert rig.counted("untracked_events_total") == count - most
    assert {each.activities_held for each in held} == {most}
