"""Text for people: times in UTC, and untrusted text without control characters."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_text(time_ms: int) -> str:
    """An ISO 8601 time in UTC with milliseconds, or the number of milliseconds if it is outside the calendar."""
    try:
        time = _EPOCH + timedelta(milliseconds=time_ms)
    except OverflowError:
        return f"{time_ms} ms"
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clock_text(time_ms: int) -> str:
    """The time of day in UTC, or the number of milliseconds if it is outside the calendar."""
    text = time_text(time_ms)
    return text[text.index("T") + 1 :][:8] if "T" in text else text


def escaped(text: str) -> str:
    """Text with control characters escaped, so that it can neither command a terminal nor break a line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
