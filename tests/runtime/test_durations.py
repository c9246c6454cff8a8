import pytest

from consumer.errors import UsageError
from consumer.runtime.durations import parse_span_ms, parse_time_ms
from consumer.windows.events import MAX_ABS_TIMESTAMP_MS


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0s", 0), ("500ms", 500), ("90s", 90_000), ("1.5m", 90_000), ("2h", 7_200_000), ("1d", 86_400_000)],
)
def test_a_duration_has_a_unit(text: str, expected: int) -> None:
    assert parse_span_ms("--duration", text) == expected


@pytest.mark.parametrize("text", ["", "90", "s", "-1s", "1 s", "1w", "1e3s", "nan s"])
def test_an_invalid_duration_is_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--duration: must be a number with a unit"):
        parse_span_ms("--duration", text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("-5", -5),
        ("1700000000123", 1_700_000_000_123),
        ("1970-01-02", 86_400_000),
        ("1970-01-01T00:00:01.250Z", 1_250),
        ("1970-01-01T00:00:01", 1_000),
        ("1970-01-01T01:00:00+01:00", 0),
    ],
)
def test_a_time_is_iso_8601_or_milliseconds(text: str, expected: int) -> None:
    assert parse_time_ms("--start", text) == expected


@pytest.mark.parametrize("text", ["", "now", "2026-13-01", "1.5", str(2**52 + 1)])
def test_an_invalid_time_is_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--start: must be "):
        parse_time_ms("--start", text)


def test_a_time_has_the_range_of_event_times() -> None:
    assert parse_time_ms("--since", str(MAX_ABS_TIMESTAMP_MS)) == MAX_ABS_TIMESTAMP_MS
    with pytest.raises(UsageError):
        parse_time_ms("--since", str(MAX_ABS_TIMESTAMP_MS + 1))
