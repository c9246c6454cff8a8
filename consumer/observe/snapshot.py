"""What the loop shows to the outside: frozen figures, handed over by one assignment, so that nobody waits."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class StreamStatus(NamedTuple):
    """One stream's live count and its window, as the gauges show them."""

    stream_id: str
    concurrent_viewers: int
    window_peak_concurrent_viewers: int
    window_bitrate_samples: int
    """Number of samples behind the average; 0 makes the three bitrates 0."""
    window_bitrate_avg_bps: float
    window_bitrate_min_bps: int
    window_bitrate_max_bps: int
    window_buffer_events: int
    window_stall_ms: int
    last_closed_bucket_start_ms: int | None


class PartitionStatus(NamedTuple):
    """One assigned partition: where it stands and what it holds."""

    partition: int
    next_offset: int
    end_offset: int | None
    """None until the broker told it."""
    time_lag_s: float | None
    """Now minus the Kafka timestamp of the last record taken; None before the first."""
    streams: int
    buckets: int
    viewers: int
    viewers_held: int
    """Who is present or has events in open buckets; 0 where viewers aren't counted one by one."""
    activities_held: int
    """Distinct events of theirs in open buckets."""
    state_bytes: int
    checkpoint_age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Health:
    """What has to hold before this worker counts as ready, and a word for people where it does not."""

    assigned: bool = False
    restored: bool = False
    producer_ready: bool = False
    breaker_closed: bool = True
    reason: str = ""

    def missing(self) -> tuple[str, ...]:
        """Names of the conditions that do not hold, in the order in which a start meets them."""
        conditions = (
            ("producer ready", self.producer_ready),
            ("assigned", self.assigned),
            ("restored", self.restored),
            ("breaker closed", self.breaker_closed),
        )
        return tuple(name for name, holds in conditions if not holds)

    @property
    def ready(self) -> bool:
        """All conditions hold."""
        return not self.missing()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that readers see of the loop, as it was at one moment."""

    health: Health
    streams: tuple[StreamStatus, ...] = ()
    """At most as many as series are allowed, the largest first; each stream once."""
    streams_left_out: int = 0
    partitions: tuple[PartitionStatus, ...] = ()
    """Those that are live."""
    restoring: int = 0
    """Partitions that are ours and on their way to being live."""
    stopped: int = 0
    tripped: int = 0
    """Partitions that are ours and can't be live."""


class SnapshotBoard:
    """The one place where the loop leaves snapshots and ticks, and readers find the newest.

    The loop alone writes and any thread reads; one attribute assignment is atomic, so there is no lock to wait for.
    """

    __slots__ = ("_last_tick_s", "_latest")

    def __init__(self, now_s: float) -> None:
        self._latest = Snapshot(health=Health(reason="starting"))
        self._last_tick_s = now_s

    def publish(self, snapshot: Snapshot) -> None:
        """Replace what readers see."""
        self._latest = snapshot

    def latest(self) -> Snapshot:
        """The newest snapshot; before the first, an empty one that is not ready."""
        return self._latest

    def tick(self, now_s: float) -> None:
        """Say that the loop is alive: once a turn, and between the bounded waits of a long one."""
        self._last_tick_s = now_s

    @property
    def last_tick_s(self) -> float:
        """Monotonic seconds of the last tick; of the board's making before the first."""
        return self._last_tick_s


def merge_streams(stats: Iterable[StreamStatus]) -> list[StreamStatus]:
    """Make one of the figures of a stream that comes in over several partitions.

    Counts, stalls and samples add up; peaks add up to an upper bound; averages are weighted by their samples.
    """
    merged: dict[str, StreamStatus] = {}
    for one in stats:
        other = merged.get(one.stream_id)
        merged[one.stream_id] = one if other is None else _sum(other, one)
    return list(merged.values())


def busiest(stats: Iterable[StreamStatus], limit: int) -> tuple[tuple[StreamStatus, ...], int]:
    """The `limit` largest streams by viewers, largest first, and how many that leaves out.

    Equal ones go by stream id, so that the choice does not flicker between two snapshots.
    """
    held = list(stats)
    shown = tuple(heapq.nsmallest(limit, held, key=_by_size))
    return shown, len(held) - len(shown)


def _by_size(stats: StreamStatus) -> tuple[int, int, str]:
    return -stats.concurrent_viewers, -stats.window_peak_concurrent_viewers, stats.stream_id


def _sum(a: StreamStatus, b: StreamStatus) -> StreamStatus:
    sampled = [one for one in (a, b) if one.window_bitrate_samples > 0]
    samples = a.window_bitrate_samples + b.window_bitrate_samples
    weighted = sum(one.window_bitrate_avg_bps * one.window_bitrate_samples for one in sampled)
    closed = [one.last_closed_bucket_start_ms for one in (a, b) if one.last_closed_bucket_start_ms is not None]
    return StreamStatus(
        stream_id=a.stream_id,
        concurrent_viewers=a.concurrent_viewers + b.concurrent_viewers,
        window_peak_concurrent_viewers=a.window_peak_concurrent_viewers + b.window_peak_concurrent_viewers,
        window_bitrate_samples=samples,
        window_bitrate_avg_bps=weighted / samples if samples else 0.0,
        window_bitrate_min_bps=min((one.window_bitrate_min_bps for one in sampled), default=0),
        window_bitrate_max_bps=max((one.window_bitrate_max_bps for one in sampled), default=0),
        window_buffer_events=a.window_buffer_events + b.window_buffer_events,
        window_stall_ms=a.window_stall_ms + b.window_stall_ms,
        last_closed_bucket_start_ms=max(closed, default=None),
    )
