"""Faults at named points: nothing is published twice, and nothing is lost.

```
    read ── windows ── outbox ──►[ send ]──►[ commit ]──► committed
                          ▲         │ aborted   │ aborted
                          └─────────┴───────────┘          lost: memory dropped, input read again
```
"""

import pytest

from consumer.errors import ViewerConsumerError
from consumer.kafka.errors import NOT_WRITTEN, TransactionAborted, TransactionLost
from consumer.kafka.protocols import HeldPartition
from consumer.state.keys import CHECKPOINT
from tests.support.fakes import Step
from tests.worker.rig import INTERVAL_S, Rig

ABORTED = TransactionAborted("_TIMED_OUT", "in a test")
LOST = TransactionLost("_FENCED", "in a test")
UNWRITTEN = TransactionAborted(NOT_WRITTEN, "in a test")


@pytest.fixture
def rig() -> Rig:
    return Rig(partitions=2).start()


@pytest.mark.parametrize("step", ["produce", "commit"])
def test_aborted_output_is_sent_again_and_published_once(rig: Rig, step: Step) -> None:
    rig.transactions.fail(step, ABORTED)
    for bucket in range(4):
        rig.join(bucket)
    rig.write_raw(b"no event")
    rig.turn(INTERVAL_S)
    assert rig.cluster.published == []
    assert rig.cluster.committed == {}
    rig.turn(INTERVAL_S)
    assert rig.buckets() == [0, 1, 2]
    assert rig.dead_letters() == [b"no event"]
    assert rig.cluster.committed == {0: 5, 1: 0}
    assert rig.counted("aborts_total", error="_TIMED_OUT") == 1
    assert rig.counted("summaries_total", close_reason="WATERMARK") == 3


def test_buckets_that_close_between_two_attempts_follow_the_aborted_output(rig: Rig) -> None:
    rig.transactions.fail("commit", ABORTED)
    rig.join(0)
    rig.join(1)
    rig.turn(INTERVAL_S)
    rig.join(2)
    rig.turn(INTERVAL_S)
    assert rig.buckets() == [0, 1]


@pytest.mark.parametrize("step", ["produce", "commit"])
def test_after_an_unknown_outcome_that_did_not_commit_state_is_restored_and_input_read_again(
    rig: Rig, step: Step
) -> None:
    rig.transactions.fail(step, LOST)
    for bucket in range(3):
        rig.join(bucket)
    rig.turn(INTERVAL_S)
    assert rig.cluster.published == []
    rig.turn(INTERVAL_S, times=3)
    assert rig.buckets() == [0, 1]
    assert rig.cluster.committed == {0: 3, 1: 0}
    assert rig.counted("restore_duration_seconds_count") == 4, "two restores at first, and both again"


def test_after_an_unknown_outcome_that_did_commit_nothing_is_published_again(rig: Rig) -> None:
    rig.transactions.fail("commit", LOST, published=True)
    for bucket in range(3):
        rig.join(bucket)
    rig.turn(INTERVAL_S)
    rig.turn(INTERVAL_S, times=3)
    assert rig.buckets() == [0, 1]
    assert rig.cluster.committed == {0: 3, 1: 0}


@pytest.mark.parametrize("published", [False, True])
def test_a_rebalance_right_after_an_unknown_outcome_publishes_nothing_of_it(rig: Rig, published: bool) -> None:
    rig.transactions.fail("commit", LOST, published=published)
    for bucket in range(3):
        rig.join(bucket)
    rig.turn(INTERVAL_S)
    rig.input.revoke(0)
    rig.turn(INTERVAL_S, times=3)
    assert rig.buckets() == ([0, 1] if published else [])
    assert rig.cluster.committed.get(0) == (3 if published else None)


