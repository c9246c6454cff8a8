"""Streams as JSON: a list with the newest buckets of each, and one stream with all of its figures."""

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

from consumer.observe.buckets import COLUMNS, CURVES, bucket_columns
from consumer.observe.facts import WorkerFacts
from consumer.observe.history import BucketHistory
from consumer.observe.labels import label_of
from consumer.observe.query import Query, QueryError
from consumer.observe.snapshot import Snapshot, StreamStatus

LIST_PARAMETERS = ("search", "sort", "offset", "limit", "history")
STREAM_PARAMETERS = ("history",)

MOST_STREAMS = 1_000
MOST_BUCKETS = 1_000
MOST_CELLS = 10_000
"""Streams times buckets of one list."""

LIVE = (
    "concurrent_viewers",
    "window_peak_concurrent_viewers",
    "window_bitrate_avg_bps",
    "window_bitrate_min_bps",
    "window_bitrate_max_bps",
    "window_bitrate_samples",
    "window_buffer_events",
    "window_stall_ms",
    "last_closed_bucket_start_ms",
)
"""Figures of a stream, named as the gauges are."""

SORTS = ("stream_id", *LIVE)


def streams_json(snapshot: Snapshot, history: BucketHistory, facts: WorkerFacts, query: Query) -> dict[str, Any]:
    """The streams that a query asks for, with their newest buckets.

    Raises:
        QueryError: a parameter cannot be used.
    """
    search, sort = query.text("search"), query.text("sort", "-concurrent_viewers")
    offset, limit = query.integer("offset", 0, 2**31 - 1), query.integer("limit", 100, MOST_STREAMS)
    buckets = query.integer("history", 0, MOST_BUCKETS)
    query.close(LIST_PARAMETERS)
    if limit * buckets > MOST_CELLS:
        raise QueryError(f"limit times history must be at most {MOST_CELLS}")
    found = _sorted(_searched(snapshot.streams, search), sort)
    shown = found[offset : offset + limit]
    return {
        "total": len(snapshot.streams) + snapshot.streams_left_out,
        "left_out": snapshot.streams_left_out,
        "matched": len(found),
        "offset": offset,
        "limit": limit,
        "sort": sort,
        "search": search,
        "streams": _with_history(shown, snapshot, history, facts, buckets),
    }


def stream_json(
    stream_id: bytes, snapshot: Snapshot, history: BucketHistory, facts: WorkerFacts, query: Query
) -> dict[str, Any] | None:
    """One stream by its id or its label; None if this worker knows nothing of it.

    Raises:
        QueryError: a parameter cannot be used.
    """
    most = query.integer("history", MOST_BUCKETS // 4, MOST_BUCKETS)
    query.close(STREAM_PARAMETERS)
    stats = _find(snapshot.streams, stream_id.decode("utf-8", "surrogateescape"))
    if stats is not None:
        stream_id = stats.stream_id.encode("utf-8", "surrogatepass")
    partitions = [one.partition for one in snapshot.partitions]
    rows = history.buckets_of([stream_id], partitions, most)[0]
    if stats is None and not len(rows):
        return None
    text = stream_id.decode("utf-8", "replace")
    return {
        "stream_id": label_of(text),
        "full_stream_id": text,
        "live": None if stats is None else _live(stats),
        **_of_history(history, partitions if stats is None else stats.partitions),
        "history": bucket_columns(rows, facts, COLUMNS),
    }


def _searched(streams: Sequence[StreamStatus], search: str) -> Sequence[StreamStatus]:
    if not search:
        return streams
    needle = search.casefold()
    return [one for one in streams if needle in one.stream_id.casefold()]


def _sorted(streams: Sequence[StreamStatus], sort: str) -> Sequence[StreamStatus]:
    """Sorted by a figure; equal ones stay as in the snapshot, by viewers."""
    name = sort.removeprefix("-")
    if name not in SORTS:
        raise QueryError(f"sort must be one of {', '.join(SORTS)}, with a minus in front for the largest first")
    if sort == "-concurrent_viewers":
        return streams  # as in the snapshot
    return sorted(streams, key=_order_by(name), reverse=sort != name)


def _order_by(name: str) -> Callable[[StreamStatus], Any]:
    if name == "last_closed_bucket_start_ms":
        return lambda one: -inf if one.last_closed_bucket_start_ms is None else one.last_closed_bucket_start_ms
    return lambda one: getattr(one, name)


def _find(streams: Sequence[StreamStatus], wanted: str) -> StreamStatus | None:
    """A stream by its id, else by the label that stands for an overlong one."""
    for one in streams:
        if one.stream_id == wanted:
            return one
    if "#" not in wanted:
        return None
    return next((one for one in streams if label_of(one.stream_id) == wanted), None)


def _with_history(
    shown: Sequence[StreamStatus], snapshot: Snapshot, history: BucketHistory, facts: WorkerFacts, most: int
) -> list[dict[str, Any]]:
    listed = [{"stream_id": label_of(one.stream_id), **_live(one)} for one in shown]
    if not most:
        return listed
    ids = [one.stream_id.encode("utf-8", "surrogatepass") for one in shown]
    partitions = [one.partition for one in snapshot.partitions]
    for entry, one, rows in zip(listed, shown, history.buckets_of(ids, partitions, most), strict=True):
        columns = bucket_columns(rows, facts, CURVES)
        entry |= {**_of_history(history, one.partitions), "history": columns}
    return listed


def _live(one: StreamStatus) -> dict[str, Any]:
    return {"partitions": one.partitions, **{name: getattr(one, name) for name in LIVE}}


def _of_history(history: BucketHistory, partitions: Sequence[int]) -> dict[str, Any]:
    since = [since_ms for each in partitions if (since_ms := history.since_ms(each)) is not None]
    return {"history_since_ms": max(since, default=None)}
