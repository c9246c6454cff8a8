"""What a partition holds and has met, in numbers."""

from typing import NamedTuple

from consumer.windows.layout import State, bytes_in_use, known


class PartitionFigures(NamedTuple):
    """What a partition holds now; times are None before the first event and the first floor."""

    streams: int
    buckets: int
    state_bytes: int
    partition_time_ms: int | None
    floor_ms: int | None
    largest_lateness_ms: int
    viewers_held: int
    """Who is present where open buckets begin, or has signs in them; 0 where viewers aren't counted."""
    signs_kept: int


class ViewerTally(NamedTuple):
    """What counting by viewer has met since the partition began; where it doesn't count, zeros."""

    timeouts: int
    """Viewers who became absent by silence."""
    orphan_leaves: int
    """Leaves of viewers who were absent."""
    implicit_joins: int
    """Viewers who became present by an event that is no join."""
    untracked: int
    """Events past a limit, which say nothing of their viewer's presence."""


NO_TALLY = ViewerTally(0, 0, 0, 0)


def figures_of(state: State) -> PartitionFigures:
    """What is held now."""
    head, tally = state.head[0], state.audience.tally[0]
    return PartitionFigures(
        streams=int(head["streams_live"]),
        buckets=int(head["buckets_live"]),
        state_bytes=bytes_in_use(state),
        partition_time_ms=known(int(head["partition_time_ms"])),
        floor_ms=known(int(head["floor_ms"])),
        largest_lateness_ms=int(head["largest_lateness_ms"]),
        viewers_held=int(tally["viewers_live"]),
        signs_kept=int(tally["kept_live"]),
    )


def tally_of(state: State) -> ViewerTally:
    """What counting by viewer has met so far; what closed buckets don't say is counted when they close."""
    tally = state.audience.tally[0]
    return ViewerTally(*(int(tally[name]) for name in ViewerTally._fields))
