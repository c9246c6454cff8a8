"""The settings that shape results, as plain numbers for compiled code."""

from typing import NamedTuple

from consumer.runtime.jit import inlined

DAY_MS = 86_400_000
"""How long (partition time) a stream with a count above 0 is kept without events."""


class WindowRules(NamedTuple):
    """All times in milliseconds; `max_streams` and `max_viewers` are per partition."""

    window_duration_ms: int
    bucket_ms: int
    grace_ms: int
    stream_idle_ms: int
    max_streams: int
    sessions: bool = False
    """Whether viewers are counted by id; the fields below apply only then."""
    viewer_timeout_ms: int = 90_000
    max_viewers: int = 5_000_000
    max_events_per_viewer_bucket: int = 64
    """At most 255: the rank of an activity is stored in a byte."""


@inlined
def without_sessions(rules: WindowRules) -> WindowRules:
    """The rules with `sessions` as the constant False, so that the compiler removes its branches."""
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
