"""A wrong clock of this machine holds its partitions and loses nothing; a wrong one of a producer costs its records.

Records are written at the true time. `rig.clock.wrong_by_s` is how far this machine's clock is ahead of it.
"""

import itertools

import pytest

from consumer.intake.schemas.builtin import builtin_schema_text
from consumer.settings.model import InputSettings
from consumer.worker.clock_wait import FEW, HELD_MOST, SHOWN_AFTER_S
from consumer.worker.processing import HELD_RETRY_S
from tests.intake.payloads import confluent, join
from tests.intake.schemas.registry_server import RegistryServer
from tests.worker.rig import INTERVAL_S, Rig

SLOW_S = 62.0
"""Row 13 of the field reports; `input.max_future_ms` is 60 s."""
DAY_MS = 86_400_000
RETRY_S = HELD_RETRY_S + 0.01


def slow(**settings: object) -> Rig:
    rig = Rig(partitions=2)
    rig.settings = rig.settings.model_copy(update={"input": rig.settings.input.model_copy(update=settings)})
    rig.clock.now_s = 1_700_000_000.0
    rig.kill()
    rig.clock.wrong_by_s = -SLOW_S
    return rig


@pytest.fixture
def rig() -> Rig:
    return slow()


def now(rig: Rig, viewer_id: str = "v", partition: int = 0) -> None:
    """An event of now, in a record of now."""
    rig.write(join("s", viewer_id, rig.clock.now_ms()), partition)


def in_future(rig: Rig, number: int = 1, partition: int = 0, by_ms: int = DAY_MS) -> None:
    """Records with timestamps ahead of the true time."""
    for _ in range(number):
        rig.write(join("far"), partition, timestamp_ms=rig.clock.now_ms() + by_ms)


def events(rig: Rig) -> float:
    return rig.counted("events_total", type="join")


def rejected(rig: Rig) -> float:
    return rig.counted("rejects_total", reason="future")


def waits(rig: Rig) -> bool:
    return rig.board.latest().clock_waiting > 0


# true time     ──e──e──e──e──e──────────────────
# this clock    62 s behind ────────┐ set right
# processed                         └─e e e e e      nothing was rejected or committed before


def test_a_slow_clock_rejects_and_commits_nothing_and_heals(rig: Rig) -> None:
    for _ in range(100):
        now(rig)
        rig.turn(0.01)
    rig.turn(1.0, times=1)
    assert (events(rig), rejected(rig), rig.dead_letters()) == (0, 0, [])
    assert rig.cluster.committed.get(0, 0) == 0
    rig.clock.wrong_by_s = 0.0
    rig.turn(RETRY_S)
    assert (events(rig), rejected(rig)) == (100, 0)
    rig.turn(1.0)
    assert rig.cluster.committed[0] == 100


