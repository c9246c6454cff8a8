"""When a commit happens, and what it contains."""

import pytest

from consumer.settings.model import CommitSettings
from consumer.state.keys import CHECKPOINT
from consumer.worker import publishing
from tests.worker.rig import INTERVAL_S, Rig


def test_summaries_are_committed_after_the_interval_and_offsets_after_a_second() -> None:
    rig = Rig().start()
    rig.join(0)
    rig.join(1)
    rig.turn(0.06)
    assert rig.transactions.carried == []
    rig.turn(0.06)
    assert rig.transactions.carried == [{0: 2}]
    assert rig.buckets() == [0]
    for _ in range(19):
        rig.join(1)
        rig.turn(0.05)
    assert len(rig.transactions.carried) == 1, "0.95 s"
    rig.turn(0.06)
    assert rig.transactions.carried == [{0: 2}, {0: 21}]


def test_a_poll_waits_until_something_is_due() -> None:
    rig = Rig().start()
    rig.turn(2.0)
    rig.join(0)
    rig.turn(0.05)
    assert rig.waits()[-1] == 0.1, "nothing to commit"
    rig.turn(0.5)
    assert rig.waits()[-1] == 0.1, "0.45 s left for the offset"
    rig.turn(0.43)
    assert rig.waits()[-1] == pytest.approx(0.02)
    rig.turn(1.0)
    rig.join(1)
    rig.turn()
    rig.turn(0.06)
    assert rig.waits()[-1] == pytest.approx(0.04), "there is a summary"


def test_a_few_summaries_are_sent_with_the_commit_and_many_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "SEND_AT_ONCE", 3)
    rig = Rig(partitions=3, commit=CommitSettings(interval_ms=1_000)).start()
    rig.turn(2.0)
    for number in range(3):
        rig.join(0, number)
        rig.join(1, number)
        assert not rig.transactions.in_transaction, f"{number} wait"
        rig.turn()
        assert rig.waits()[-1] == 0.1, "it sleeps meanwhile"
    assert rig.transactions.in_transaction, "three were sent, 1 s before the commit"
    rig.turn(1.0)
    assert [rig.buckets(number) for number in range(3)] == [[0], [0], [0]]


def test_a_few_summaries_are_sent_at_once_while_reading_waits_for_them() -> None:
    rig = Rig(commit=CommitSettings(interval_ms=60_000, checkpoint_interval_ms=60_000)).start()
    rig.turn(60.0)
    rig.join(0)
    rig.join(1)
    rig.turn()
    assert not rig.transactions.in_transaction
    rig.worker._tasks[0].paused = True
    rig.worker._publisher.publish_some(rig.worker._tasks.values())
    assert rig.transactions.in_transaction


def test_dead_letters_are_committed_as_soon_as_summaries() -> None:
    rig = Rig().start()
    rig.write_raw(b"no event")
    rig.turn(INTERVAL_S)
    assert rig.dead_letters() == [b"no event"]
    assert rig.transactions.carried == [{0: 1}]


def test_nothing_is_committed_if_nothing_has_changed() -> None:
    rig = Rig(partitions=2).start()
    rig.turn(1.0)
    assert rig.transactions.carried == [{0: 0, 1: 0}], (
        "one commit at first, so that the group has an offset for each partition"
    )
    rig.turn(1.0, times=5)
    assert len(rig.transactions.carried) == 1


def test_every_commit_carries_the_offsets_of_all_owned_partitions() -> None:
    rig = Rig(partitions=3).start()
    rig.join(0, 1)
    rig.join(1, 1)
    rig.turn(INTERVAL_S)
    rig.join(2, 1)
    rig.join(0, 2)
    rig.turn(INTERVAL_S)
    assert rig.transactions.carried == [{0: 0, 1: 2, 2: 0}, {0: 0, 1: 3, 2: 1}]
    rig.input.lose(0)
    rig.turn()
    rig.join(3, 1)
    rig.turn(INTERVAL_S)
    assert rig.transactions.carried[-1] == {1: 4, 2: 1}


def test_during_a_rebalance_nothing_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig().start()
    rig.join(0)
    rig.join(1)
    with monkeypatch.context() as moving:
        moving.setattr(rig.worker._publisher, "_group_metadata", lambda: None)
        rig.turn(INTERVAL_S, times=3)
        assert rig.transactions.carried == []
    rig.turn()
    assert rig.transactions.carried == [{0: 2}]
    assert rig.buckets() == [0], "output sent before is committed, not sent again"


def test_many_summaries_are_sent_over_several_turns_and_committed_together() -> None:
    rig = Rig(partitions=2).start()
    streams = [f"stream {number}" for number in range(6_000)]
    for bucket in (0, 1):
        for stream_id in streams:
            rig.join(bucket, 0, stream_id)
    rig.join(0, 1)
    rig.join(1, 1)
    rig.turn(times=7)  # reads 1,000 per turn: none has closed yet
    turns = 0
    while not rig.transactions.carried:
        rig.turn(INTERVAL_S)
        turns += 1
        assert turns < 30
    rig.turn(INTERVAL_S, times=10)
    assert sorted(each["stream_id"] for each in rig.summaries() if each["partition"] == 0) == sorted(streams)
    assert rig.buckets(1) == [0]
    assert rig.cluster.committed == {0: 12_000, 1: 2}


def test_records_that_were_processed_before_are_skipped() -> None:
    """The client may return them again after a seek back."""
    rig = Rig().start()
    for bucket in range(3):
        rig.join(bucket)
    rig.turn()
    rig.input._positions[0] = 1
    rig.join(3)
    rig.turn(INTERVAL_S)
    assert [(each["bucket_start_ms"], each["joins"]) for each in rig.summaries()] == [(0, 1), (1000, 1), (2000, 1)]
    assert rig.counted("events_total", type="join") == 4
    assert rig.cluster.committed == {0: 4}


def test_events_beyond_the_stream_limit_are_dead_letters() -> None:
    rig = Rig(max_streams=2).start()
    for stream_id in ("a", "b", "c", "a"):
        rig.join(0, stream_id=stream_id)
    rig.turn(INTERVAL_S)
    assert len(rig.dead_letters()) == 1
    assert rig.counted("rejects_total", reason="stream_limit") == 1
    assert rig.counted("events_total", type="join") == 3


def test_the_time_before_the_first_poll_is_not_a_poll_gap() -> None:
    rig = Rig()
    start = rig.transactions.init

    def slow() -> None:
        rig.clock.now_s += 20
        start()

    rig.transactions.init = slow  # type: ignore[method-assign]  # a slow start
    rig.start()
    rig.turn()
    assert rig.counted("largest_poll_gap_seconds") == 0


def test_checkpoints_of_partitions_restored_together_are_spread_over_the_interval() -> None:
    rig = Rig(partitions=8, commit=CommitSettings(checkpoint_interval_ms=100_000)).start()
    written: dict[int, float] = {}
    for _ in range(110):
        for partition in range(8):
            rig.join(0, partition)
        rig.turn(1.0)
        for partition in range(8):
            number = sum(each.key == CHECKPOINT for each in rig.states(partition))
            if number > 1:
                written.setdefault(partition, rig.clock.now_s)
    assert len(set(written.values())) == 8, "at most one per commit"
    assert max(written.values()) - min(written.values()) < 26