@pytest.mark.parametrize("published", [False, True])
def test_a_stop_with_an_unknown_outcome_publishes_nothing_twice(rig: Rig, published: bool) -> None:
    for bucket in range(3):
        rig.join(bucket)
    rig.turn()
    rig.transactions.fail("commit", LOST, published=published)
    rig.worker.stop()
    assert rig.buckets() == ([0, 1] if published else [])
    assert rig.cluster.committed.get(0) == (3 if published else None)


def test_a_stop_whose_commit_is_aborted_retries_once_when_it_leaves_the_group(rig: Rig) -> None:
    for bucket in range(3):
        rig.join(bucket)
    rig.turn()
    rig.transactions.fail("commit", ABORTED)
    rig.worker.stop()
    assert rig.buckets() == [0, 1]
    assert rig.cluster.committed == {0: 3, 1: 0}
    assert rig.input.closed
    assert rig.transactions.closed


def test_a_stop_commits_pending_output(rig: Rig) -> None:
    rig.join(0)
    rig.join(1)
    rig.turn()
    assert rig.buckets() == [], "no commit is due yet"
    rig.worker.stop()
    assert rig.buckets() == [0]
    assert rig.cluster.committed == {0: 2, 1: 0}
    assert rig.board.latest().health.reason == "stopping"


def test_revoked_partitions_are_committed_first_and_then_dropped(rig: Rig) -> None:
    for partition in (0, 1):
        rig.join(0, partition)
        rig.join(1, partition)
    rig.turn()
    assert rig.cluster.published == []
    rig.input.revoke(0)
    rig.turn()
    assert rig.buckets(0) == rig.buckets(1) == [0]
    assert rig.cluster.committed == {0: 2, 1: 2}
    assert [each.key for each in rig.states(0)][-1] == CHECKPOINT
    assert CHECKPOINT not in [each.key for each in rig.states(1)][3:], "the partition stays and has one already"
    rig.join(2, 1)
    rig.turn(INTERVAL_S)
    assert rig.buckets(1) == [0, 1], "the other partition continues"
    assert rig.transactions.carried[-1] == {1: 3}


def test_if_the_commit_of_a_revoked_partition_is_aborted_none_of_its_output_is_published_later(rig: Rig) -> None:
    for partition in (0, 1):
        rig.join(0, partition)
        rig.join(1, partition)
    rig.turn()
    rig.transactions.fail("commit", ABORTED)
    rig.input.revoke(0)
    rig.turn()
    rig.turn(INTERVAL_S)
    assert rig.buckets(0) == []
    assert rig.buckets(1) == [0]
    assert rig.cluster.committed == {1: 2}


def test_if_the_group_rebalances_again_during_a_revocation_its_output_is_not_published(rig: Rig) -> None:
    for partition in (0, 1):
        rig.join(0, partition)
        rig.join(1, partition)
    rig.turn()

    def moved_on() -> None:
        return None

    rig.input.revoke(0)
    known = rig.worker._publisher._group_metadata
    rig.worker._publisher._group_metadata = moved_on
    rig.turn()
    rig.worker._publisher._group_metadata = known
    rig.turn(INTERVAL_S)
    assert rig.buckets(0) == [], "its next owner publishes the summary"
    assert rig.buckets(1) == [0]
    assert rig.cluster.committed == {1: 2}


def test_nothing_of_lost_partitions_is_committed(rig: Rig) -> None:
    for partition in (0, 1):
        rig.join(0, partition)
        rig.join(1, partition)
    rig.turn()
    rig.input.lose(0)
    rig.turn(INTERVAL_S)
    rig.turn(INTERVAL_S)
    assert rig.buckets(0) == []
    assert rig.buckets(1) == [0]
    assert rig.cluster.committed == {1: 2}
    assert rig.counted("rebalances_total", kind="lost") == 1


def test_a_partition_that_comes_back_begins_at_its_committed_offset(rig: Rig) -> None:
    rig.join(0)
    rig.join(1)
    rig.turn(INTERVAL_S)
    rig.join(2)
    rig.input.lose(0)
    rig.turn()
    rig.input.assign(0)
    rig.turn()
    rig.join(3)
    rig.turn(INTERVAL_S)
    assert rig.buckets() == [0, 1, 2]
    assert rig.cluster.committed[0] == 4