def test_while_it_waits_the_worker_is_unready_and_shows_both_times(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    rig.clock.wrong_by_s = -3_600.0
    for _ in range(FEW):
        now(rig)
    rig.turn(INTERVAL_S)
    rig.turn(SHOWN_AFTER_S, times=3)
    health = rig.board.latest().health
    assert health.missing() == ("clock agrees with records",)
    assert health.reason.startswith(
        "partition 0 waits: the next record (offset 0) is of 2023-11-14T22:13:20.000Z, more than input.max_future_ms = "
        "60000 ahead of this machine's clock, which says 2023-11-14T21:13:2"
    )
    assert rig.board.latest().clock_waiting == 1
    assert capsys.readouterr().out.count("partition waits") == 1, "one line"
    rig.clock.wrong_by_s = 0.0
    rig.turn(RETRY_S)
    rig.turn(1.0)
    assert rig.board.latest().health.ready
    assert not waits(rig)


def test_while_one_partition_waits_others_go_on(rig: Rig) -> None:
    old_ms = rig.clock.now_ms() - 70_000
    rig.write(join("s", "v", old_ms), 1, timestamp_ms=old_ms)
    now(rig, partition=0)
    rig.turn(0.9, times=2)
    assert (rig.cluster.committed.get(0, 0), rig.cluster.committed[1]) == (0, 1)


def test_a_clock_just_too_slow_delays_records_and_rejects_none_though_their_order_is_not_that_of_time(
    rig: Rig,
) -> None:
    jitter_ms = itertools.cycle((40, -80, 0, 90, -60))
    for _ in range(400):
        now_ms = rig.clock.now_ms()
        rig.write(join("s", "v", now_ms), timestamp_ms=now_ms + next(jitter_ms))
        rig.turn(0.02)
    assert 200 < events(rig) < 400, "two seconds behind"
    rig.turn(0.25, times=10)
    assert (events(rig), rejected(rig)) == (400, 0)


@pytest.mark.parametrize("slow_s", [59.95, 60.0, 60.05])
def test_a_clock_at_the_limit_rejects_none(rig: Rig, slow_s: float) -> None:
    rig.clock.wrong_by_s = -slow_s
    jitter_ms = itertools.cycle((40, -80, 0, 90, -60))
    for _ in range(200):
        rig.write(join("s", "v", rig.clock.now_ms()), timestamp_ms=rig.clock.now_ms() + next(jitter_ms))
        rig.turn(0.02)
    rig.turn(0.25, times=4)
    assert (events(rig), rejected(rig)) == (200, 0)


# Records of a producer that is ahead, this clock is right.


def test_one_record_ahead_is_rejected_by_the_next_one_that_is_in_time(rig: Rig) -> None:
    rig.clock.wrong_by_s = 0.0
    in_future(rig)
    rig.turn(INTERVAL_S)
    assert (rejected(rig), rig.cluster.committed.get(0, 0)) == (0, 0)
    now(rig)
    rig.turn(INTERVAL_S)
    rig.turn(INTERVAL_S)
    assert (events(rig), rejected(rig), len(rig.dead_letters())) == (1, 1, 1)
    assert rig.cluster.committed[0] == 2
    assert not waits(rig)


def test_those_in_between_are_rejected_and_those_behind_the_last_one_wait(rig: Rig) -> None:
    rig.clock.wrong_by_s = 0.0
    in_future(rig, 3)
    now(rig)
    in_future(rig, 2)
    now(rig)
    in_future(rig, 4)
    rig.turn(INTERVAL_S)
    rig.turn(INTERVAL_S)
    assert (events(rig), rejected(rig)) == (2, 5)
    assert rig.cluster.committed[0] == 7
    assert len(rig.worker._tasks[0].held) == 4


def test_a_few_at_the_end_are_rejected_once_max_future_ms_have_passed(rig: Rig) -> None:
    rig.clock.wrong_by_s = 0.0
    in_future(rig, FEW - 1)
    rig.turn(1.0, times=59)
    assert rejected(rig) == 0
    assert waits(rig)
    rig.turn(1.0, times=3)
    assert rejected(rig) == FEW - 1
    assert rig.cluster.committed[0] == FEW - 1
    assert rig.board.latest().health.ready


def test_many_wait_for_as_long_as_nothing_in_time_follows(rig: Rig) -> None:
    rig.clock.wrong_by_s = 0.0
    in_future(rig, FEW)
    rig.turn(1.0, times=300)
    assert rejected(rig) == 0
    assert waits(rig)
    now(rig)
    rig.turn(INTERVAL_S)
    assert rejected(rig) == FEW


def test_without_a_kafka_timestamp_the_events_time_is_what_counts(rig: Rig) -> None:
    rig.write(join("s", "v", rig.clock.now_ms()), timestamp_ms=-1)
    rig.turn(1.5, times=1)
    assert events(rig) == 0
    rig.clock.wrong_by_s = 0.0
    rig.turn(1.5)
    assert events(rig) == 1
    assert rig.counted("clamped_events_total") == 0, "no clock of this machine decides a result"


def test_what_is_no_event_and_has_no_time_neither_waits_nor_releases_others(rig: Rig) -> None:
    rig.write_raw(b"no event", timestamp_ms=-1)
    now(rig)
    rig.write_raw(b"no event", timestamp_ms=-1)
    rig.turn(INTERVAL_S)
    rig.turn(INTERVAL_S)
    assert (len(rig.dead_letters()), rig.cluster.committed[0]) == (1, 1)


def test_what_is_no_event_waits_with_the_others(rig: Rig) -> None:
    rig.write_raw(b"no event")
    now(rig)
    rig.turn(INTERVAL_S, times=3)
    assert (rig.dead_letters(), rig.cluster.committed.get(0, 0)) == ([], 0)


# Memory is bounded, and nothing that did not fit is lost.


def test_more_than_fit_are_read_again(rig: Rig) -> None:
    number = 3 * HELD_MOST + 7
    for i in range(number):
        now(rig, f"v{i}")
    rig.turn(INTERVAL_S, times=20)
    assert len(rig.worker._tasks[0].held) == HELD_MOST
    rig.clock.wrong_by_s = 0.0
    rig.turn(RETRY_S, times=20)
    assert (events(rig), rejected(rig)) == (number, 0)
    assert rig.cluster.committed[0] == number


def test_a_record_in_time_behind_more_than_fit_rejects_them_all() -> None:
    rig = slow(breaker=False)
    rig.clock.wrong_by_s = 0.0
    number = 2 * HELD_MOST + 7
    in_future(rig, number)
    rig.turn(INTERVAL_S, times=20)
    assert rejected(rig) == 0
    now(rig)
    rig.turn(RETRY_S, times=20)
    assert (events(rig), rejected(rig)) == (1, number)
    assert rig.cluster.committed[0] == number + 1


def test_each_record_is_compared_once_before_reading_pauses(rig: Rig) -> None:
    """While the clock comes closer, what is known to be ahead is not read over and over."""
    rig.clock.wrong_by_s = -100.0
    number = 5 * HELD_MOST
    for i in range(number):
        rig.write(join("s", "v", rig.clock.now_ms()), timestamp_ms=rig.clock.now_ms() + 10 * i)
    read = 0
    for turns, taken in ((390, 0), (610, number)):
        for _ in range(turns):
            before = rig.input._positions[0]
            rig.turn(0.1)
            read += max(0, rig.input._positions[0] - before)
        assert (events(rig), rejected(rig)) == (taken, 0)
    assert read <= 3 * number


@pytest.mark.parametrize("lost", [True, False])
def test_a_partition_that_goes_while_it_waits_comes_back_whole(rig: Rig, lost: bool) -> None:
    now(rig)
    rig.turn(1.0, times=2)
    (rig.input.lose if lost else rig.input.revoke)(0)
    rig.turn(1.0, times=2)
    assert not waits(rig)
    rig.clock.wrong_by_s = 0.0
    rig.input.assign(0)
    rig.turn(1.0, times=3)
    assert events(rig) == 1


def test_a_worker_that_stops_while_it_waits_commits_nothing_of_it(rig: Rig) -> None:
    rig.clock.wrong_by_s = -3_600.0
    now(rig)
    rig.turn(1.0, times=2)
    rig.worker.stop()
    assert rig.cluster.committed.get(0, 0) == 0
    rig.clock.wrong_by_s = 0.0
    rig.kill()
    rig.turn(1.0, times=2)
    assert events(rig) == 1


def test_records_that_did_not_fit_are_read_again_behind_one_that_waits_for_its_schema() -> None:
    server = RegistryServer()
    try:
        server.add(1, builtin_schema_text("viewer_event"))
        rig = Rig(registry_url=server.url).start()
        number = HELD_MOST + 500
        rig.write(b"", schema_id=9)
        for i in range(number):
            now(rig, f"v{i}")
        rig.clock.wrong_by_s = -3_600.0
        rig.turn(1.5, times=5)
        assert rig.worker._tasks[0].ahead.dropped_from == HELD_MOST
        rig.clock.wrong_by_s = 0.0
        rig.turn(1.5)
        assert events(rig) == 0
        assert "doesn't know id 9" in rig.worker._tasks[0].waiting_reason
        rig.turn(1.5, times=25)
        assert (events(rig), len(rig.dead_letters())) == (number, 1)
        assert rig.cluster.committed[0] == number + 1
    finally:
        server.close()


# `future` feeds the circuit breaker, so that no clock empties a topic into the dead letters.


def test_events_ahead_of_their_records_open_the_breaker(rig: Rig) -> None:
    rig.clock.wrong_by_s = 0.0
    for _ in range(1_001):
        rig.write(join("s", "v", rig.clock.now_ms() + 60_001))
    rig.turn(1.0, times=5)
    assert "1,000 records in a row are rejects, most of them future" in rig.board.latest().health.reason
    assert rig.dead_letters() == []


def test_records_ahead_of_the_clock_open_the_breaker(rig: Rig) -> None:
    rig.clock.wrong_by_s = 0.0
    in_future(rig, 1_001)
    now(rig)
    rig.turn(INTERVAL_S, times=10)
    assert "most of them future" in rig.board.latest().health.reason
    assert rig.dead_letters() == []
    assert rig.cluster.committed.get(0, 0) == 0


# Steps of the wall clock, and a machine that was suspended.


def test_a_clock_set_back_holds_and_one_set_forward_again_heals() -> None:
    rig = slow()
    rig.clock.wrong_by_s = 0.0
    for step_s in (0.0, -120.0, 0.0, -7_200.0, 0.0):
        rig.clock.wrong_by_s = step_s
        for _ in range(20):
            now(rig)
            rig.turn(0.1)
    rig.turn(1.0, times=3)
    assert (events(rig), rejected(rig)) == (100, 0)
    assert rig.cluster.committed[0] == 100


def test_a_clock_set_forward_changes_nothing() -> None:
    rig = slow()
    for step_s in (0.0, 7_200.0, 86_400.0, 0.0):
        rig.clock.wrong_by_s = step_s
        for _ in range(20):
            now(rig)
            rig.turn(0.1)
    rig.turn(1.0)
    assert (events(rig), rejected(rig)) == (80, 0)
    assert not waits(rig)


def test_a_machine_that_was_suspended_goes_on() -> None:
    """Its monotonic clock stands still meanwhile; its wall clock says the old time until it is set."""
    rig = slow()
    rig.clock.wrong_by_s = 0.0
    now(rig)
    rig.turn(INTERVAL_S)
    asleep_s = 3_600.0
    for _ in range(30):  # written by others meanwhile
        rig.write(join("s", "w", rig.clock.now_ms() + 1_000_000), timestamp_ms=rig.clock.now_ms() + 1_000_000)
    rig.turn(0.5, times=4)
    assert (events(rig), rejected(rig)) == (1, 0), "it is awake, and its clock still says the old time"
    assert waits(rig)
    rig.clock.wrong_by_s = asleep_s
    rig.turn(0.5, times=4)
    assert (events(rig), rejected(rig)) == (31, 0)
    assert not waits(rig)


def test_without_a_limit_what_is_ahead_is_rejected_at_once() -> None:
    rig = Rig()
    rig.settings = rig.settings.model_copy(update={"input": InputSettings(max_future_ms=0)})
    rig.kill()
    rig.write_raw(confluent(join(timestamp_ms=rig.clock.now_ms() + 1)), timestamp_ms=rig.clock.now_ms() + 1)
    rig.turn()
    assert rejected(rig) == 1


# true time     ──e──e──e──…──e──────e──────────────────────────────
# this clock    1 h behind ────┐ right ┐ 1 h behind ┐ right
# processed                    └─ held ┘            └─ those that did not fit: read again, nothing was rejected


def test_a_clock_that_is_set_back_again_before_all_is_read_again_loses_nothing(rig: Rig) -> None:
    number = HELD_MOST + 500
    rig.clock.wrong_by_s = -3_600.0
    for i in range(number):
        now(rig, f"v{i}")
    rig.turn(INTERVAL_S, times=10)
    rig.clock.wrong_by_s = 0.0
    now(rig)
    rig.turn(0.01)
    assert events(rig) == HELD_MOST, "the record that follows is in time, and the others are not read again yet"
    rig.clock.wrong_by_s = -3_600.0
    rig.turn(RETRY_S, times=10)
    assert (events(rig), rejected(rig)) == (HELD_MOST, 0)
    assert waits(rig)
    rig.clock.wrong_by_s = 0.0
    rig.turn(RETRY_S, times=20)
    assert (events(rig), rejected(rig)) == (number + 1, 0)
    assert rig.cluster.committed[0] == number + 1
