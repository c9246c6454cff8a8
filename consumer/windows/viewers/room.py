"""Grow the viewer arrays before compiled code needs it, and shrink them after many viewers have left."""

import numpy as np
import numpy.typing as npt

from consumer.windows.arrays import grown
from consumer.windows.layout import State
from consumer.windows.viewers.layout import (
    ACTIVITY,
    CHUNK,
    VIEWER,
    empty_present_lists,
    empty_slots,
    most_changes,
)
from consumer.windows.viewers.packing import pack_chunks, pack_viewers
from consumer.windows.viewers.table import fill_slots

KEPT_ANYWAY = 4096
"""Fewer rows or chunks are not worth compacting."""
FREE_SHARE = 0.75
"""Above that, the share that must be free."""


def with_room(state: State, activities: int, chunks: int) -> State:
    """The state with rows for all its streams and buckets, and room for more activities in more chunks."""
    viewer_arrays, buckets_used = state.viewer_arrays, int(state.head[0]["buckets_used"])
    counters = viewer_arrays.counters[0]
    viewers_used, chunks_used = int(counters["viewers_used"]), int(counters["chunks_used"])
    changes = most_changes(int(counters["viewers_live"]), int(counters["activities_live"]), activities)
    rows = grown(viewer_arrays.viewers, viewers_used, viewers_used + activities)
    chunk_links = grown(viewer_arrays.chunks, chunks_used, chunks_used + chunks)
    viewer_arrays = viewer_arrays._replace(
        present_lists=_present_lists_with_room(viewer_arrays.present_lists, len(state.streams)),
        # Only used rows are copied: those beyond were never written to, and are not resident.
        presence=grown(viewer_arrays.presence, min(buckets_used, len(viewer_arrays.presence)), len(state.buckets)),
        viewers=rows,
        slots=_slots_with_room(viewer_arrays.slots, int(counters["viewers_live"]) + activities),
        activities=grown(viewer_arrays.activities, chunks_used * CHUNK, len(chunk_links) * CHUNK),
        chunks=chunk_links,
        changes=grown(viewer_arrays.changes, 0, changes),
        sorted_changes=grown(viewer_arrays.sorted_changes, 0, changes),
    )
    return state._replace(viewer_arrays=viewer_arrays)


def _present_lists_with_room(present_lists: npt.NDArray[np.void], streams: int) -> npt.NDArray[np.void]:
    if streams == len(present_lists):  # the common case in a restore
        return present_lists
    return np.concatenate([present_lists, empty_present_lists(streams - len(present_lists))])


def _slots_with_room(slots: npt.NDArray[np.void], viewers: int) -> npt.NDArray[np.void]:
    if 4 * viewers <= 3 * len(slots):
        return slots
    larger = empty_slots(_slots_for(viewers))
    fill_slots(slots, larger)
    return larger


def _slots_for(viewers: int) -> int:
    return 1 << (4 * viewers // 3).bit_length()


def given_back(state: State) -> State:
    """The state with its free viewer rows and chunks released, where there are many; nothing else changes."""
    counters = state.viewer_arrays.counters[0]
    if _is_mostly_free(int(counters["viewers_used"]), int(counters["viewers_live"])):
        state = with_fewer_viewers(state)
    if _is_mostly_free(int(counters["chunks_used"]), int(counters["chunks_live"])):
        state = with_fewer_chunks(state)
    return state


def _is_mostly_free(used: int, live: int) -> bool:
    return used > KEPT_ANYWAY and used - live > FREE_SHARE * used


def with_fewer_viewers(state: State) -> State:
    """The state compacted to twice the viewers in use."""
    viewer_arrays, counters = state.viewer_arrays, state.viewer_arrays.counters[0]
    size = 2 * int(counters["viewers_live"]) + KEPT_ANYWAY // 2
    viewers, slots = np.empty(size, VIEWER), empty_slots(_slots_for(size))
    pack_viewers(viewer_arrays, viewers, slots, np.empty(int(counters["viewers_used"]), np.int32))
    changes = most_changes(int(counters["viewers_live"]), int(counters["activities_live"]), 0)
    viewer_arrays = viewer_arrays._replace(
        viewers=viewers,
        slots=slots,
        changes=np.empty(changes, np.int64),
        sorted_changes=np.empty(changes, np.int64),
    )
    return state._replace(viewer_arrays=viewer_arrays)


def with_fewer_chunks(state: State) -> State:
    """The state compacted to twice the chunks in use."""
    counters = state.viewer_arrays.counters[0]
    size = 2 * int(counters["chunks_live"]) + KEPT_ANYWAY // 2
    activities, chunks = np.empty(size * CHUNK, ACTIVITY), np.empty(size, np.int32)
    pack_chunks(state, activities, chunks, np.empty(int(counters["chunks_used"]), np.int32))
    return state._replace(viewer_arrays=state.viewer_arrays._replace(activities=activities, chunks=chunks))
