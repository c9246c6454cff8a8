"""The arrays of sessions counting: one row per viewer and one per activity, with no Python object for either.

```
slots ──► viewers row ──► activity ──► activity ──► …  a viewer's activities in open buckets: a ring, from the newest
                 ▲  │ ▲                       ▲
   first_present ┘  ▼ │ next_present      │ first_chunk ⇄ … last_chunk
   present_lists ──► viewers who          presence ──► the activities of one open bucket, by arrival, in chunks
   (by stream)       were present when the open buckets began, the longest silent first
```
An *activity* is what one event says about its viewer at a time: present (any event but a leave) or absent. Each
distinct activity is kept until its bucket closes. `present_lists` has a row for each row of `streams`; `presence` has
a row for each row of `buckets`. With events counting all these arrays are empty.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from consumer.runtime.jit import compiled, inlined

_NONE = -1  # state.NONE; that module imports this one

CHUNK = 8
"""Activities that lie together: a small bucket wastes little, and a large one is read in strides."""

VIEWER = np.dtype(
    [
        ("hash_low", np.uint64),
        ("hash_high", np.uint64),
        ("seen_ms", np.int64),  # the last activity before the open buckets; NO_TIME_MS where absent by then
        ("stream", np.int32),  # NONE marks a free row
        ("newest_activity", np.int32),  # the newest activity in an open bucket
        ("previous_present", np.int32),
        ("next_present", np.int32),  # of a free row: the next free one
    ],
    align=True,
)

SLOT = np.dtype([("tag", np.uint32), ("viewer", np.int32)])

ACTIVITY = np.dtype([("activity", np.int64), ("viewer", np.int32), ("later", np.int32)], align=True)

PRESENT = np.dtype([("first_present", np.int32), ("last_present", np.int32), ("carried", np.int32)])

PRESENCE = np.dtype(
    [
        ("first_chunk", np.int32),
        ("last_chunk", np.int32),
        ("activities", np.int64),
        ("untracked", np.int64),
        ("timeouts", np.int64),
        ("unique_viewers", np.int64),
        ("viewer_ms", np.int64),
        ("viewers_at_end", np.int64),
    ],
    align=True,
)
"""Of one bucket; all but `untracked` are filled when it closes."""

COUNTERS = np.dtype(
    [
        ("viewers_used", np.int64),
        ("viewers_free", np.int64),
        ("viewers_live", np.int64),
        ("chunks_used", np.int64),
        ("chunks_free", np.int64),
        ("chunks_live", np.int64),
        ("activities_live", np.int64),
        ("gone", np.int64),  # while a bucket is finalized: how many viewers in `ahead` are to be forgotten
        ("timeouts", np.int64),
        ("orphan_leaves", np.int64),
        ("implicit_joins", np.int64),
        ("untracked", np.int64),
    ],
    align=True,
)


class ViewerArrays(NamedTuple):
    """All that the kernels read and write of viewers; `counters` has one row, the scalars."""

    counters: npt.NDArray[np.void]
    present_lists: npt.NDArray[np.void]
    presence: npt.NDArray[np.void]
    viewers: npt.NDArray[np.void]
    slots: npt.NDArray[np.void]
    activities: npt.NDArray[np.void]
    chunks: npt.NDArray[np.int32]
    """By chunk: the next one of its bucket, or the next free one."""
    changes: npt.NDArray[np.int64]
    """Scratch space to finalize a bucket, as are the two below."""
    sorted_changes: npt.NDArray[np.int64]
    digits: npt.NDArray[np.int64]


def new_viewer_arrays(*, streams: int, buckets: int) -> ViewerArrays:
    """No viewers; rows for that many streams and buckets, or 0 of each with events counting."""
    counters = np.zeros(1, COUNTERS)
    counters["viewers_free"] = counters["chunks_free"] = _NONE
    some = 64 if streams else 0
    return ViewerArrays(
        counters=counters,
        present_lists=empty_present_lists(streams),
        presence=np.zeros(buckets, PRESENCE),
        viewers=np.zeros(some, VIEWER),
        slots=empty_slots(some),
        activities=np.zeros(some * CHUNK, ACTIVITY),
        chunks=np.zeros(some, np.int32),
        changes=np.zeros(some, np.int64),
        sorted_changes=np.zeros(some, np.int64),
        digits=np.zeros(256, np.int64),
    )


def empty_present_lists(rows: int) -> npt.NDArray[np.void]:
    """Rows of streams without viewers; the row of a forgotten stream is in this state."""
    present_lists = np.zeros(rows, PRESENT)
    present_lists["first_present"] = present_lists["last_present"] = _NONE
    return present_lists


def empty_slots(size: int) -> npt.NDArray[np.void]:
    """A table without entries; `size` is a power of two, or 0."""
    slots = np.zeros(size, SLOT)
    slots["viewer"] = _NONE
    return slots


@inlined
def has_room_for_activities(viewer_arrays: ViewerArrays, activities: int) -> bool:
    """Whether there is room if each activity adds a viewer and a chunk, and any bucket is finalized."""
    if len(viewer_arrays.presence) == 0:
        return True  # viewers aren't counted
    counters = viewer_arrays.counters[0]
    return bool(
        counters["viewers_used"] + activities <= len(viewer_arrays.viewers)
        and 4 * (counters["viewers_live"] + activities) <= 3 * len(viewer_arrays.slots)
        and counters["chunks_used"] + activities <= len(viewer_arrays.chunks)
        and most_changes(counters["viewers_live"], counters["activities_live"], activities)
        <= len(viewer_arrays.changes)
    )


@compiled
def most_changes(viewers: int, held: int, activities: int) -> int:
    """The largest number of presence changes in one bucket: two per activity, and one time-out per viewer."""
    return 2 * (held + activities) + viewers + activities


def viewer_array_bytes(viewer_arrays: ViewerArrays, streams_used: int, buckets_used: int) -> int:
    """Bytes of rows in use or used before; scratch space is not counted."""
    counters = viewer_arrays.counters[0]
    return (
        viewer_arrays.slots.nbytes
        + min(streams_used, len(viewer_arrays.present_lists)) * PRESENT.itemsize
        + min(buckets_used, len(viewer_arrays.presence)) * PRESENCE.itemsize
        + int(counters["viewers_used"]) * VIEWER.itemsize
        + int(counters["chunks_used"]) * (CHUNK * ACTIVITY.itemsize + viewer_arrays.chunks.itemsize)
    )
