"""A client that has stopped fetching a partition: it is noticed, told, and another one reads on."""

import pytest

from consumer.kafka.protocols import HeldPartition
from consumer.worker.stalled_reads import RENEW_EVERY_S, STALLED_S
from tests.worker.rig import Rig


def stalled_rig() -> Rig:
    """Of two partitions the first is not fetched any more, and both have new records."""
    rig = Rig(2).start()
    rig.turn(1.0, times=3)
    rig.input.stuck.add(0)
    for partition in (0, 1):
        rig.join(0, partition)
    return rig


def pass_s(rig: Rig, seconds: float) -> None:
    rig.turn(0.5, times=int(2 * seconds))


def test_another_client_reads_on_and_nothing_is_lost_or_doubled() -> None:
    rig = stalled_rig()
    pass_s(rig, 3.0)
    assert rig.worker._tasks[1].next_offset == 1, "the other partition is read"
    pass_s(rig, STALLED_S + 10.0)
    assert rig.input.renewed == 1
    assert [rig.worker._tasks[each].next_offset for each in (0, 1)] == [1, 1]
    pass_s(rig, RENEW_EVERY_S + STALLED_S)
    assert rig.input.renewed == 1
    assert rig.board.latest().health.ready


def test_a_worker_is_not_ready_while_another_client_does_not_help_either(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = stalled_rig()
    renewed: list[float] = []
    monkeypatch.setattr(rig.input, "renew_reader", lambda: renewed.append(rig.clock.now_s))
    pass_s(rig, RENEW_EVERY_S + STALLED_S + 10.0)
    health = rig.board.latest().health
    assert health.missing() == ("input readable",)
    assert health.reason.startswith("partition 0: nothing has been read from offset 0 on for ")
    assert health.reason.endswith(" s, although records wait up to 1")
    assert len(renewed) == 2, "not more often than once a minute"
    rig.input.stuck.clear()
    pass_s(rig, 3.0)
    assert rig.board.latest().health.ready


def test_what_an_open_transaction_holds_back_is_no_stall() -> None:
    rig = stalled_rig()
    rig.input.brokers.held_partitions[0] = HeldPartition(0, 1, 0.0)
    pass_s(rig, 3 * STALLED_S)
    assert rig.input.renewed == 0


def test_a_partition_that_is_restored_is_no_stall() -> None:
    rig = stalled_rig()
    for _ in range(4):
        pass_s(rig, STALLED_S - 8.0)
        rig.worker._start_over()
        rig.input.stuck.add(0)
    assert rig.input.renewed == 0


def test_a_partition_whose_leader_does_not_answer_makes_the_worker_unready_until_it_does() -> None:
    rig = stalled_rig()
    rig.ends.leaderless.add(0)
    pass_s(rig, STALLED_S + 10.0)
    health = rig.board.latest().health
    assert health.missing() == ("input readable",)
    assert health.reason.startswith("partition 0: nothing has been read from offset 0 on for ")
    assert health.reason.endswith(" s, its leader does not answer")
    assert rig.input.renewed == 0, "no other client gets an answer"
    rig.ends.leaderless.clear()
    rig.input.stuck.clear()
    pass_s(rig, 3.0)
    assert rig.board.latest().health.ready
    assert [rig.worker._tasks[each].next_offset for each in (0, 1)] == [1, 1]


def test_a_partition_that_waits_for_room_is_no_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = stalled_rig()
    pass_s(rig, STALLED_S / 2)
    assert rig.worker._stalled_reads._stalls.keys() == {0}, "its end is known, and nothing was read"
    rig.worker._tasks[0].paused = True
    monkeypatch.setattr(rig.worker._backpressure, "turn", lambda _: None)  # there is no room for long
    pass_s(rig, 3 * STALLED_S)
    assert rig.input.renewed == 0
    assert rig.board.latest().health.ready
