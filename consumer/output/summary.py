"""Summaries of closed buckets: as dicts, as JSON lines, as Avro in the registry's framing. The fields are the same.

100,000 buckets may close at one record, so columns are converted to Python values per batch, not per field.
"""

import json
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import repeat
from typing import Any, NamedTuple

import fastavro
import numpy as np
import numpy.typing as npt

from consumer.windows.closing import CLOSE_REASONS
from consumer.windows.layout import LIMB
from consumer.windows.partition import ClosedBuckets

INT64_MAX = 2**63 - 1

Record = tuple[bytes, bytes]
"""Key and value of a published record."""


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

_NONE_OF_SESSIONS = (None,) * 6
"""The fields of sessions counting, from `timeouts` to `untracked_events`."""


def summary_dicts(closed: ClosedBuckets, origin: Origin) -> list[dict[str, Any]]:
    """One dict per bucket, in order."""
    return [dict(zip(FIELDS, values, strict=True)) for values in _values(closed, origin)]


def json_records(closed: ClosedBuckets, origin: Origin) -> list[Record]:
    """Key and value of each summary, the value a JSON object in UTF-8."""
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
    template = "{" + ",".join(f'"{name}":%s' for name in FIELDS) + "}"
    constants = {value: encode(value) for value in (None, origin.counting, origin.topic, *CLOSE_REASONS)}
    records = []
    for key, values in zip(closed.stream_ids, _values(closed, origin), strict=True):
        # Only the stream's id needs escaping.
        texts = [constants[value] if value is None or isinstance(value, str) else value for value in values[1:]]
        records.append((key, (template % (encode(values[0]), *texts)).encode()))
    return records


def avro_records(schema: Any, schema_id: int, closed: ClosedBuckets, origin: Origin) -> list[Record]:
    """Key and value of each summary, the value in Avro behind the schema id.

    Args:
        schema: as `fastavro.parse_schema` gives it, of `bucket_summary.avsc`.
        schema_id: the registry's.
        closed: the buckets.
        origin: what they share.
    """
    head = b"\0" + schema_id.to_bytes(4, "big")
    records = []
    for key, record in zip(closed.stream_ids, summary_dicts(closed, origin), strict=True):
        out = BytesIO()
        fastavro.schemaless_writer(out, schema, record)
        records.append((key, head + out.getvalue()))
    return records


Encoder = Callable[[ClosedBuckets, Origin], list[Record]]
"""Encodes closed buckets as records to publish."""


def _values(closed: ClosedBuckets, origin: Origin) -> Iterator[tuple[Any, ...]]:
    """The fields of each summary, in the order of FIELDS."""
    rows, buckets = closed.rows, closed.rows["bucket"]
    sums = _sums_bps(buckets)
    columns = zip(
        closed.stream_ids,
        buckets["start_ms"].tolist(),
        buckets["peak"].tolist(),
        _averages_bps(buckets, sums),
        buckets["bitrate_min_bps"].tolist(),
        buckets["bitrate_max_bps"].tolist(),
        buckets["buffer_events"].tolist(),
        buckets["stall_ms"].tolist(),
        buckets["bitrate_samples"].tolist(),
        buckets["joins"].tolist(),
        buckets["leaves"].tolist(),
        sums,
        rows["reason"].tolist(),
        rows["offset"].tolist(),
        strict=True,
    )
    for (stream_id, start_ms, peak, average, *stats, total, reason, offset), of_sessions in zip(
        columns, _of_sessions(rows, origin), strict=True
    ):
        yield (
            stream_id.decode(),
            start_ms,
            start_ms + origin.bucket_ms,
            peak,
            average,
            *stats,
            min(total, INT64_MAX),
            *of_sessions,
            CLOSE_REASONS[reason],
            origin.counting,
            origin.topic,
            origin.partition,
            offset if offset >= 0 else None,
        )


def _of_sessions(rows: npt.NDArray[np.void], origin: Origin) -> Iterator[tuple[Any, ...]]:
    """The fields of sessions counting, from `timeouts` to `untracked_events`."""
    if origin.counting != "sessions":
        return repeat(_NONE_OF_SESSIONS, len(rows))
    presence = rows["presence"]
    viewer_ms = presence["viewer_ms"].tolist()
    return zip(
        presence["timeouts"].tolist(),
        presence["unique_viewers"].tolist(),
        [each / origin.bucket_ms for each in viewer_ms],
        viewer_ms,
        presence["viewers_at_end"].tolist(),
        presence["untracked"].tolist(),
        strict=True,
    )


def _sums_bps(buckets: npt.NDArray[np.void]) -> list[int]:
    high = buckets["bitrate_sum_high"]
    low: list[int] = buckets["bitrate_sum_low"].tolist()
    if not high.any():
        return low
    return [h * LIMB + each for h, each in zip(high.tolist(), low, strict=True)]


def _averages_bps(buckets: npt.NDArray[np.void], sums: list[int]) -> list[float]:
    # Python divides integers of any size and rounds once.
    samples = buckets["bitrate_samples"].tolist()
    return [total / count if count else 0.0 for total, count in zip(sums, samples, strict=True)]
