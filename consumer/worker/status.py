"""Build the snapshot of the worker that metrics and `/readyz` read."""

from collections.abc import Collection, Mapping, Sequence

from consumer.kafka.protocols import HeldPartition
from consumer.observe.snapshot import (
    NO_OUTPUT,
    Health,
    OutputStatus,
    PartitionStatus,
    Snapshot,
    StreamStatus,
    busiest,
    merge_streams,
)
from consumer.runtime.clocks import Clocks
from consumer.windows.partition import LiveWindows
from consumer.windows.stats import PartitionStats
from consumer.windows.view import WindowView
from consumer.worker.task import PartitionTask


def snapshot_of(
    partitions: Sequence[PartitionTask],
    health: Health,
    limit: int,
    clocks: Clocks,
    end_offsets: Mapping[int, int] | None = None,
    held: Mapping[int, HeldPartition] | None = None,
    restoring: int = 0,
    stopped: int = 0,
    tripped: int = 0,
    clock_waiting: int = 0,
    output: OutputStatus = NO_OUTPUT,
    assigned: Collection[int] = (),
    rates: Mapping[str, float] | None = None,
    history_buckets: int = 0,
) -> Snapshot:
    """Build a snapshot, with the `limit` streams that have the most viewers."""
    stats = [each.windows.stats() for each in partitions]
    live = [each.windows.live(limit) for each in partitions]
    streams, in_memory = _streams(partitions, live, limit, sum(each.streams for each in stats))
    ends, held_partitions = end_offsets or {}, held or {}
    return Snapshot(
        health=health,
        streams=streams,
        streams_left_out=in_memory - len(streams),
        partitions=tuple(
            _partition(each, its_stats, its_live, ends.get(each.number), held_partitions.get(each.number), clocks)
            for each, its_stats, its_live in zip(partitions, stats, live, strict=True)
        ),
        output=output,
        restoring=restoring,
        stopped=stopped,
        tripped=tripped,
        clock_waiting=clock_waiting,
        waiting=tuple(sorted(set(assigned).difference(each.number for each in partitions))),
        taken_s=clocks.monotonic_s(),
        rates=rates or {},
        history_buckets=history_buckets,
    )


def _streams(
    partitions: Sequence[PartitionTask], live: Sequence[LiveWindows], limit: int, in_memory: int
) -> tuple[tuple[StreamStatus, ...], int]:
    """The largest streams, and how many streams there are, where one may be in several partitions."""
    tops = [
        [_stream(view, (each.number,)) for view in its_live.largest]
        for each, its_live in zip(partitions, live, strict=True)
    ]
    merged = merge_streams(stats for top in tops for stats in top)
    shared = sum(map(len, tops)) - len(merged)
    shown, _ = busiest(merged, limit)
    return shown, in_memory - shared


def _stream(view: WindowView, partitions: tuple[int, ...]) -> StreamStatus:
    return StreamStatus(
        stream_id=view.stream_id,
        concurrent_viewers=view.concurrent_viewers,
        window_peak_concurrent_viewers=view.peak_concurrent_viewers,
        window_bitrate_samples=view.bitrate_samples,
        window_bitrate_avg_bps=view.bitrate_avg_bps,
        window_bitrate_min_bps=view.bitrate_min_bps,
        window_bitrate_max_bps=view.bitrate_max_bps,
        window_buffer_events=view.buffer_events,
        window_stall_ms=view.stall_ms,
        last_closed_bucket_start_ms=view.last_closed_start_ms,
        partitions=partitions,
    )


def _partition(
    partition: PartitionTask,
    stats: PartitionStats,
    live: LiveWindows,
    end_offset: int | None,
    held: HeldPartition | None,
    clocks: Clocks,
) -> PartitionStatus:
    lag_s = max(clocks.wall_ms() - partition.last_timestamp_ms, 0) / 1000 if partition.last_timestamp_ms >= 0 else None
    return PartitionStatus(
        partition=partition.number,
        next_offset=partition.next_offset,
        end_offset=end_offset,
        time_lag_s=lag_s,
        streams=stats.streams,
        buckets=stats.buckets,
        viewers=live.viewers,
        viewers_held=stats.viewers_held,
        activities_held=stats.activities_held,
        state_bytes=stats.state_bytes,
        held_records=0 if held is None else held.records,
        checkpoint_age_s=clocks.monotonic_s() - partition.checkpoint_s,
    )
