"""The settings that shape results, as plain numbers for compiled code."""

from typing import NamedTuple

from consumer.runtime.jit import inlined

DAY_MS = 86_400_000
"""How long a stream with a count above 0 and no events of its own is kept, by partition time."""


class WindowRules(NamedTuple):
    """All times in milliseconds; `max_streams` and `max_viewers` are per partition."""

    window_duration_ms: int
    bucket_ms: int
    grace_ms: int
    stream_idle_ms: int
    max_streams: int
    sessions: bool = False
    """Viewers are counted by their ids, else by joins and leaves alone; what follows is for the former."""
    viewer_timeout_ms: int = 90_000
    max_viewers: int = 5_000_000
    max_events_per_viewer_bucket: int = 64
    """At most 255: activities carry their rank in a byte."""


@inlined
def blind(rules: WindowRules) -> WindowRules:
    """Rules without sessions, which compiled code can tell without looking."""
    return WindowRules(
        rules.window_duration_ms,
        rules.bucket_ms,
        rules.grace_ms,
        rules.stream_idle_ms,
        rules.max_streams,
        False,
        1,
        0,
        0,
    )
