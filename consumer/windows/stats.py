"""Statistics of a partition: what it holds now, and what it has counted since it was assigned."""

from typing import NamedTuple

from consumer.windows.layout import State, bytes_in_use, known


class PartitionStats(NamedTuple):
    """What a partition holds now; times are None before the first event and the first idle watermark."""

    streams: int
    buckets: int
    state_bytes: int
    partition_time_ms: int | None
    idle_watermark_ms: int | None
    largest_lateness_ms: int
    viewers_held: int
    """Who is present where open buckets begin, or has activities in them; 0 where viewers aren't counted."""
    activities_held: int


class SessionCounters(NamedTuple):
    """What counting by viewer has met since the partition began; where it doesn't count, zeros."""

    timeouts: int
    """Viewers who became absent by silence."""
    orphan_leaves: int
    """Leaves of viewers who were absent."""
    implicit_joins: int
    """Viewers who became present by an event that is not a join."""
    untracked: int
    """Events past a limit, which say nothing of their viewer's presence."""


NO_COUNTERS = SessionCounters(0, 0, 0, 0)


def stats_of(state: State) -> PartitionStats:
    """What is held now."""
    head, counters = state.head[0], state.viewer_arrays.counters[0]
    return PartitionStats(
        streams=int(head["streams_live"]),
        buckets=int(head["buckets_live"]),
        state_bytes=bytes_in_use(state),
        partition_time_ms=known(int(head["partition_time_ms"])),
        idle_watermark_ms=known(int(head["idle_watermark_ms"])),
        largest_lateness_ms=int(head["largest_lateness_ms"]),
        viewers_held=int(counters["viewers_live"]),
        activities_held=int(counters["activities_live"]),
    )


def counters_of(state: State) -> SessionCounters:
    """What counting by viewer has met so far; what closed buckets don't say is counted when they close."""
    counters = state.viewer_arrays.counters[0]
    return SessionCounters(*(int(counters[name]) for name in SessionCounters._fields))
