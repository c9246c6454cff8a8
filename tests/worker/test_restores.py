"""What a worker does with the state it finds: continue, or stop the partition and say what resolves it."""

import json

import pytest
from structlog.testing import capture_logs

from consumer.kafka.errors import TransactionAborted
from consumer.settings.model import CommitSettings
from consumer.state.contents import Contents
from consumer.state.journal import MAX_BYTES
from consumer.state.keys import CHECKPOINT, FINDING, JOURNAL
from consumer.state.report import StoredPartition, consistency_report
from consumer.worker.restoring import CONFIRM_AFTER_S
from tests.support.fakes import Published
from tests.worker.rig import BUCKET_MS, IDENTITY, INTERVAL_S, Rig

NO_CHECKPOINTS = CommitSettings(checkpoint_interval_ms=86_400_000)
"""Except the first checkpoint of a partition."""


@pytest.fixture
def rig() -> Rig:
    """Three records are committed; the checkpoint covers the first two, the third is in the journal only."""
    rig = Rig(commit=NO_CHECKPOINTS).start()
    rig.join(0)
    rig.join(1)
    rig.turn(INTERVAL_S)
    rig.join(2)
    rig.turn(INTERVAL_S)
    assert checkpoint(rig)["next_offset"] == 2
    assert rig.cluster.committed == {0: 3}
    return rig


def checkpoint(rig: Rig) -> dict[str, object]:
    newest: dict[str, object] = json.loads([each.value or b"" for each in rig.states() if each.key == CHECKPOINT][-1])
    return newest


def stopped(rig: Rig) -> str:
    """Return why partition 0 of the next worker is stopped."""
    rig.kill()
    rig.turn(1.0)
    latest = rig.board.latest()
    assert (latest.stopped, latest.restoring, latest.partitions) == (1, 0, ())
    assert not latest.health.ready
    rig.turn(1.0)
    published = len(rig.cluster.published)
    rig.join(9)
    rig.turn(1.0, times=3)
    assert len(rig.cluster.published) == published, "nothing of the partition is published"
    return latest.health.reason


def replace_newest(rig: Rig, key: bytes, value: bytes | None) -> None:
    topic = rig.settings.kafka.state_topic
    rig.cluster.published.append(Published(topic, key, value, (), 0))


def change(rig: Rig, key: bytes, **fields: object) -> None:
    newest = json.loads([each.value or b"" for each in rig.states() if each.key == key][-1])
    replace_newest(rig, key, json.dumps(newest | fields).encode())


