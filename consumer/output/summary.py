"""Summaries of closed buckets as columns and as dicts. The fields are the same in every format.

100,000 buckets may close at one record, so values are converted per column, not per field.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from consumer.windows.closing import CLOSE_REASONS
from consumer.windows.layout import LIMB
from consumer.windows.partition import ClosedBuckets

INT64_MAX = 2**63 - 1

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]

_EXACT = 2**53
"""A float holds every integer up to it, so that a quotient of two of them is rounded once."""


class Origin(NamedTuple):
    """Values that all summaries of a batch share; topic and partition are None for files."""

    bucket_ms: int
    counting: str
    topic: str | None = None
    partition: int | None = None


FIELDS = (
    "stream_id",
    "bucket_start_ms",
    "bucket_end_ms",
    "peak_concurrent_viewers",
    "avg_bitrate_bps",
    "min_bitrate_bps",
    "max_bitrate_bps",
    "buffer_event_count",
    "buffer_stall_ms",
    "bitrate_sample_count",
    "joins",
    "leaves",
    "bitrate_sum_bps",
    "timeouts",
    "unique_viewers",
    "avg_concurrent_viewers",
    "viewer_ms",
    "viewers_at_end",
    "untracked_events",
    "close_reason",
    "counting",
    "topic",
    "partition",
    "offset",
)
"""Names of a summary's fields, in order."""

DOUBLES = ("avg_bitrate_bps", "avg_concurrent_viewers")
"""Fields that are floats."""

OF_SESSIONS = frozenset(FIELDS[FIELDS.index("timeouts") : FIELDS.index("close_reason")])
"""Fields that events counting does not have."""

_NO_LONGS = frozenset({"stream_id", *DOUBLES, "close_reason", *Origin._fields})


def long_fields(counting: str) -> tuple[str, ...]:
    """Fields that are integers, as `SummaryColumns.longs` has them."""
    return _of(counting, (name for name in FIELDS if name not in _NO_LONGS))


def _of(counting: str, fields: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in fields if counting == "sessions" or name not in OF_SESSIONS)


class SummaryColumns(NamedTuple):
    """The values of many summaries that differ from one to the next."""

    longs: Ints
    """By field of `long_fields`, and summary; an offset below 0 is none."""
    doubles: Floats
    """By field of `DOUBLES`, without one that this way of counting does not have, and summary."""
    reasons: Ints
    """Codes of `CLOSE_REASONS`."""


def summary_columns(rows: npt.NDArray[np.void], bucket_ms: int, counting: str) -> SummaryColumns:
    """The columns of closed buckets.

    Args:
        rows: as `ClosedBuckets.rows`.
        bucket_ms: the length of a bucket.
        counting: `events` or `sessions`; only the latter has the fields of `OF_SESSIONS`.
    """
    buckets, presence = rows["bucket"], rows["presence"]
    low, high = buckets["bitrate_sum_low"], buckets["bitrate_sum_high"]
    sums = np.where(high >= 2, INT64_MAX, (high & 1) * LIMB + low)
    longs = {
        "bucket_start_ms": buckets["start_ms"],
        "bucket_end_ms": buckets["start_ms"] + bucket_ms,
        "peak_concurrent_viewers": buckets["peak"],
        "min_bitrate_bps": buckets["bitrate_min_bps"],
        "max_bitrate_bps": buckets["bitrate_max_bps"],
        "buffer_event_count": buckets["buffer_events"],
        "buffer_stall_ms": buckets["stall_ms"],
        "bitrate_sample_count": buckets["bitrate_samples"],
        "joins": buckets["joins"],
        "leaves": buckets["leaves"],
        "bitrate_sum_bps": sums,
        "timeouts": presence["timeouts"],
        "unique_viewers": presence["unique_viewers"],
        "viewer_ms": presence["viewer_ms"],
        "viewers_at_end": presence["viewers_at_end"],
        "untracked_events": presence["untracked"],
        "offset": rows["offset"],
    }
    doubles = [_quotients(_whole_sums(high, low) if high.any() else sums, buckets["bitrate_samples"])]
    if counting == "sessions":
        doubles.append(_quotients(presence["viewer_ms"], np.full(len(rows), bucket_ms)))
    return SummaryColumns(
        np.array([longs[name] for name in long_fields(counting)]),
        np.array(doubles),
        np.ascontiguousarray(rows["reason"]),
    )


def _whole_sums(high: Ints, low: Ints) -> npt.NDArray[np.object_]:
    """Sums of bitrates as Python's integers: they may have more than 64 bits."""
    sums: npt.NDArray[np.object_] = high.astype(np.object_) * LIMB + low
    return sums


def _quotients(totals: npt.NDArray[Any], counts: Ints) -> Floats:
    """Totals over counts, each rounded once; 0 where the count is 0."""
    quotients = np.zeros(len(counts))
    if max(totals.max(initial=0), counts.max(initial=0)) <= _EXACT:
        np.divide(totals.astype(np.int64), counts, out=quotients, where=counts > 0)
        return quotients
    # Python divides integers of any size and rounds once.
    pairs = zip(totals.tolist(), counts.tolist(), strict=True)
    quotients[:] = [total / count if count else 0.0 for total, count in pairs]
    return quotients


def summary_dicts(closed: ClosedBuckets, origin: Origin) -> list[dict[str, Any]]:
    """One dict per bucket, in order."""
    columns = summary_columns(closed.rows, origin.bucket_ms, origin.counting)
    values: dict[str, list[Any]] = dict.fromkeys(FIELDS, [None] * len(closed))
    values |= zip(long_fields(origin.counting), columns.longs.tolist(), strict=True)
    values |= zip(_of(origin.counting, DOUBLES), columns.doubles.tolist(), strict=True)
    values |= {name: [getattr(origin, name)] * len(closed) for name in ("counting", "topic", "partition")}
    values["stream_id"] = [stream_id.decode() for stream_id in closed.stream_ids]
    values["close_reason"] = [CLOSE_REASONS[reason] for reason in columns.reasons.tolist()]
    values["offset"] = [offset if offset >= 0 else None for offset in values["offset"]]
    return [dict(zip(FIELDS, row, strict=True)) for row in zip(*values.values(), strict=True)]
