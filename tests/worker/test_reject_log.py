"""Rejected records in the log: one line a reason and minute, with their number and one example's place."""

import pytest
from structlog.testing import capture_logs

from consumer.observe.rate_limit import LINE_EVERY_S
from consumer.worker.reject_log import Example, RejectLog
from tests.worker.rig import INTERVAL_S, FakeClock, Rig


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def rejects(clock: FakeClock) -> RejectLog:
    return RejectLog("events", clock.time)


def line(reason: str, count: int, offset: int) -> dict[str, object]:
    return {
        "event": "records rejected", "log_level": "warning", "reason": reason, "count": count, "topic": "events",
        "partition": 3, "offset": offset, "message": "why", "schema": "id 7",
    }  # fmt: skip


def add(rejects: RejectLog, reason: str, count: int, offset: int) -> None:
    rejects.add(reason, count, Example(3, offset, "why", "id 7"))


def test_the_first_are_reported_at_once_and_the_others_a_minute_later(rejects: RejectLog, clock: FakeClock) -> None:
    with capture_logs() as lines:
        add(rejects, "truncated", 2, 10)
        add(rejects, "truncated", 3, 20)
        add(rejects, "null_value", 1, 25)
        add(rejects, "truncated", 4, 30)
        rejects.turn()
        assert lines == [line("truncated", 2, 10), line("null_value", 1, 25)]
        lines.clear()
        clock.now_s += LINE_EVERY_S - 1
        rejects.turn()
        assert lines == []
        clock.now_s += 1
        rejects.turn()
        assert lines == [line("truncated", 7, 20)]
        lines.clear()
        clock.now_s += 10 * LINE_EVERY_S
        rejects.turn()
        assert lines == []
        add(rejects, "truncated", 1, 40)
        assert lines == [line("truncated", 1, 40)]


def test_what_is_left_is_reported_at_the_end(rejects: RejectLog) -> None:
    with capture_logs() as lines:
        add(rejects, "truncated", 2, 10)
        add(rejects, "truncated", 3, 20)
        rejects.flush()
        rejects.flush()
    assert lines == [line("truncated", 2, 10), line("truncated", 3, 20)]


def test_poison_is_a_line_a_reason_and_minute_with_its_place() -> None:
    rig = Rig(partitions=2).start()
    with capture_logs() as captured:
        rig.join(0)
        for _ in range(6):
            rig.write(b"\x08", 0)
            rig.write_raw(None, 1)
            rig.turn(INTERVAL_S)
        lines = [each for each in captured if each["event"] == "records rejected"]
        assert [(each["reason"], each["count"], each["partition"], each["offset"]) for each in lines] == [
            ("truncated", 1, 0, 1),
            ("null_value", 1, 1, 0),
        ]
        assert lines[0]["topic"] == rig.settings.kafka.input_topic
        assert lines[0]["message"]
        rig.worker.stop()
        lines = [each for each in captured if each["event"] == "records rejected"][2:]
        assert sorted((each["reason"], each["count"], each["offset"]) for each in lines) == [
            ("null_value", 5, 1),
            ("truncated", 5, 2),
        ]
    assert len(rig.dead_letters()) == 12