def test_open_buckets_continue_and_published_summaries_are_not_published_again(rig: Rig) -> None:
    rig.kill()
    assert rig.counted("replayed_records_total") == 1
    rig.join(2)
    rig.join(3)
    rig.turn(INTERVAL_S)
    assert [(each["bucket_start_ms"] // BUCKET_MS, each["joins"]) for each in rig.summaries()] == [
        (0, 1),
        (1, 1),
        (2, 2),
    ]


def test_metrics_count_nothing_of_a_replay(rig: Rig) -> None:
    rig.kill()
    assert rig.counted("events_total", type="join") == 0
    assert rig.counted("summaries_total", close_reason="WATERMARK") == 0


def test_after_a_clean_stop_nothing_is_replayed(rig: Rig) -> None:
    rig.worker.stop()
    rig.kill()
    assert rig.counted("replayed_records_total") == 0
    assert rig.counted("restored_rows_total") > 0


def test_a_partition_that_is_being_restored_does_not_delay_others() -> None:
    rig = Rig(partitions=2).start()
    for partition in (0, 1):
        rig.join(0, partition)
        rig.join(1, partition)
    rig.turn(INTERVAL_S)
    rig.cluster.pending.add(0)  # a dead worker's transaction is still open
    rig.worker = rig._new_worker()
    rig.worker.start()
    rig.turn()
    rig.join(2, 0)
    rig.join(2, 1)
    rig.turn(INTERVAL_S, times=3)
    assert (rig.buckets(0), rig.buckets(1)) == ([0], [0, 1])
    assert rig.board.latest().health.missing() == ("restored",) or not rig.board.latest().health.ready
    assert "offsets are being looked up" in rig.worker._restoring.reason
    rig.cluster.pending.clear()
    rig.until_live()
    rig.turn(INTERVAL_S, times=2)
    assert (rig.buckets(0), rig.buckets(1)) == ([0, 1], [0, 1])


def test_a_partition_that_is_revoked_during_its_restore_is_forgotten(rig: Rig) -> None:
    rig.cluster.pending.add(0)
    rig.worker = rig._new_worker()
    rig.worker.start()
    rig.turn()
    rig.input.revoke(0)
    rig.turn(INTERVAL_S)
    rig.cluster.pending.clear()
    rig.turn(INTERVAL_S, times=3)
    assert not rig.worker._restoring.active
    assert rig.cluster.committed == {0: 3}


def test_if_the_groups_offset_has_expired_the_journals_offset_counts(rig: Rig) -> None:
    rig.cluster.committed.clear()
    rig.kill()
    rig.join(3)
    rig.turn(INTERVAL_S)
    assert rig.buckets() == [0, 1, 2]
    assert rig.cluster.committed == {0: 4}


def test_a_committed_offset_that_was_moved_stops_the_partition(rig: Rig) -> None:
    rig.cluster.committed[0] = 1
    causes = stopped(rig)
    assert "the group has committed offset 1, but its state goes to offset 3" in causes
    assert "viewer-consumer state reset --partition 0" in causes


def test_state_that_moves_on_is_a_successors_and_stops_nothing(rig: Rig) -> None:
    """A process that was frozen in a restore and expelled reads what its successor writes, before it learns of it.

    ```
     frozen ──── thawed: reads ──── reads again ──── reads again ──── learns of the loss
     successor:   commits           commits           commits
    ```
    """
    rig.worker = rig._new_worker()
    rig.worker.start()
    with capture_logs() as lines:
        for committed in (2, 1, 2):
            rig.cluster.committed[0] = committed
            rig.turn(CONFIRM_AFTER_S)
            assert rig.board.latest().stopped == 0
            assert f"has committed offset {committed}" in rig.board.latest().health.reason
        rig.input.lose(0)
        rig.turn(CONFIRM_AFTER_S, times=3)
    assert rig.board.latest().stopped == 0
    assert "partition stopped" not in [line["event"] for line in lines]


def test_a_disagreement_that_passes_stops_nothing(rig: Rig) -> None:
    rig.worker = rig._new_worker()
    rig.cluster.committed[0] = 2
    rig.worker.start()
    rig.turn()
    assert rig.worker._restoring.reason.endswith("but its state goes to offset 3; it is read again")
    rig.cluster.committed[0] = 3
    rig.turn(CONFIRM_AFTER_S)
    rig.until_live()
    assert rig.worker._restoring.done


def test_an_offset_without_state_stops_the_partition(rig: Rig) -> None:
    rig.cluster.published.clear()
    assert "the group has committed offset 3, but there is no checkpoint of it" in stopped(rig)


def test_rows_without_a_checkpoint_stop_the_partition(rig: Rig) -> None:
    replace_newest(rig, CHECKPOINT, None)
    rig.cluster.committed.clear()
    assert "there are records of a state, but no checkpoint" in stopped(rig)


def test_input_deleted_between_checkpoint_and_committed_offset_stops_the_partition(rig: Rig) -> None:
    rig.cluster.begins[0] = 3
    assert "records from offset 2 on are needed, but the input begins at 3" in stopped(rig)


def test_an_input_that_ends_before_the_state_stops_the_partition(rig: Rig) -> None:
    del rig.cluster.log[0][2]
    assert "the input ends at offset 2, but its records were counted up to 3" in stopped(rig)


def test_a_topic_that_was_created_again_stops_the_partition(rig: Rig) -> None:
    rig.identity = IDENTITY.__class__("cluster", "another", IDENTITY.group)
    assert "the input topic was deleted and created again" in stopped(rig)


def test_a_topic_that_is_created_again_while_the_worker_runs_stops_its_partitions(rig: Rig) -> None:
    rig.topic_ids.newest = "another"
    rig.join(3)
    rig.turn(INTERVAL_S)
    rig.until_live()
    rig.turn(1.0)
    latest = rig.board.latest()
    assert latest.stopped == 1
    assert "the input topic was deleted and created again: its id is another" in latest.health.reason
    assert rig.buckets() == [0, 1], "the record that was read since is not counted"
    assert rig.cluster.committed == {0: 3}


def test_a_partition_without_state_begins_under_the_new_id_of_its_topic() -> None:
    rig = Rig().start()
    rig.topic_ids.newest = "another"
    rig.turn(INTERVAL_S)
    rig.until_live()
    rig.join(0)
    rig.turn(INTERVAL_S)
    rig.identity = rig.identity.__class__("cluster", "another", rig.identity.group)
    rig.kill()
    assert rig.worker._restoring.done


def test_state_of_another_cluster_stops_the_partition(rig: Rig) -> None:
    rig.identity = IDENTITY.__class__("elsewhere", "topic", IDENTITY.group)
    assert "is of cluster cluster, and this is cluster elsewhere" in stopped(rig)


def test_state_of_another_group_stops_the_partition(rig: Rig) -> None:
    rig.identity = IDENTITY.__class__("cluster", "topic", "another-group")
    rig.cluster.committed.clear()
    causes = stopped(rig)
    assert 'its state is that of group "viewer-consumer", and this worker is of group "another-group"' in causes
    assert "kafka.state_topic" in causes


def test_a_cluster_without_an_id_is_accepted(rig: Rig) -> None:
    rig.identity = IDENTITY.__class__("", "", IDENTITY.group)
    rig.kill()
    assert rig.worker._restoring.done


def test_a_missing_row_stops_the_partition(rig: Rig) -> None:
    row = next(each for each in rig.states() if (each.key or b"").startswith(b"r"))
    rig.cluster.published.remove(row)
    assert "its state has 0 rows" in stopped(rig)


def test_a_damaged_row_stops_the_partition(rig: Rig) -> None:
    row = next(each for each in rig.states() if (each.key or b"").startswith(b"r"))
    replace_newest(rig, row.key or b"", (row.value or b"")[:-1])
    assert "the stored row of stream 's'" in stopped(rig)


def test_a_journal_of_another_checkpoint_stops_the_partition(rig: Rig) -> None:
    change(rig, JOURNAL, checkpoint=7)
    assert "its journal goes from checkpoint 7 to 3, but the checkpoint is 1" in stopped(rig)


@pytest.mark.parametrize(
    ("key", "fields", "causes"),
    [
        (JOURNAL, {"version": 99}, "the journal has a version that this release does not read; it reads 1, 2"),
        (JOURNAL, {"steps": [[1]]}, "the journal cannot be read"),
        (JOURNAL, {"rejects": [1]}, "the journal cannot be read"),
        (CHECKPOINT, {"rules_version": 99}, "the checkpoint is of version 2, rules 99"),
        (CHECKPOINT, {"hash_key": []}, "the checkpoint cannot be read"),
        (CHECKPOINT, {"settings": {"windows": {"bucket_ms": 1000, "counting": "events", "grace_ms": "x"}}}, "settings"),
    ],
)
def test_records_of_another_release_stop_the_partition(
    rig: Rig, key: bytes, fields: dict[str, object], causes: str
) -> None:
    change(rig, key, **fields)
    assert causes in stopped(rig)


def test_a_foreign_record_stops_the_partition(rig: Rig) -> None:
    replace_newest(rig, b"their key", b"their value")
    assert "no worker wrote: b'their key'" in stopped(rig)


@pytest.mark.parametrize("key", [b"their key", b"r\0\0another stream"])
def test_an_unreadable_row_that_has_a_tombstone_is_ignored(rig: Rig, key: bytes) -> None:
    #  state     row of s, checkpoint, journal, unreadable row, its tombstone │ killed │ continues
    replace_newest(rig, key, b"no row")
    replace_newest(rig, key, None)
    rig.kill()
    assert rig.worker._restoring.done
    rig.join(4)
    rig.turn(1.0)
    assert rig.buckets() == [0, 1, 2]


def test_a_damaged_row_that_was_written_again_is_ignored(rig: Rig) -> None:
    row = next(each for each in rig.states() if (each.key or b"").startswith(b"r"))
    replace_newest(rig, row.key or b"", b"no row")
    replace_newest(rig, row.key or b"", row.value)
    rig.kill()
    rig.join(4)
    rig.turn(1.0)
    assert rig.buckets() == [0, 1, 2]


def test_a_replay_with_other_summaries_stops_the_partition(rig: Rig) -> None:
    change(rig, JOURNAL, summaries=2)
    reason = stopped(rig)
    assert "the replay does not give what was published before: 1 summaries" in reason
    assert reason.endswith("viewer-consumer state reset --partition 0")
    assert found_by_check(rig) == [reason.removeprefix("partition 0: ").split("; look at")[0]]


def found_by_check(rig: Rig) -> list[str]:
    """Return what `state check` reports for partition 0."""
    contents = Contents()
    contents.add([(each.key or b"", each.value) for each in rig.states()])
    committed, end = rig.cluster.committed[0], len(rig.cluster.log[0])
    stored = StoredPartition(0, committed, committed, 0, end, contents)
    return [each.what for each in consistency_report(stored, rig.settings, rig.identity).disagreements]


def test_a_disagreement_found_by_a_replay_is_stored_once_and_ignored_once_the_state_has_changed(rig: Rig) -> None:
    journal = next(each.value for each in reversed(rig.states()) if each.key == JOURNAL)
    change(rig, JOURNAL, summaries=2)
    stopped(rig)
    assert [each.key for each in rig.states()].count(FINDING) == 1
    assert rig.cluster.committed == {0: 3}, "the offset stays where it was"
    replace_newest(rig, JOURNAL, journal)
    rig.kill()
    rig.join(3)
    rig.turn(INTERVAL_S)
    assert rig.buckets() == [0, 1, 2], "the partition continues"
    assert found_by_check(rig) == []


def test_a_record_that_can_no_longer_be_decoded_stops_the_partition(rig: Rig) -> None:
    rig.cluster.log[0][2] = rig.cluster.log[0][2].__class__(
        topic=rig.cluster.topic, partition=0, offset=2, value=b"no event", timestamp=(1, 0)
    )
    assert "the record at offset 2 cannot be decoded any more" in stopped(rig)


def test_a_record_that_was_compacted_stops_the_partition(rig: Rig) -> None:
    rig.cluster.hidden.add((0, 2))
    assert " records are there, the others were deleted or compacted" in stopped(rig)


def test_a_reject_stays_a_reject_though_it_could_be_decoded_now(rig: Rig) -> None:
    rig.write_raw(b"no event")
    rig.turn(INTERVAL_S)
    assert len(rig.dead_letters()) == 1
    event = rig.cluster.log[0][0].value()
    rig.cluster.log[0][3] = rig.cluster.log[0][3].__class__(
        topic=rig.cluster.topic, partition=0, offset=3, value=event, timestamp=(1, 0)
    )
    rig.kill()
    assert rig.counted("replayed_records_total") == 2
    rig.join(3)
    rig.turn(INTERVAL_S)
    assert sum(each["joins"] for each in rig.summaries()) == 3, "rejects are not counted again"
    assert len(rig.dead_letters()) == 1


def test_a_journal_that_grows_too_large_becomes_a_checkpoint(rig: Rig) -> None:
    number = checkpoint(rig)["number"]
    # Every second record is a reject, which gives the largest number of ranges.
    for _ in range(MAX_BYTES // 4 + 500):
        rig.write_raw(b"no event")
        rig.join(2)
    while rig.cluster.committed[0] < len(rig.cluster.log[0]):
        rig.turn(INTERVAL_S)
    assert checkpoint(rig)["number"] != number
    assert all(len(each.value or b"") <= MAX_BYTES for each in rig.states() if each.key == JOURNAL)
    rig.kill()
    assert rig.worker._restoring.done


def test_a_checkpoint_is_due_by_age_only_if_something_has_changed() -> None:
    rig = Rig(partitions=2, commit=CommitSettings(checkpoint_interval_ms=5_000)).start()
    rig.join(0)
    rig.turn(1.1)
    assert rig.counted("checkpoints_total") == 2, "the first commit of each"
    rig.join(0)
    rig.turn(1.1)
    rig.turn(1.1, times=2)
    assert rig.counted("checkpoints_total") == 2
    rig.turn(3.0, times=2)
    assert rig.counted("checkpoints_total") == 3
    rig.turn(6.0, times=3)
    assert rig.counted("checkpoints_total") == 3


def test_an_aborted_checkpoint_is_written_again(rig: Rig) -> None:
    rig.join(2, stream_id="t")
    rig.turn()
    rig.worker._tasks[0].checkpoint_wanted = True
    rig.transactions.fail("commit", TransactionAborted("_TIMED_OUT", "in a test"))
    rig.turn(1.0)
    rig.turn(1.0)
    rig.kill()
    assert rig.counted("replayed_records_total") == 0
    assert rig.worker._tasks[0].windows.stats().streams == 2


# Changed settings


def test_less_grace_closes_finished_buckets_with_reason_settings() -> None:
    rig = Rig(commit=NO_CHECKPOINTS, grace_ms=3_000).start()
    for bucket in range(4):
        rig.join(bucket)
    rig.turn(INTERVAL_S)
    rig.turn(1.0)
    assert rig.buckets() == []
    rig.settings = rig.settings.model_copy(update={"windows": rig.settings.windows.model_copy(update={"grace_ms": 0})})
    rig.kill()
    rig.turn(INTERVAL_S)
    assert rig.buckets() == [0, 1, 2]
    assert {each["close_reason"] for each in rig.summaries()} == {"SETTINGS"}
    rig.kill()
    rig.turn(INTERVAL_S)
    assert rig.buckets() == [0, 1, 2], "they were committed with a checkpoint"
    assert rig.counted("replayed_records_total") == 0


def test_a_replay_uses_the_settings_of_its_checkpoint() -> None:
    """With less grace the third record would be late in the replay, but it was not late when it was first processed."""
    rig = Rig(commit=NO_CHECKPOINTS, grace_ms=3_000).start()
    rig.join(0)
    rig.turn(1.1)
    for bucket in (3, 0, 5):
        rig.join(bucket)
    rig.turn(INTERVAL_S)
    assert [(each["bucket_start_ms"], each["joins"]) for each in rig.summaries()] == [(0, 2)]
    rig.settings = rig.settings.model_copy(update={"windows": rig.settings.windows.model_copy(update={"grace_ms": 0})})
    rig.kill()
    assert rig.counted("replayed_records_total") == 3
    rig.turn(INTERVAL_S)
    assert rig.buckets() == [0, 3]


@pytest.mark.parametrize("changed", [{"bucket_ms": 500}])
def test_the_bucket_length_cannot_change_while_there_is_state(rig: Rig, changed: dict[str, int]) -> None:
    rig.settings = rig.settings.model_copy(update={"windows": rig.settings.windows.model_copy(update=changed)})
    causes = stopped(rig)
    assert "was counted with windows.bucket_ms = 1000, which can't change while there is state" in causes
    assert "set it as it was" in causes


def test_markers_at_the_end_are_stepped_over_and_a_restart_continues_behind_them(rig: Rig) -> None:
    rig.cluster.write_marker(0)
    rig.turn(1.5, times=2)
    assert rig.cluster.committed[0] == len(rig.cluster.log[0]), "lag is 0"
    rig.kill()
    assert rig.worker._restoring.done
    rig.join(4)
    rig.cluster.write_marker(0)
    rig.turn(1.5, times=2)
    rig.kill()
    assert rig.worker._restoring.done
    assert rig.cluster.committed[0] == len(rig.cluster.log[0])
    assert rig.buckets() == [0, 1, 2]


def test_markers_deleted_by_retention_are_not_missed() -> None:
    #  input    record │ marker │ both deleted by retention      state goes to offset 2
    rig = Rig(commit=CommitSettings(checkpoint_interval_ms=1_000)).start()
    rig.join(0)
    rig.turn(1.5, times=2)
    rig.cluster.write_marker(0)
    rig.turn(1.5, times=2)
    end = len(rig.cluster.log[0])
    assert rig.cluster.committed[0] == end
    rig.cluster.begins[0] = end
    rig.kill()
    assert rig.worker._restoring.done


def test_state_that_ends_before_deleted_markers_stops_and_names_the_command_that_keeps_the_windows() -> None:
    rig = Rig(commit=CommitSettings(checkpoint_interval_ms=1_000)).start()
    rig.join(0)
    rig.turn(1.5, times=2)
    rig.cluster.write_marker(0)
    rig.cluster.begins[0] = len(rig.cluster.log[0])
    reason = stopped(rig)
    assert "nobody can tell whether there were records between them" in reason
    assert reason.endswith("viewer-consumer state reset --partition 0 --keep-rows")


def test_a_partition_that_cannot_be_read_waits_with_its_reason_and_is_tried_again() -> None:
    rig = Rig(partitions=2).start()
    for partition in (0, 1):
        rig.join(0, partition)
    rig.turn(1.5, times=2)
    assert rig.states(1), "there is state to read"
    rig.reader.errors[rig.settings.kafka.state_topic, 1] = "can't read state-1: no leader"
    rig.worker._start_over()
    rig.turn(1.0, times=2)
    latest = rig.board.latest()
    assert (latest.restoring, [each.partition for each in latest.partitions]) == (1, [0])
    assert latest.health.reason == "partition 1: can't read state-1: no leader"
    rig.join(1, 0)
    rig.turn(INTERVAL_S)
    assert rig.buckets(0) == [0], "the other partition continues"
    rig.reader.errors.clear()
    rig.turn(3.0, times=4)
    assert rig.board.latest().health.ready
    rig.join(1, 1)
    rig.turn(INTERVAL_S)
    assert rig.buckets(1) == [0]


GONE = "events-1: the offset to read on from is not in it"


@pytest.fixture
def beside_one_that_fails() -> Rig:
    """Of partition 1 nothing can be read; both have an open bucket that is committed."""
    rig = Rig(partitions=2).start()
    for partition in (0, 1):
        rig.join(0, partition)
    rig.turn(1.5, times=2)
    rig.input.failures[1] = GONE
    rig.turn(1.0)
    latest = rig.board.latest()
    assert (latest.restoring, [each.partition for each in latest.partitions]) == (1, [0])
    assert latest.health.reason == GONE
    rig.join(1, 0)
    rig.turn(INTERVAL_S)
    assert rig.buckets(0) == [0], "the other partition continues"
    return rig


def test_a_live_partition_whose_records_were_deleted_stops_with_the_command_that_keeps_its_windows(
    beside_one_that_fails: Rig,
) -> None:
    rig = beside_one_that_fails
    rig.join(1, 1)
    rig.cluster.begins[1] = 2
    rig.turn(1.0, times=12)
    latest = rig.board.latest()
    assert (latest.stopped, [each.partition for each in latest.partitions]) == (1, [0])
    assert "its state goes to offset 1, but the input begins at 2" in latest.health.reason
    assert latest.health.reason.endswith("viewer-consumer state reset --partition 1 --keep-rows")
    assert rig.buckets(1) == []


def test_a_live_partition_that_could_not_be_read_for_a_while_continues(beside_one_that_fails: Rig) -> None:
    rig = beside_one_that_fails
    rig.join(1, 1)
    rig.turn(1.0, times=12)
    latest = rig.board.latest()
    assert (latest.restoring, latest.stopped, latest.health.ready) == (0, 0, True)
    assert rig.buckets(1) == [0], "no counted record is lost"
