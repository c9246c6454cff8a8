"""A flood of rejects stops its partition; uncommitted rejects get no dead letter."""

import pytest

from consumer.settings.model import CommitSettings
from consumer.worker import publishing
from consumer.worker.circuit_breaker import LIMITS
from tests.worker.rig import INTERVAL_S, Rig

IN_A_ROW, RATIO = LIMITS
POISON = b"\1not what input.format says"
TOO_MANY = IN_A_ROW.among


@pytest.fixture
def rig() -> Rig:
    return Rig(partitions=2).start()


def poison(rig: Rig, count: int, partition: int = 0) -> None:
    for _ in range(count):
        rig.write_raw(POISON, partition)


# partition 0   joins 0 1 │ x x x … x (1,000) │ join 2
# committed             2 ┘   none of these, and nothing behind them


def test_a_thousand_rejects_in_a_row_stop_the_partition_and_leave_no_dead_letter(rig: Rig) -> None:
    rig.join(0)
    rig.join(1)
    rig.turn(INTERVAL_S)
    assert rig.cluster.committed[0] == 2
    poison(rig, TOO_MANY)
    rig.join(2)
    rig.turn(1.0, times=5)
    assert rig.dead_letters() == []
    assert rig.cluster.committed[0] == 2
    assert rig.buckets() == [0]


def test_the_worker_is_up_but_not_ready_and_says_why(rig: Rig) -> None:
    poison(rig, TOO_MANY)
    rig.turn(1.0, times=3)
    health = rig.board.latest().health
    assert health.missing() == ("breaker closed",)
    assert health.reason.startswith("partition 0: 1,000 records in a row are rejects, most of them bad_framing (the ")
    assert "input.breaker = false" in health.reason
    assert rig.board.latest().tripped == 1


def test_other_partitions_continue_and_lose_nothing(rig: Rig) -> None:
    for bucket in range(3):
        rig.join(bucket, partition=1)
    rig.write_raw(POISON, partition=1)
    poison(rig, TOO_MANY)
    rig.turn(INTERVAL_S)
    rig.turn(INTERVAL_S)
    assert rig.buckets(1) == [0, 1]
    rig.join(3, partition=1)
    rig.turn(INTERVAL_S)
    assert rig.buckets(1) == [0, 1, 2]
    assert rig.dead_letters() == [POISON], "the dead letter of partition 1"
    assert rig.cluster.committed[1] == 5
    assert all(0 not in carried or carried[0] == 0 for carried in rig.transactions.carried)


def test_dead_letters_sent_before_the_breaker_opened_are_aborted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "SEND_AT_ONCE", 600)
    rig = Rig(commit=CommitSettings(interval_ms=60_000, checkpoint_interval_ms=60_000)).start()
    rig.turn(60.0)
    rig.join(0)
    rig.join(1)
    poison(rig, 600)
    rig.turn()
    assert rig.transactions.in_transaction, "the transaction has summaries and dead letters, and no commit is due"
    poison(rig, 400)
    rig.turn()
    rig.turn(120.0, times=2)
    assert (rig.summaries(), rig.dead_letters()) == ([], [])


def test_fewer_rejects_become_dead_letters(rig: Rig) -> None:
    poison(rig, TOO_MANY - 1)
    rig.join(0)
    poison(rig, TOO_MANY - 1)
    rig.turn(INTERVAL_S, times=4)
    assert len(rig.dead_letters()) == 2 * (TOO_MANY - 1)
    assert rig.board.latest().health.breaker_closed


def test_a_ratio_of_rejects_stops_the_partition_too(rig: Rig) -> None:
    for _ in range(RATIO.among // 5):
        poison(rig, 4)
        rig.join(0)
    rig.turn(0.1, times=20)
    assert "more than 7,500 of the last 10,000 records" in rig.board.latest().health.reason
    assert len(rig.dead_letters()) <= RATIO.most


def test_half_of_the_records_may_be_rejects(rig: Rig) -> None:
    for _ in range(RATIO.among):
        poison(rig, 1)
        rig.join(0)
    rig.turn(0.1, times=25)
    assert len(rig.dead_letters()) == RATIO.among
    assert rig.cluster.committed[0] == 2 * RATIO.among


def test_events_beyond_the_stream_limit_count_as_rejects() -> None:
    rig = Rig(max_streams=1).start()
    for number in range(TOO_MANY + 1):
        rig.join(0, stream_id=f"s{number}")
    rig.turn(1.0, times=3)
    assert "most of them stream_limit" in rig.board.latest().health.reason


def test_without_a_breaker_all_rejects_become_dead_letters() -> None:
    rig = Rig()
    rig.settings = rig.settings.model_copy(update={"input": rig.settings.input.model_copy(update={"breaker": False})})
    rig.kill()
    poison(rig, 3 * TOO_MANY)
    rig.turn(INTERVAL_S, times=8)
    assert len(rig.dead_letters()) == 3 * TOO_MANY


def test_a_revoked_partition_takes_its_breaker_along(rig: Rig) -> None:
    poison(rig, TOO_MANY)
    rig.turn(1.0, times=2)
    rig.input.revoke(0)
    rig.turn(1.0)
    assert rig.board.latest().health.breaker_closed
    assert rig.cluster.committed.get(0, 0) == 0


def test_the_next_owner_begins_at_the_commit_and_stops_again(rig: Rig) -> None:
    rig.join(0)
    rig.turn(1.0, times=2)
    poison(rig, TOO_MANY)
    rig.turn(1.0, times=2)
    rig.kill()
    rig.turn(1.0, times=3)
    assert rig.board.latest().tripped == 1
    assert (rig.dead_letters(), rig.cluster.committed[0]) == ([], 1)


def test_after_an_unknown_outcome_the_partition_is_restored_and_stops_again(rig: Rig) -> None:
    poison(rig, TOO_MANY)
    rig.turn(1.0, times=2)
    rig.worker._publisher.outcome_unknown = True
    rig.turn(1.0, times=5)
    assert rig.board.latest().tripped == 1
    assert rig.dead_letters() == []
