"""The worker as JSON: readiness, partitions, output and counters."""

from collections.abc import Mapping
from typing import Any

from consumer.observe.facts import WorkerFacts
from consumer.observe.history import BucketHistory
from consumer.observe.snapshot import Health, OutputStatus, PartitionStatus, Snapshot


def worker_json(
    snapshot: Snapshot,
    health: Health,
    startup: str,
    counts: Mapping[str, Mapping[str, float]],
    history: BucketHistory,
    facts: WorkerFacts,
) -> dict[str, Any]:
    """What of a worker is not about one stream.

    Args:
        snapshot: the newest one.
        health: of this moment.
        startup: what a start does; empty once it is over.
        counts: the counters by name and label value.
        history: the closed buckets.
        facts: what does not change.
    """
    return {
        "version": facts.version,
        "librdkafka": facts.librdkafka,
        "group_id": facts.group_id,
        "input_topic": facts.input_topic,
        "output_topic": facts.output_topic,
        "dead_letter_topic": facts.dead_letter_topic,
        "grace_ms": facts.grace_ms,
        "window_duration_ms": facts.window_duration_ms,
        "max_stream_series": facts.max_stream_series,
        "ready": health.ready,
        "missing": health.missing(),
        "reason": health.reason,
        "starting": startup,
        "partitions": [_partition(one, history) for one in snapshot.partitions],
        "waiting_partitions": snapshot.waiting,
        "restoring": snapshot.restoring,
        "stopped": snapshot.stopped,
        "breaker_open": snapshot.tripped,
        "clock_waiting": snapshot.clock_waiting,
        "streams": sum(one.streams for one in snapshot.partitions),
        "streams_left_out": snapshot.streams_left_out,
        "lag_records": _total_lag(snapshot),
        "output": _output(snapshot.output),
        "rates_per_s": snapshot.rates,
        "counters": {name: _counter(by_label) for name, by_label in counts.items()},
        "history": {"buckets": len(history), "limit": history.size},
    }


def lag_records(one: PartitionStatus) -> int | None:
    """Offsets still to process; None while the end is not known."""
    # The end offset may be older than the position.
    return None if one.end_offset is None else max(0, one.end_offset - one.next_offset)


def _total_lag(snapshot: Snapshot) -> int | None:
    """None while the end of a partition is not known."""
    known = [lag for one in snapshot.partitions if (lag := lag_records(one)) is not None]
    return sum(known) if known and len(known) == len(snapshot.partitions) else None


def _partition(one: PartitionStatus, history: BucketHistory) -> dict[str, Any]:
    figures = one._asdict()
    return {
        "partition": figures.pop("partition"),
        "lag_records": lag_records(one),
        **figures,
        "history_since_ms": history.since_ms(one.partition),
    }


def _output(output: OutputStatus) -> dict[str, Any]:
    figures = output._asdict()
    last_commit_s = figures.pop("last_commit_s")
    return {**figures, "last_commit_ms": None if last_commit_s is None else int(last_commit_s * 1000)}


def _counter(by_label: Mapping[str, float]) -> float | dict[str, float]:
    """A number, or numbers by label value; whole ones without a fraction."""
    whole: dict[str, float] = {label: int(value) if value.is_integer() else value for label, value in by_label.items()}
    return whole[""] if whole.keys() == {""} else whole
