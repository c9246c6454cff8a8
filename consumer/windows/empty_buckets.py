"""Buckets without events: sessions counting opens them as long as a viewer may be present."""

from consumer.runtime.jit import compiled
from consumer.windows.events import EventColumns
from consumer.windows.layout import NO_TIME_MS, State
from consumer.windows.rules import WindowRules


@compiled
def most_empty_buckets(rules: WindowRules, state: State, time_ms: int, events: int) -> int:
    """An upper bound of empty buckets that `events` events can open, none of them later than `time_ms`."""
    head = state.head[0]
    if not rules.sessions:
        return 0
    # Bounded by the viewer time-out, and by the time between the stream's own time and partition time.
    of_stream = rules.viewer_timeout_ms // rules.bucket_ms + 2
    if head["idle_watermark_ms"] != NO_TIME_MS:
        passed_ms = max(time_ms, head["partition_time_ms"]) - head["idle_watermark_ms"] + rules.grace_ms
        of_stream = min(of_stream, passed_ms // rules.bucket_ms + 3)
    return int((head["streams_live"] + events) * of_stream)


@compiled
def most_empty_buckets_of(rules: WindowRules, state: State, events: EventColumns, begin: int, end: int) -> int:
    """The same for rows `begin` to `end`."""
    if not rules.sessions:
        return 0
    latest_ms = NO_TIME_MS
    for i in range(begin, end):
        if events.reject[i] == 0:
            latest_ms = max(latest_ms, events.timestamp_ms[i])
    return most_empty_buckets(rules, state, latest_ms, end - begin)