def test_a_stop_says_what_is_left_to_others(rig: Rig) -> None:
    rig.join(0)
    rig.join(1)
    rig.turn()
    for _ in range(2):
        rig.transactions.fail("commit", ABORTED)
    assert rig.worker.stop() == ["partitions [0, 1]: their next owner reads again what is not committed"]


def test_a_stop_behind_a_lost_transaction_says_that_nothing_is_restored_yet(rig: Rig) -> None:
    rig.join(0)
    rig.turn()
    rig.cluster.pending.update((0, 1))
    rig.transactions.fail("commit", LOST)
    rig.turn(1.0, times=2)
    assert rig.worker.stop() == ["partitions [0, 1]: were not restored, or are stopped"]


def test_a_clean_stop_leaves_nothing(rig: Rig) -> None:
    rig.join(0)
    rig.join(1)
    rig.turn()
    assert rig.worker.stop() == []


def test_a_stop_leaves_the_group_though_its_last_commit_is_refused(rig: Rig) -> None:
    rig.join(0)
    rig.join(1)
    rig.turn()
    rig.transactions.fail("commit", ViewerConsumerError("no permission"))
    with pytest.raises(ViewerConsumerError, match="no permission"):
        rig.worker.stop()
    assert rig.input.closed
    assert rig.transactions.closed


def test_an_error_between_two_steps_commits_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("in a test")

    rig.join(0)
    rig.join(1)
    monkeypatch.setattr(rig.worker._processor, "_dead_letter_rejects", fail)
    with pytest.raises(RuntimeError):
        rig.turn(INTERVAL_S)
    rig.worker.abandon()
    assert rig.cluster.published == []
    assert rig.cluster.committed == {}
    assert rig.input.closed
    assert rig.transactions.closed


def test_reread_records_have_their_own_counter(rig: Rig) -> None:
    rig.join(0)
    rig.turn(INTERVAL_S)
    for bucket in (1, 2, 3):
        rig.join(bucket)
    rig.transactions.fail("commit", LOST)
    rig.turn(INTERVAL_S)
    rig.turn(INTERVAL_S)
    rig.until_live()
    rig.join(4)
    rig.turn(INTERVAL_S, times=2)
    assert rig.buckets() == [0, 1, 2, 3]
    assert rig.counted("reread_records_total") == 4, "the transaction that was lost held all of them"
    assert rig.counted("events_total", type="join") == 5 + 4


def test_a_commit_that_stays_due_makes_the_worker_unready_with_the_reason(rig: Rig) -> None:
    rig.turn(3_600.0)
    for bucket in range(3):
        rig.join(bucket)
    for _ in range(12):
        rig.transactions.fail("commit", ABORTED)
    rig.turn(1.0)
    assert rig.board.latest().health.ready
    rig.turn(1.0, times=11)
    health = rig.board.latest().health
    assert health.missing() == ("commits succeed",)
    assert health.reason == "nothing has been committed for 11 s: _TIMED_OUT: in a test"
    rig.turn(1.0, times=2)
    assert rig.board.latest().health.ready
    assert rig.buckets() == [0, 1]


def test_a_partition_whose_state_cannot_be_written_waits_alone(rig: Rig) -> None:
    for partition in (0, 1):
        rig.join(0, partition)
    rig.turn(1.5, times=2)
    rig.transactions.fail("commit", UNWRITTEN)
    rig.reader.errors[rig.settings.kafka.state_topic, 1] = "can't read state-1: no leader"
    for partition in (0, 1):
        rig.join(1, partition)
    rig.turn(INTERVAL_S)
    rig.turn(1.0, times=2)
    latest = rig.board.latest()
    assert (latest.restoring, [each.partition for each in latest.partitions]) == (1, [0])
    assert latest.health.reason == "partition 1: can't read state-1: no leader"
    assert (rig.buckets(0), rig.buckets(1)) == ([0], [])
    rig.reader.errors.clear()
    rig.turn(3.0, times=4)
    assert (rig.buckets(0), rig.buckets(1)) == ([0], [0])
    assert rig.board.latest().health.ready


