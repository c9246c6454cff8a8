import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import UsageError
from consumer.simulate.options import SimulateOptions
from consumer.simulate.pace import Pace, choose_pace

NOW = 1_800_000_000_000


def test_in_real_time_event_time_follows_the_clock_from_now_on() -> None:
    pace = choose_pace(SimulateOptions(), NOW)
    assert pace.start_ms == NOW
    assert pace.reach_ms(NOW + 1_500) == NOW + 1_500


def test_with_history_past_events_are_due_at_once_and_then_the_clock_is_followed() -> None:
    pace = choose_pace(SimulateOptions(history_ms=120_000), NOW)
    assert pace.start_ms == NOW - 120_000
    assert pace.reach_ms(NOW) == NOW
    assert pace.reach_ms(NOW + 10) == NOW + 10


def test_fast_runs_end_now_so_that_no_event_is_in_the_future() -> None:
    pace = choose_pace(SimulateOptions(speed=0, duration_ms=60_000), NOW)
    assert pace.start_ms == NOW - 60_000
    assert pace.reach_ms(NOW) == sys.maxsize


@given(st.floats(1.01, 1_000), st.integers(1, 10**8))
def test_a_fast_run_never_overtakes_the_clock(speed: float, duration_ms: int) -> None:
    pace = choose_pace(SimulateOptions(speed=speed, duration_ms=duration_ms), NOW)
    done_ms = int(duration_ms / speed)
    assert pace.reach_ms(NOW + done_ms) <= NOW + done_ms


def test_a_slow_run_starts_now() -> None:
    pace = choose_pace(SimulateOptions(speed=0.5), NOW)
    assert (pace.start_ms, pace.reach_ms(NOW + 1_000)) == (NOW, NOW + 500)


def test_a_given_start_is_kept() -> None:
    pace = choose_pace(SimulateOptions(start_ms=42, speed=10, duration_ms=5), NOW)
    assert (pace.start_ms, pace.reach_ms(NOW + 100)) == (42, 1_042)


@given(st.integers(0, 10**6), st.floats(0.01, 100))
def test_after_the_computed_wait_the_events_are_due(ahead_ms: int, speed: float) -> None:
    pace = Pace(NOW, NOW, speed)
    wait_s = pace.wait_s(NOW + ahead_ms, NOW)
    assert pace.reach_ms(NOW + round(wait_s * 1000) + 1) >= NOW + ahead_ms - speed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"speed": 0.0}, "needs an end"),
        ({"speed": 2.0}, "needs an end"),
        ({"out": "x.avro"}, "needs an end"),
        ({"speed": -1.0}, "speed must be at least 0"),
        ({"duration_ms": 0}, "duration must be at least 1"),
        ({"max_events": 0}, "max_events must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"schema_id": 2**31}, "schema id must be"),
        ({"out": "x.csv", "duration_ms": 5}, r"suffixes \.avro, \.jsonl"),
        ({"history_ms": 5, "start_ms": 7}, "history needs real time"),
        ({"history_ms": 5, "speed": 2.0, "duration_ms": 5}, "history needs real time"),
    ],
)
def test_conflicting_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SimulateOptions(**options)  # type: ignore[arg-type]  # a table of invalid ones
