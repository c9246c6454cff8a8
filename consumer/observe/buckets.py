"""Closed buckets as columns of JSON, with the names and the values of their summaries."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from consumer.observe.facts import WorkerFacts
from consumer.windows.layout import LIMB

Rows = npt.NDArray[np.void]
Values = list[Any] | None

_BUCKET = {
    "bucket_start_ms": "start_ms",
    "peak_concurrent_viewers": "peak",
    "joins": "joins",
    "leaves": "leaves",
    "min_bitrate_bps": "bitrate_min_bps",
    "max_bitrate_bps": "bitrate_max_bps",
    "bitrate_sample_count": "bitrate_samples",
    "buffer_event_count": "buffer_events",
    "buffer_stall_ms": "stall_ms",
}
"""Columns that are fields of a bucket."""

_PRESENCE = {
    "timeouts": "timeouts",
    "unique_viewers": "unique_viewers",
    "viewer_ms": "viewer_ms",
    "viewers_at_end": "viewers_at_end",
    "untracked_events": "untracked",
}
"""Columns that are fields of its presence, which sessions counting has."""

_ADDED = ("peak", "joins", "leaves", "bitrate_samples", "buffer_events", "stall_ms")
_ADDED_OF_PRESENCE = ("timeouts", "unique_viewers", "viewer_ms", "viewers_at_end", "untracked")

CURVES = ("bucket_start_ms", "peak_concurrent_viewers", "avg_bitrate_bps", "buffer_stall_ms")
"""What the small curves of a list show."""


def bucket_columns(rows: Rows, facts: WorkerFacts, names: Iterable[str]) -> dict[str, Values]:
    """The columns of these names, one value for each start; null where the counting has no such figure.

    Args:
        rows: closed buckets of one stream, by start.
        facts: of the worker that closed them.
        names: columns; see `COLUMNS`.
    """
    rows = _one_for_each_start(rows)
    return {name: COLUMNS[name](rows, facts) for name in names}


def _one_for_each_start(rows: Rows) -> Rows:
    """Add up buckets of one start, which are of several partitions.

    As in the gauges, the sum of the peaks is an upper bound.
    """
    starts = rows["bucket"]["start_ms"]
    firsts = np.flatnonzero(np.concatenate([starts[:1] == starts[:1], starts[1:] != starts[:-1]]))
    if len(firsts) == len(rows):
        return rows
    merged = rows[firsts]
    for part, names in (("bucket", _ADDED), ("presence", _ADDED_OF_PRESENCE)):
        for name in names:
            merged[part][name] = np.add.reduceat(rows[part][name], firsts)
    bucket, sampled = merged["bucket"], rows["bucket"]["bitrate_samples"] > 0
    least = np.where(sampled, rows["bucket"]["bitrate_min_bps"], np.iinfo(np.int64).max)
    bucket["bitrate_min_bps"] = np.where(bucket["bitrate_samples"] > 0, np.minimum.reduceat(least, firsts), 0)
    bucket["bitrate_max_bps"] = np.maximum.reduceat(rows["bucket"]["bitrate_max_bps"], firsts)
    sums = np.add.reduceat(np.array(_sums_bps(rows), object), firsts)
    bucket["bitrate_sum_high"], bucket["bitrate_sum_low"] = sums // LIMB, sums % LIMB
    return merged


def _sums_bps(rows: Rows) -> list[int]:
    low: list[int] = rows["bucket"]["bitrate_sum_low"].tolist()
    high = rows["bucket"]["bitrate_sum_high"].tolist()
    return [h * LIMB + each for h, each in zip(high, low, strict=True)]


def _average_bitrate(rows: Rows, _facts: WorkerFacts) -> Values:
    # Python divides integers of any size and rounds once, as for the summary.
    samples = rows["bucket"]["bitrate_samples"].tolist()
    return [total / count if count else 0.0 for total, count in zip(_sums_bps(rows), samples, strict=True)]


def _average_viewers(rows: Rows, facts: WorkerFacts) -> Values:
    if facts.counting != "sessions":
        return None
    return [each / facts.bucket_ms for each in rows["presence"]["viewer_ms"].tolist()]


def _close_reason(rows: Rows, facts: WorkerFacts) -> Values:
    return [facts.close_reasons[code] for code in rows["reason"].tolist()]


def _of_bucket(field: str) -> Callable[[Rows, WorkerFacts], Values]:
    def column(rows: Rows, _facts: WorkerFacts) -> Values:
        values: list[int] = rows["bucket"][field].tolist()
        return values

    return column


def _of_presence(field: str) -> Callable[[Rows, WorkerFacts], Values]:
    def column(rows: Rows, facts: WorkerFacts) -> Values:
        return rows["presence"][field].tolist() if facts.counting == "sessions" else None

    return column


COLUMNS: dict[str, Callable[[Rows, WorkerFacts], Values]] = {
    **{name: _of_bucket(field) for name, field in _BUCKET.items()},
    "avg_bitrate_bps": _average_bitrate,
    **{name: _of_presence(field) for name, field in _PRESENCE.items()},
    "avg_concurrent_viewers": _average_viewers,
    "close_reason": _close_reason,
}
"""Every column by its name, which is that of a field of the summary."""
