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
    """Viewers present at the start of the open buckets, or with activities in them; 0 with events counting."""
    activities_held: int


class SessionCounters(NamedTuple):
    """Counters of sessions counting since the partition was assigned; zeros with events counting."""

    timeouts: int
    """Viewers who became absent by silence."""
    orphan_leaves: int
    """Leaves of viewers who were absent."""
    implicit_joins: int
    """Viewers who became present by an event that is not a join."""
    untracked: int
    """Events past a limit; they do not count for presence."""


NO_COUNTERS = SessionCounters(0, 0, 0, 0)


def stats_of(state: State) -> PartitionStats:
    """Current sizes."""
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
    """Counters of sessions counting; presence is counted when a bucket closes."""
    counters = state.viewer_arrays.counters[0]
    return SessionCounters(*(int(counters[name]) for name in SessionCounters._fields))
