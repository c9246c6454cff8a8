"""Compaction: move used rows together, so that memory is freed after many viewers have left."""

import numpy as np
import numpy.typing as npt

from consumer.runtime.jit import compiled, inlined
from consumer.windows.layout import NO_TIME_MS, NONE, State
from consumer.windows.viewers.layout import CHUNK, ViewerArrays
from consumer.windows.viewers.table import put_viewer

Places = npt.NDArray[np.int32]
"""By old row or chunk: the new one."""


@compiled
def pack_viewers(old: ViewerArrays, viewers: npt.NDArray[np.void], slots: npt.NDArray[np.void], places: Places) -> None:
    """Copy the viewers in use to the front of `viewers`, and enter them into the empty table `slots`."""
    counters, size = old.counters[0], 0
    for viewer in range(counters["viewers_used"]):
        places[viewer] = NONE
        if old.viewers[viewer]["stream"] != NONE:
            places[viewer] = size
            viewers[size] = old.viewers[viewer]
            size += 1
    for viewer in range(size):
        present = viewers[viewer]["seen_ms"] != NO_TIME_MS
        viewers[viewer]["previous_present"] = (
            _moved(places, int(viewers[viewer]["previous_present"])) if present else NONE
        )
        viewers[viewer]["next_present"] = _moved(places, int(viewers[viewer]["next_present"])) if present else NONE
    for row in range(len(old.present_lists)):
        old.present_lists[row]["first_present"] = _moved(places, int(old.present_lists[row]["first_present"]))
        old.present_lists[row]["last_present"] = _moved(places, int(old.present_lists[row]["last_present"]))
    for at in range(len(old.slots)):
        if old.slots[at]["viewer"] != NONE:
            put_viewer(slots, old.slots[at]["tag"], _moved(places, int(old.slots[at]["viewer"])))
    for node in range(counters["chunks_used"] * CHUNK):
        # A free node may hold any row number.
        named = min(max(int(old.activities[node]["viewer"]), 0), int(counters["viewers_used"]) - 1)
        old.activities[node]["viewer"] = places[named]
    counters["viewers_used"] = size
    counters["viewers_free"] = NONE


@compiled
def pack_chunks(state: State, activities: npt.NDArray[np.void], chunks: npt.NDArray[np.int32], places: Places) -> None:
    """Copy the chunks in use to the front of `activities` and `chunks`, those of a bucket side by side."""
    old, size = state.viewer_arrays, 0
    for row in range(state.head[0]["streams_used"]):
        if state.streams[row]["id_size"] >= 0:
            slot = int(state.streams[row]["oldest_open"])
            while slot != NONE:
                size = _pack_bucket(old, slot, activities, chunks, places, size)
                slot = int(state.buckets[slot]["newer"])
    for node in range(size * CHUNK):
        activities[node]["later"] = _moved_node(places, int(activities[node]["later"]))
    for viewer in range(old.counters[0]["viewers_used"]):
        old.viewers[viewer]["newest_activity"] = _moved_node(places, int(old.viewers[viewer]["newest_activity"]))
    old.counters[0]["chunks_used"] = size
    old.counters[0]["chunks_free"] = NONE


@inlined
def _pack_bucket(
    old: ViewerArrays,
    slot: int,
    activities: npt.NDArray[np.void],
    chunks: npt.NDArray[np.int32],
    places: Places,
    size: int,
) -> int:
    presence = old.presence[slot]
    left, chunk = int(presence["activities"]), int(presence["first_chunk"])
    if left == 0:
        return size
    presence["first_chunk"] = size
    while left > 0:
        places[chunk] = size
        for i in range(CHUNK):
            if i < left:
                activities[size * CHUNK + i] = old.activities[chunk * CHUNK + i]
            else:
                activities[size * CHUNK + i]["viewer"] = 0
                activities[size * CHUNK + i]["later"] = NONE
        chunks[size] = size + 1 if left > CHUNK else NONE
        size += 1
        left -= CHUNK
        chunk = int(old.chunks[chunk])
    presence["last_chunk"] = size - 1
    return size


@inlined
def _moved(places: Places, row: int) -> int:
    return NONE if row == NONE else int(places[row])


@inlined
def _moved_node(places: Places, node: int) -> int:
    return NONE if node == NONE else int(places[node // CHUNK]) * CHUNK + node % CHUNK
