"""Immutable snapshots that the loop publishes for other threads, without locks."""

import contextlib
import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
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
    partitions: tuple[int, ...] = ()
    """The live partitions of this worker in which it arrives."""


class PartitionStatus(NamedTuple):
    """Position and size of one assigned partition."""

    partition: int
    next_offset: int
    end_offset: int | None
    """None until known."""
    time_lag_s: float | None
    """Now minus the Kafka timestamp of the last processed record; None before the first."""
    streams: int
    buckets: int
    viewers: int
    viewers_held: int
    """Viewers present or with events in open buckets; 0 with events counting."""
    activities_held: int
    """Their distinct events in open buckets."""
    state_bytes: int
    checkpoint_age_s: float = 0.0
    held_records: int = 0
    """Offsets behind a producer's open transaction."""


class OutputStatus(NamedTuple):
    """What is on its way out."""

    paused_partitions: int = 0
    pending_records: int = 0
    pending_bytes: int = 0
    open_transaction_s: float = 0.0
    """0 if none is open, as is the next."""
    open_transaction_records: int = 0
    last_commit_s: float | None = None
    """Unix time; None before the first."""


NO_OUTPUT = OutputStatus()


class Activity(NamedTuple):
    """Something bounded that the loop does now: it waits for Kafka, or compiles."""

    what: str
    since_s: float
    """Monotonic seconds."""
    limit_s: float
    """It ends by itself within so many seconds."""


@dataclass(frozen=True, slots=True)
class Health:
    """The conditions of readiness, and the reason if one does not hold."""

    assigned: bool = False
    restored: bool = False
    producer_ready: bool = False
    breaker_closed: bool = True
    commits_succeed: bool = True
    kafka_answers: bool = True
    input_readable: bool = True
    loop_turns: bool = True
    schemas_known: bool = True
    """No live partition waits for a schema."""
    clock_agrees: bool = True
    """No partition waits because its records are ahead of this machine's clock."""
    reason: str = ""

    def missing(self) -> tuple[str, ...]:
        """Names of the conditions that do not hold, in the order of a start."""
        conditions = (
            ("producer ready", self.producer_ready),
            ("assigned", self.assigned),
            ("restored", self.restored),
            ("breaker closed", self.breaker_closed),
            ("commits succeed", self.commits_succeed),
            ("Kafka answers", self.kafka_answers),
            ("input readable", self.input_readable),
            ("loop turns", self.loop_turns),
            ("schemas known", self.schemas_known),
            ("clock agrees with records", self.clock_agrees),
        )
        return tuple(name for name, holds in conditions if not holds)

    @property
    def ready(self) -> bool:
        """Whether all conditions hold."""
        return not self.missing()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The worker's state at one moment."""

    health: Health
    streams: tuple[StreamStatus, ...] = ()
    """The largest streams, at most `metrics.max_stream_series`, largest first; each stream once."""
    streams_left_out: int = 0
    partitions: tuple[PartitionStatus, ...] = ()
    """Live partitions."""
    output: OutputStatus = NO_OUTPUT
    restoring: int = 0
    """Number of assigned partitions being restored."""
    stopped: int = 0
    tripped: int = 0
    """Number of assigned partitions stopped by an open circuit breaker."""
    clock_waiting: int = 0
    """Number of live partitions whose next records are ahead of this machine's clock."""
    waiting: tuple[int, ...] = ()
    """Assigned partitions that are not live: restoring, or stopped."""
    taken_s: float | None = None
    """Monotonic seconds; None before the first turn of the loop."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Counted per second over the last seconds, by name of the counter."""
    history_buckets: int = 0
    """Number of closed buckets kept for the page."""


class SnapshotBoard:
    """Holds the newest snapshot and tick.

    Only the loop writes, any thread reads; attribute assignment is atomic, so no lock is needed.
    """

    __slots__ = ("_activity", "_last_tick_s", "_latest", "_starting")

    def __init__(self, now_s: float) -> None:
        self._last_tick_s = now_s
        self._activity: Activity | None = None
        self.starting("starting")

    def starting(self, doing: str) -> None:
        """Say what a worker does that has not started yet; empty once it has."""
        self._starting = doing
        if doing:
            self._latest = Snapshot(health=Health(reason=doing))

    @property
    def startup(self) -> str:
        """What the worker does that has not started yet; empty once it has."""
        return self._starting

    def publish(self, snapshot: Snapshot) -> None:
        """Replace what readers see."""
        self._latest = snapshot

    def latest(self) -> Snapshot:
        """The newest snapshot; before the first, an empty one that is not ready."""
        return self._latest

    def tick(self, now_s: float) -> None:
        """Record that the loop is alive: once per turn, and between the bounded waits of a long turn."""
        self._last_tick_s = now_s

    @contextlib.contextmanager
    def during(self, what: str, limit_s: float, monotonic_s: Callable[[], float]) -> Iterator[None]:
        """Mark something bounded that the loop does, for readers in other threads; calls may be nested."""
        before = self._activity
        self._activity = Activity(what, monotonic_s(), limit_s)
        try:
            yield
        finally:
            self.tick(monotonic_s())
            self._activity = before

    @property
    def activity(self) -> Activity | None:
        """What the loop does now; None while it runs its own code."""
        return self._activity

    @property
    def last_tick_s(self) -> float:
        """Monotonic seconds of the last tick; of the board's creation before the first."""
        return self._last_tick_s


def merge_streams(stats: Iterable[StreamStatus]) -> list[StreamStatus]:
    """Merge the statistics of a stream that arrives in several partitions.

    Counts, stalls and samples add up; peaks add up to an upper bound; averages are weighted by their samples.
    """
    merged: dict[str, StreamStatus] = {}
    for one in stats:
        other = merged.get(one.stream_id)
        merged[one.stream_id] = one if other is None else _sum(other, one)
    return list(merged.values())


def busiest(stats: Iterable[StreamStatus], limit: int) -> tuple[tuple[StreamStatus, ...], int]:
    """The `limit` largest streams by viewers, largest first, and how many that leaves out.

    Ties are ordered by stream id, so that the choice is stable.
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
        partitions=tuple(sorted({*a.partitions, *b.partitions})),
    )
