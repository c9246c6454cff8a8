"""A partition to which nothing comes: its time runs on by the clock, is journalled, and ends up as before after a kill.

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
"""But the first, so that all that happens is in the journal."""


def quiet_rig(partitions: int = 1) -> Rig:
    """Grace is 0 and streams follow the partition by three seconds, so bucket 1 is over when its time is past 5 s."""
    rig = Rig(
        partitions, commit=NO_CHECKPOINTS, stream_idle_ms=STREAM_IDLE_S * 1000, partition_idle_ms=IDLE_S * 1000
    ).start()
    rig.join(0)
    rig.join(1)
    rig.turn(0.5)
    return rig


def pass_s(rig: Rig, seconds: int) -> None:
    """Polls half a second apart, as they would be with nothing to read."""
    rig.turn(0.5, times=2 * seconds)


def steps(rig: Rig) -> list[tuple[int, int]]:
    newest = [each.value or b"" for each in rig.states() if each.key == JOURNAL][-1]
    return [(step.before_offset, step.to_ms) for step in decoded(newest).journal.steps]


def test_its_last_buckets_come_out() -> None:
    rig = quiet_rig()
    pass_s(rig, IDLE_S)
    assert rig.buckets() == [0]
    pass_s(rig, STREAM_IDLE_S + 4)
    assert rig.buckets() == [0, 1]
    last = rig.summaries()[-1]
    assert (last["close_reason"], last["offset"]) == ("PARTITION_IDLE", 2)
    assert rig.counted("clock_steps_total") > 0


def test_streams_end_and_then_time_stands_still() -> None:
    rig = quiet_rig()
    rig.leave(1)
    rig.leave(1)
    rig.turn(0.5)
    pass_s(rig, IDLE_S + STREAM_IDLE_S + 30)
    assert rig.worker._tasks[0].windows.stats().streams == 0
    stepped = rig.counted("clock_steps_total")
    pass_s(rig, 60)
    assert rig.counted("clock_steps_total") == stepped, "nothing is held"


def test_a_killed_worker_s_steps_are_taken_again_at_their_place() -> None:
    rig = quiet_rig()
    pass_s(rig, IDLE_S + STREAM_IDLE_S + 4)
    time_ms = rig.worker._tasks[0].windows.times().partition_time_ms
    rig.join(2)  # its bucket would be open by its stream's time alone, and is closed by the clock's
    rig.turn(1.5)
    assert rig.counted("late_events_total", reason="stream_idle") == 1
    assert steps(rig) == [(2, time_ms)]
    rig.kill()
    assert rig.counted("replayed_records_total") == 1, "the two before the steps are in the first checkpoint"
    assert rig.worker._tasks[0].windows.times().partition_time_ms == time_ms
    rig.join(20)
    rig.join(21)
    rig.turn(1.5)
    assert rig.buckets() == [0, 1, 20], "without the step a bucket 2 would have come"


def test_steps_behind_the_last_record_are_taken_again_too() -> None:
    rig = quiet_rig()
    pass_s(rig, IDLE_S + STREAM_IDLE_S + 4)
    rig.turn(1.5)
    time_ms = rig.worker._tasks[0].windows.times().partition_time_ms
    rig.turn(0.1)
    rig.kill()
    assert rig.buckets() == [0, 1]
    assert rig.worker._tasks[0].windows.times().partition_time_ms == time_ms
    assert len(rig.worker._tasks[0].journal.steps) == 1


def test_a_record_takes_the_larger_of_the_two_times() -> None:
    rig = quiet_rig()
    pass_s(rig, IDLE_S + 10)
    moved_ms = rig.worker._tasks[0].windows.times().partition_time_ms or 0
    assert moved_ms > 2 * BUCKET_MS
    rig.join(3, stream_id="t")
    rig.turn(0.5)
    assert rig.worker._tasks[0].windows.times().partition_time_ms == moved_ms


def test_a_process_that_stood_still_has_not_waited() -> None:
    rig = quiet_rig()
    pass_s(rig, 20)
    rig.turn(3_600.0)
    rig.turn(0.0, times=3)
    assert rig.counted("clock_steps_total") == 0


def test_a_broker_that_is_away_is_no_silence() -> None:
    rig = quiet_rig()
    pass_s(rig, 20)
    rig.ends.away = True
    pass_s(rig, 60)
    assert rig.counted("clock_steps_total") == 0
    rig.ends.away = False
    pass_s(rig, IDLE_S - 6)
    assert rig.counted("clock_steps_total") == 0, "it begins anew"
    pass_s(rig, 10)
    assert rig.counted("clock_steps_total") > 0


def test_records_that_are_there_and_not_read_yet_are_no_silence() -> None:
    rig = quiet_rig()
    rig.input.pause([0])
    rig.join(1)
    pass_s(rig, 2 * IDLE_S)
    assert rig.counted("clock_steps_total") == 0


def test_an_empty_partition_stays_as_it_is_beside_one_with_records() -> None:
    rig = quiet_rig(partitions=2)
    pass_s(rig, IDLE_S + 10)
    assert len(rig.worker._tasks[0].journal.steps) == 1
    assert rig.worker._tasks[1].windows.times().partition_time_ms is None
    assert rig.worker._tasks[1].journal.steps == []


def test_every_step_without_a_record_between_is_one_entry_of_the_journal() -> None:
    rig = quiet_rig()
    pass_s(rig, IDLE_S + 20)
    assert rig.counted("clock_steps_total") > 5
    assert len(rig.worker._tasks[0].journal.steps) == 1
