"""Buckets without events: with sessions counting a stream has them too, as long as a viewer may be present."""

from consumer.runtime.jit import compiled
from consumer.windows.events import EventColumns
from consumer.windows.layout import NO_TIME_MS, State
from consumer.windows.rules import WindowRules


@compiled
def most_empty_buckets(rules: WindowRules, state: State, time_ms: int, events: int) -> int:
    """At least as many as can open and close by so many events, none of them later than `time_ms`."""
    head = state.head[0]
    if not rules.sessions:
        return 0
    # A stream has them until its last viewer times out, and no more than time has passed over since its own.
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
