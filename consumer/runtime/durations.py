"""Times and spans as people write them on a command line."""

import re
from datetime import UTC, datetime

from consumer.errors import UsageError

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_MAX_ABS_TIME_MS = 2**52
"""The range of event timestamps (`consumer.windows.events.MAX_ABS_TIMESTAMP_MS`)."""
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def parse_span_ms(option: str, text: str) -> int:
    """Milliseconds of `90s`, `1.5h` and the like.

    Raises:
        UsageError: naming the option.
    """
    span_ms = read_span_ms(text)
    if span_ms is None:
        raise UsageError(f'{option}: must be a number with a unit, as 500ms, 90s, 10m, 2h or 1d, not "{text}"')
    return span_ms


def read_span_ms(text: str) -> int | None:
    """Milliseconds of `90s`, `1.5h` and the like; None if it is not such a text."""
    match = _SPAN.fullmatch(text)
    return None if match is None else round(float(match[1]) * _UNITS_MS[match[2]])


def parse_time_ms(option: str, text: str) -> int:
    """Unix time in milliseconds, from ISO 8601 (UTC by default) or from a number of milliseconds.

    Raises:
        UsageError: naming the option.
    """
    try:
        time_ms = int(text) if re.fullmatch(r"-?\d+", text) else _iso_ms(text)
    except ValueError:
        raise UsageError(
            f'{option}: must be a time as 2026-01-31T20:15:00Z, or in milliseconds, not "{text}"'
        ) from None
    if abs(time_ms) > _MAX_ABS_TIME_MS:
        raise UsageError(f"{option}: must be within {_MAX_ABS_TIME_MS} ms of 1970, not {text}")
    return time_ms


def _iso_ms(text: str) -> int:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return round(time.timestamp() * 1000)
