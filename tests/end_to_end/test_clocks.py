"""Wrong clocks, on a real broker.

One of 101 players has a clock that is 30 s fast: the others count as if it were not there, where the record knows it.
```
 record's time     by a collector (CreateTime)     by the broker (LogAppendTime)     the event's own
 the fast one      taken at the record's time      taken at the record's time        believed, up to max_future_ms
```
"""

import time
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest

from consumer.runtime.clocks import Clocks
from consumer.settings.model import InputSettings
from consumer.worker.service import Service
from tests.end_to_end.stage import INPUT, Record, Stage, counted, running, stage
from tests.end_to_end.viewings import encoded
from tests.reference.events_counting import Rules
from tests.reference.sessions_counting import Event
from tests.support.waiting import until

DEFAULTS = Rules(window_duration_ms=60_000, bucket_ms=10_000, grace_ms=10_000)
BY_VIEWER = {"viewer_timeout_ms": 90_000}
PLAYERS = 101
FAST_MS = 30_000
HEARTBEAT_MS = 10_000
ROUNDS = 6
"""Heartbeats of every player: a minute in all."""

Stamp = Callable[[int, int], int]
"""The record's timestamp, by the true time and the event's."""


def collector(true_ms: int, _event_ms: int) -> int:
    return true_ms


def events_own(_true_ms: int, event_ms: int) -> int:
    return event_ms


def play(kafka: Stage, stamp: Stamp, true_ms: int) -> None:
    """One heartbeat of every player; the one in the middle is fast."""
    records = []
    for number in range(PLAYERS):
        event_ms = true_ms + number + (FAST_MS if number == PLAYERS // 2 else 0)
        value = encoded(Event("s", f"player {number}", event_ms, "B", 1_000_000))
        records.append(Record(b"s", value, stamp(true_ms + number, event_ms)))
    kafka.write(records)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def viewers(service: Service) -> int:
    return sum(each.concurrent_viewers for each in service.board.latest().streams)


def late(service: Service) -> float:
    reasons = ("stream_time", "stream_idle", "clamped")
    return sum(counted(service, "late_events_total", reason=reason) for reason in reasons)


def taken(service: Service) -> float:
    return counted(service, "events_total", type="bitrate")


def test_records_stamped_by_a_collector(bootstrap_servers: str) -> None:
    with stage(bootstrap_servers, 1, DEFAULTS, **BY_VIEWER) as kafka:
        begin_ms = now_ms() - ROUNDS * HEARTBEAT_MS
        for number in range(ROUNDS):
            play(kafka, collector, begin_ms + number * HEARTBEAT_MS)
        with running(kafka.settings()) as service:
            until(lambda: viewers(service) == PLAYERS, "all are shown")
            kafka.wait_until_all_is_committed()
            assert (taken(service), late(service)) == (ROUNDS * PLAYERS, 0)
            assert counted(service, "clamped_events_total") == ROUNDS
            assert counted(service, "largest_clock_skew_seconds") == FAST_MS / 1000
        summaries = kafka.summaries()
        assert kafka.dead_letters() == []
    assert summaries
    assert {each["peak_concurrent_viewers"] for each in summaries[1:]} == {PLAYERS}


def test_records_stamped_by_the_broker(bootstrap_servers: str) -> None:
    by_broker = {"message.timestamp.type": "LogAppendTime"}
    with stage(bootstrap_servers, 1, DEFAULTS, by_broker, **BY_VIEWER) as kafka:
        with running(kafka.settings()) as service:
            for number in range(1, ROUNDS + 1):
                play(kafka, events_own, now_ms() - PLAYERS)
                until(lambda expected=number * PLAYERS: taken(service) == expected, "all are taken")  # type: ignore[misc]  # a default binds it now
            until(lambda: viewers(service) == PLAYERS, "all are shown")
            assert late(service) == 0
            assert counted(service, "clamped_events_total") >= ROUNDS
            assert FAST_MS / 1000 - 5 < counted(service, "largest_clock_skew_seconds") <= FAST_MS / 1000
        assert kafka.dead_letters() == []


def test_records_with_the_events_own_time_are_believed_up_to_max_future_ms(bootstrap_servers: str) -> None:
    """What Flink and Kafka Streams write: no clock but the player's is in the record, so nothing can be clamped."""
    with stage(bootstrap_servers, 1, DEFAULTS, **BY_VIEWER) as kafka:
        begin_ms = now_ms() - ROUNDS * HEARTBEAT_MS - FAST_MS
        for number in range(ROUNDS):
            play(kafka, events_own, begin_ms + number * HEARTBEAT_MS)
        with running(kafka.settings()) as service:
            kafka.wait_until_all_is_committed()
            assert counted(service, "clamped_events_total") == 0
            assert late(service) > PLAYERS, "the documented limit"
            until(lambda: 0 < viewers(service) < PLAYERS, "the others are not there")


@pytest.mark.parametrize("max_future_ms", [5_000])
def test_then_a_small_max_future_ms_keeps_the_fast_one_out(bootstrap_servers: str, max_future_ms: int) -> None:
    strict = INPUT.model_copy(update={"max_future_ms": max_future_ms})
    assert isinstance(strict, InputSettings)
    with stage(bootstrap_servers, 1, DEFAULTS, **BY_VIEWER) as kafka, running(kafka.settings(strict)) as service:
        for number in range(1, ROUNDS + 1):
            play(kafka, events_own, now_ms() - PLAYERS)
            until(lambda expected=number * (PLAYERS - 1): taken(service) == expected, "the others are taken")  # type: ignore[misc]  # a default binds it now
        until(lambda: viewers(service) == PLAYERS - 1, "the others are shown")
        assert late(service) == 0
        # The loop counts rejects after events.
        until(lambda: counted(service, "rejects_total", reason="future") == ROUNDS, "the fast one is rejected")


class WallClock:
    """This machine's, wrong by as much as a test says."""

    wrong_by_s = -3_600.0

    def time(self) -> float:
        return time.time() + self.wrong_by_s


def test_a_slow_clock_of_this_machine_rejects_and_commits_nothing_and_heals(bootstrap_servers: str) -> None:
    """More records than are held in memory: those behind them are read twice, and counted once."""
    wall, number = WallClock(), 3_500
    with stage(bootstrap_servers, 1, DEFAULTS, **BY_VIEWER) as kafka:
        kafka.write(Record(b"s", encoded(Event("s", f"v{i}", now_ms(), "B", 1)), now_ms()) for i in range(number))
        with running(kafka.settings(), Clocks(wall_s=wall.time)) as service:
            until(lambda: service.board.latest().clock_waiting == 1, "it waits")
            missing, reason = readyz(service)[1:3]
            assert missing == "missing: clock agrees with records"
            assert "ahead of this machine's clock, which says" in reason
            assert kafka.committed().get(0, 0) == 0
            wall.wrong_by_s = 0.0
            kafka.wait_until_all_is_committed()
            until(lambda: readyz(service)[0] == "ready", "it is ready")
            assert taken(service) == number
        assert kafka.dead_letters() == []


def readyz(service: Service) -> list[str]:
    try:
        with urllib.request.urlopen(f"{service.address}/readyz", timeout=10) as answer:  # noqa: S310  # the address is one of ours
            text: str = answer.read().decode()
    except urllib.error.HTTPError as error:
        text = error.read().decode()
    return text.splitlines()
