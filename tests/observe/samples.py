"""Snapshots for these tests."""

from typing import Any, cast

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics_text
from prometheus_client.parser import text_string_to_metric_families

from consumer.observe.collector import SnapshotCollector
from consumer.observe.metrics import WorkerMetrics
from consumer.observe.snapshot import Health, PartitionStatus, Snapshot, SnapshotBoard, StreamStatus
from consumer.windows.layout import CLOSED

READY = Health(assigned=True, restored=True, producer_ready=True, breaker_closed=True)
REJECT_REASONS = ("truncated", "unknown_schema")
WINDOW_DURATION_MS = 60_000
CLOSE_REASONS = ("watermark", "stream_idle")


class Clock:
    """A clock that stands where a test puts it."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def stream(stream_id: str, viewers: int = 0, **stats: Any) -> StreamStatus:
    blank = StreamStatus(stream_id, viewers, 0, 0, 0.0, 0, 0, 0, 0, None)
    return blank._replace(**stats)


def partition(number: int, **stats: Any) -> PartitionStatus:
    return PartitionStatus(number, 0, 0, 0.0, 0, 0, 0, 0, 0, 0)._replace(**stats)


def snapshot(
    *streams: StreamStatus,
    partitions: tuple[PartitionStatus, ...] = (),
    left_out: int = 0,
    health: Health = READY,
) -> Snapshot:
    return Snapshot(health=health, streams=streams, streams_left_out=left_out, partitions=partitions)


def worker_metrics(board: SnapshotBoard | None = None, monotonic: Clock | None = None) -> WorkerMetrics:
    """Metrics with their snapshot collector, as the worker puts them together."""
    metrics = WorkerMetrics({"version": "1.2.3", "librdkafka": "2.16.0"}, REJECT_REASONS, CLOSE_REASONS)
    clock = monotonic or Clock()
    board = board or SnapshotBoard(clock())
    metrics.registry.register(SnapshotCollector(board, clock, Clock(1_700_000_000.0), WINDOW_DURATION_MS))
    return metrics


def parse_text(text: str) -> list[Metric]:
    return list(text_string_to_metric_families(text))


def parse_openmetrics(text: str) -> list[Metric]:
    return list(cast("list[Metric]", parse_openmetrics_text(text)))  # type: ignore[no-untyped-call]  # has no types


def families(registry: CollectorRegistry) -> list[Metric]:
    """What a scrape in the plain text format shows, parsed."""
    return parse_text(generate_latest(registry).decode())


def openmetrics_families(registry: CollectorRegistry) -> list[Metric]:
    """What a scrape in the OpenMetrics format shows, parsed."""
    return parse_openmetrics(generate_openmetrics(registry).decode())  # type: ignore[no-untyped-call]  # has no types


def closed_rows(*starts_ms: int, **fields: int) -> npt.NDArray[np.void]:
    """Closed buckets with these starts; fields are of the bucket, else of its presence."""
    rows = np.zeros(len(starts_ms), CLOSED)
    rows["bucket"]["start_ms"] = starts_ms
    for name, value in fields.items():
        part = rows["bucket"] if name in (rows["bucket"].dtype.names or ()) else rows["presence"]
        part[name] = value
    return rows
