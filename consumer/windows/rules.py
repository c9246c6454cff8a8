"""The settings that shape results, as plain numbers that compiled code can take."""

from typing import NamedTuple

DAY_MS = 86_400_000
"""How long a stream with a count above 0 and no events of its own is kept, by partition time."""


class WindowRules(NamedTuple):
    """All times in milliseconds; `max_streams` is per partition."""

    window_duration_ms: int
    bucket_ms: int
    grace_ms: int
    stream_idle_ms: int
    max_streams: int
