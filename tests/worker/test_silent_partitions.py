"""A partition without new records: the clock advances its time, the steps are journalled, and a kill changes nothing.

```
    clock      0 s ─── 2 s ──────────────────── 32 s ─── 33 s ─── …
    records    │ last one
    time       └ stands where the record left it ┘ runs on, a bucket at a time
```
"""

from consumer.settings.model import CommitSettings
from consumer.state.journal import decoded
from consumer.state.keys import JOURNAL
from tests.worker.rig import BUCKET_MS, Rig

IDLE_S = 30
STREAM_IDLE_S = 3
NO_CHECKPOINTS = CommitSettings(checkpoint_interval_ms=86_400_000)
"""Except the first, so that everything is in the journal."""


def quiet_rig(partitions: int = 1) -> Rig:
    """Grace is 0 and stream_idle_ms is three seconds, so bucket 1 is finished when partition time is past 5 s."""
    rig = Rig(
        partitions, commit=NO_CHECKPOINTS, stream_idle_ms=STREAM_IDLE_S * 1000, partition_idle_ms=IDLE_S * 1000
    ).start()
    rig.join(0)
    rig.join(1)
    rig.turn(0.5)
    return rig


def pass_s(rig: Rig, seconds: int) -> None:
    """Poll every half second, as if there were nothing to read."""
    rig.turn(0.5, times=2 * seconds)


def steps(rig: Rig) -> list[tuple[int, int]]:
    newest = [each.value or b"" for each in rig.states() if each.key == JOURNAL][-1]
    return [(step.before_offset, step.to_ms) for step in decoded(newest).journal.steps]


def test_its_last_buckets_are_published() -> None:
    rig = quiet_rig()
    pass_s(rig, IDLE_S)
    assert rig.buckets() == [0]
    pass_s(rig, STREAM_IDLE_S + 4)
    assert rig.buckets() == [0, 1]
    last = rig.summaries()[-1]
    assert (last["close_reason"], last["offset"]) == ("PARTITION_IDLE", 2)
    assert rig.counted("clock_steps_total") > 0


def test_when_its_streams_have_ended_time_stands_still() -> None:
    rig = quiet_rig()
    rig.leave(1)
    rig.leave(1)
    rig.turn(0.5)
    pass_s(rig, IDLE_S + STREAM_IDLE_S + 30)
    assert rig.worker._tasks[0].windows.stats().streams == 0
    stepped = rig.counted("clock_steps_total")
    pass_s(rig, 60)
    assert rig.counted("clock_steps_total") == stepped, "the windows are empty"


def test_clock_steps_of_a_killed_worker_are_replayed_at_their_position() -> None:
    rig = quiet_rig()
    pass_s(rig, IDLE_S + STREAM_IDLE_S + 4)
    time_ms = rig.worker._tasks[0].windows.times().partition_time_ms
    rig.join(2)  # by its stream's time alone its bucket would be open; the clock step closes it
    rig.turn(1.5)
    assert rig.counted("late_events_total", reason="stream_idle") == 1
    assert steps(rig) == [(2, time_ms)]
    rig.kill()
    assert rig.counted("replayed_records_total") == 1, "the two records before the steps are in the first checkpoint"
    assert rig.worker._tasks[0].windows.times().partition_time_ms == time_ms
    rig.join(20)
    rig.join(21)
    rig.turn(1.5)
    assert rig.buckets() == [0, 1, 20], "without the step there would be a bucket 2"


def test_clock_steps_after_the_last_record_are_replayed_too() -> None:
    rig = quiet_rig()
    pass_s(rig, IDLE_S + STREAM_IDLE_S + 4)
    rig.turn(1.5)
    time_ms = rig.worker._tasks[0].windows.times().partition_time_ms
    rig.turn(0.1)
    rig.kill()
    assert rig.buckets() == [0, 1]
    assert rig.worker._tasks[0].windows.times().partition_time_ms == time_ms
    assert len(rig.worker._tasks[0].journal.steps) == 1


def test_a_record_after_clock_steps_takes_the_larger_of_the_two_times() -> None:
    rig = quiet_rig()
    pass_s(rig, IDLE_S + 10)
    moved_ms = rig.worker._tasks[0].windows.times().partition_time_ms or 0
    assert moved_ms > 2 * BUCKET_MS
    rig.join(3, stream_id="t")
    rig.turn(0.5)
    assert rig.worker._tasks[0].windows.times().partition_time_ms == moved_ms


def test_a_suspended_process_has_not_been_idle() -> None:
    rig = quiet_rig()
    pass_s(rig, 20)
    rig.turn(3_600.0)
    rig.turn(0.0, times=3)
    assert rig.counted("clock_steps_total") == 0


def test_a_partition_with_unavailable_brokers_is_not_silent() -> None:
    rig = quiet_rig()
    pass_s(rig, 20)
    rig.ends.away = True
    pass_s(rig, 60)
    assert rig.counted("clock_steps_total") == 0
    rig.ends.away = False
    pass_s(rig, IDLE_S - 6)
    assert rig.counted("clock_steps_total") == 0, "idle time starts again"
    pass_s(rig, 10)
    assert rig.counted("clock_steps_total") > 0


def test_a_partition_with_unread_records_is_not_silent() -> None:
    rig = quiet_rig()
    rig.input.pause([0])
    rig.join(1)
    pass_s(rig, 2 * IDLE_S)
    assert rig.counted("clock_steps_total") == 0


def test_an_empty_partition_stays_unchanged_beside_one_with_records() -> None:
    rig = quiet_rig(partitions=2)
    pass_s(rig, IDLE_S + 10)
    assert len(rig.worker._tasks[0].journal.steps) == 1
    assert rig.worker._tasks[1].windows.times().partition_time_ms is None
    assert rig.worker._tasks[1].journal.steps == []


def test_consecutive_clock_steps_are_one_journal_entry() -> None:
    rig = quiet_rig()
    pass_s(rig, IDLE_S + 20)
    assert rig.counted("clock_steps_total") > 5
    assert len(rig.worker._tasks[0].journal.steps) == 1
