"""The state of a partition as arrays: one row per stream, one row per active bucket, no Python object for either.

```
table ──► streams row ──► newest bucket ⇄ … ⇄ oldest_open ⇄ … ⇄ oldest      due: a heap of (idle watermark, stream)
   ids ◄──┘ id_start          open buckets        closed, still in the window
```
A stream's buckets are a list ordered by start. Rows are reused through free lists; arrays grow only
between two calls of compiled code, which never allocates.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from consumer.runtime.jit import inlined
from consumer.windows.viewers.layout import (
    PRESENCE,
    ViewerArrays,
    has_room_for_activities,
    new_viewer_arrays,
    viewer_array_bytes,
)

NONE = -1
"""No row: the end of a list."""
GONE = -2
"""A forgotten stream that is still stored has `GONE - size` for the size of its id, until its tombstones are stored."""
NO_TIME_MS = -(2**62)
"""Before any time that an event can have."""
NEVER_MS = 2**62
LIMB = 2**62
"""Sums of bitrates are kept exact in two limbs: `sum_high * LIMB + sum_low`."""

STREAM = np.dtype(
    [
        ("hash", np.uint64),
        (
            "time_ms",
            np.int64,
        ),  # the largest accepted timestamp; readers apply the idle watermark
        ("viewers", np.int64),
        ("scheduled_ms", np.int64),  # the idle watermark of its valid heap entry
        ("id_start", np.int64),
        ("id_size", np.int32),
        ("newest", np.int32),
        ("oldest_open", np.int32),
        ("oldest", np.int32),
        ("closed_below_ms", np.int64),  # buckets before it closed under a shorter grace; NO_TIME_MS: none
        ("stored_digest", np.uint64),  # parts of its row when last stored
        ("stored_parts", np.int32),  # 0 where it never was
        ("changed", np.bool_),  # since it was stored
    ],
    align=True,
)

BUCKET = np.dtype(
    [
        ("start_ms", np.int64),
        ("newer", np.int32),
        ("older", np.int32),
        ("peak", np.int64),
        ("joins", np.int64),
        ("leaves", np.int64),
        ("bitrate_samples", np.int64),
        ("bitrate_sum_low", np.int64),
        ("bitrate_sum_high", np.int64),
        ("bitrate_min_bps", np.int64),
        ("bitrate_max_bps", np.int64),
        ("buffer_events", np.int64),
        ("stall_ms", np.int64),
    ],
    align=True,
)

FIRST_STAT = dict(BUCKET.fields or {})["peak"][1] // 8
"""A bucket consists of 64-bit words; from this one on they are statistics, all 0 or more."""

CLOSED = np.dtype(
    [
        ("id_start", np.int64),
        ("id_size", np.int64),
        ("bucket", BUCKET),
        ("presence", PRESENCE),
        ("reason", np.int64),
        ("offset", np.int64),
    ],
    align=True,
)

HEAD = np.dtype(
    [
        ("partition_time_ms", np.int64),
        ("partition_bucket_end_ms", np.int64),
        ("partition_started", np.int64),  # the first record sets partition time and no idle watermark
        ("idle_watermark_ms", np.int64),
        ("closed_below_ms", np.int64),  # as the field of a stream, for the idle watermark
        ("streams_used", np.int64),
        ("streams_free", np.int64),
        ("streams_live", np.int64),
        ("buckets_used", np.int64),
        ("buckets_free", np.int64),
        ("buckets_live", np.int64),
        ("ids_used", np.int64),
        ("ids_garbage", np.int64),
        ("due_size", np.int64),
        ("closed_size", np.int64),
        ("closed_limit", np.int64),  # a jump is cut between two streams once so many rows are closed
        ("jump_pending", np.int64),  # a jump was cut: quiet streams are still to be closed
        ("jump_reason", np.int64),
        ("jump_offset", np.int64),
        ("largest_lateness_ms", np.int64),
        ("stored_count", np.int64),
        ("stored_digest", np.uint64),
        ("published_count", np.int64),
        ("published_digest", np.uint64),
        ("hash_key0", np.uint64),
        ("hash_key1", np.uint64),
    ],
    align=True,
)

DUE = np.dtype([("idle_watermark_ms", np.int64), ("stream", np.int64)])

AHEAD = 64
"""Number of events to prefetch for: their data stays in the first-level cache until they are processed."""

AHEAD_ROW = np.dtype(
    [
        ("stream", np.uint64),
        ("low", np.uint64),
        ("high", np.uint64),
        ("viewer", np.int64),
        ("finalizing", np.int64),
        ("gone", np.int64),
        ("hint", np.int64),
        ("hint_too", np.int64),
    ]
)
"""For an event: the hashes of its stream and of its viewer (two words), and the viewer's probable row. For a bucket
that is being finalized: the rows of viewers with activities in it, and of viewers to remove. Hints are never read back.
"""


class Times(NamedTuple):
    """Times of a partition; None where not set."""

    partition_time_ms: int | None = None
    idle_watermark_ms: int | None = None
    closed_below_ms: int | None = None
    """Buckets that start before it are closed, even if a longer grace was set later."""


class Jump(NamedTuple):
    """A jump of time that was cut between two streams: the rest closes for the same reason and at the same offset."""

    reason: int
    """A code of `closing.CLOSE_REASONS`."""
    offset: int


class State(NamedTuple):
    """All that the kernels read and write; `head` has one row, the scalars."""

    head: npt.NDArray[np.void]
    table: npt.NDArray[np.int32]
    streams: npt.NDArray[np.void]
    ids: npt.NDArray[np.uint8]
    buckets: npt.NDArray[np.void]
    due: npt.NDArray[np.void]
    ahead: npt.NDArray[np.void]
    viewer_arrays: ViewerArrays


def new_state(hash_key: tuple[int, int], *, sessions: bool = False) -> State:
    """An empty partition; `hash_key` are two 64-bit words. Viewers are counted where `sessions` says so."""
    head = np.zeros(1, HEAD)
    for name in ("partition_time_ms", "idle_watermark_ms", "closed_below_ms"):
        head[name] = NO_TIME_MS
    for name in ("streams_free", "buckets_free"):
        head[name] = NONE
    head["closed_limit"] = NEVER_MS
    head["hash_key0"], head["hash_key1"] = hash_key
    return State(
        head=head,
        table=np.full(64, NONE, np.int32),
        streams=np.zeros(32, STREAM),
        ids=np.zeros(512, np.uint8),
        buckets=np.zeros(128, BUCKET),
        due=np.zeros(64, DUE),
        ahead=np.zeros(AHEAD, AHEAD_ROW),
        viewer_arrays=new_viewer_arrays(streams=32, buckets=128)
        if sessions
        else new_viewer_arrays(streams=0, buckets=0),
    )


def known(time_ms: int) -> int | None:
    """A time of the arrays as a public value: None where not set."""
    return None if time_ms == NO_TIME_MS else time_ms


def words_of(rows: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
    """View rows of 64-bit fields as a two-dimensional array of words, one line per row."""
    return rows.view(np.int64).reshape(len(rows), rows.dtype.itemsize // 8)


@inlined
def has_room(state: State, closed: npt.NDArray[np.void], events: int, id_bytes: int, empty_buckets: int) -> bool:
    """Whether the arrays have room if every event opens a stream and a bucket, and everything closes.

    `empty_buckets`: how many buckets without events may open and close meanwhile.
    """
    head = state.head[0]
    return bool(
        head["streams_used"] + events <= len(state.streams)
        and 2 * (head["streams_live"] + events) <= len(state.table)
        and head["ids_used"] + id_bytes <= len(state.ids)
        and head["buckets_used"] + events + empty_buckets <= len(state.buckets)
        and head["due_size"] + events <= len(state.due)
        and head["buckets_live"] + events + empty_buckets <= len(closed)
        and has_room_for_activities(state.viewer_arrays, events)
    )


def bytes_in_use(state: State) -> int:
    """Bytes of rows in use or used before; rows never written to are not resident and not counted."""
    head = state.head[0]
    return (
        HEAD.itemsize
        + state.table.nbytes
        + int(head["streams_used"]) * STREAM.itemsize
        + int(head["ids_used"])
        + int(head["buckets_used"]) * BUCKET.itemsize
        + int(head["due_size"]) * DUE.itemsize
        + viewer_array_bytes(state.viewer_arrays, int(head["streams_used"]), int(head["buckets_used"]))
    )