@pytest.mark.parametrize("silent", [False, True])
def test_where_no_state_is_missing_records_that_could_not_be_written_are_sent_again(rig: Rig, *, silent: bool) -> None:
    rig.input.brokers.silent = "Kafka does not answer" * silent
    for _ in range(3):
        rig.transactions.fail("commit", UNWRITTEN)
    rig.join(0)
    rig.join(1)
    rig.turn(INTERVAL_S, times=6)
    assert rig.buckets() == [0]
    assert rig.counted("reread_records_total") == (0 if silent else 2), "restored once, where brokers answer"


def test_while_kafka_does_not_answer_the_worker_is_not_ready_and_names_the_broker(rig: Rig) -> None:
    rig.input.brokers.silent = "Kafka does not answer: b:9092 for 9 s"
    rig.turn(1.0)
    health = rig.board.latest().health
    assert (health.missing(), health.reason) == (("Kafka answers",), "Kafka does not answer: b:9092 for 9 s")
    rig.input.brokers.silent = ""
    rig.turn(1.0)
    assert rig.board.latest().health.ready


def test_a_partition_held_by_a_producers_open_transaction_is_shown_with_the_reason(rig: Rig) -> None:
    rig.input.brokers.held_partitions[1] = HeldPartition(5, 7, 0.0)
    rig.turn(1.0)
    assert [each.held_records for each in rig.board.latest().partitions] == [0, 7]
    assert rig.board.latest().health.ready, "not held for long"
    rig.input.brokers.holding = "held at offset 5 for 61 s"
    rig.turn(1.0)
    health = rig.board.latest().health
    assert (health.missing(), health.reason) == (("input readable",), "held at offset 5 for 61 s")


def test_a_worker_without_partitions_says_why(rig: Rig) -> None:
    rig.input.lose(0, 1)
    rig.input.brokers.group = "the group has no partition for this worker"
    rig.turn(1.0)
    health = rig.board.latest().health
    assert (health.missing(), health.reason) == (("assigned",), "the group has no partition for this worker")


def test_repeatedly_lost_transactions_make_the_worker_unready_until_one_commits(rig: Rig) -> None:
    rig.join(0)
    rig.join(1)
    for _ in range(3):
        rig.transactions.fail("commit", TransactionLost("_TIMED_OUT", "no answer"))
    seen = []
    for _ in range(12):
        rig.turn(1.0)
        health = rig.board.latest().health
        seen.append((rig.worker._publisher._losses_in_a_row, health.commits_succeed, health.reason))
    assert {succeed for losses, succeed, _ in seen if losses == 1} == {True}, "one loss may be a slow transaction"
    assert {succeed for losses, succeed, _ in seen if losses == 2} == {False}
    (reason,) = {reason for losses, succeed, reason in seen if losses == 3 and not succeed}
    assert reason == "3 transactions in a row were lost, nothing is committed: _TIMED_OUT: no answer"
    assert seen[-1][1], "a transaction was committed"
    assert rig.buckets() == [0]


def test_an_idle_worker_has_a_producer_again_once_kafka_answers(rig: Rig) -> None:
    rig.turn(1.0, times=3)
    assert rig.board.latest().health.ready
    rig.transactions._number = 0  # as after a transaction that was aborted, with nothing to publish since
    for _ in range(2):
        rig.transactions.fail("renew", TransactionAborted("_TIMED_OUT", "no broker answers"))
    rig.turn(1.0, times=2)
    health = rig.board.latest().health
    assert (health.missing(), health.reason) == (("producer ready",), "_TIMED_OUT: no broker answers")
    rig.turn(1.0, times=12)
    assert rig.board.latest().health.ready
