"""Map viewers to rows: open addressing with linear probing over keyed hashes; deletion shifts entries back.

A viewer belongs to one stream. Its tag in the table mixes both hashes, so that a viewer of many streams is spread
over the table. A slot holds the tag, so probing, deleting and growing rarely touch the rows.
"""

import numpy as np
import numpy.typing as npt

from consumer.runtime.jit import compiled, inlined
from consumer.windows.layout import NO_TIME_MS, NONE, State
from consumer.windows.viewers.layout import ViewerArrays


@inlined
def tag_of(stream_hash: np.uint64, low: np.uint64) -> np.uint32:
    """The tag of a viewer hash and a stream hash."""
    return np.uint32((stream_hash + low) >> np.uint64(32))


@inlined
def home_of(tag: np.uint32, slots: int) -> int:
    """The slot at which the search for a tag begins."""
    return np.int64(tag) & (slots - 1)  # type: ignore[return-value]  # int() would stay unsigned when compiled


@inlined
def find_viewer(viewer_arrays: ViewerArrays, row: int, tag: np.uint32, low: np.uint64, high: np.uint64) -> int:
    """The row of the viewer of stream row `row` with that hash, or NONE."""
    slots = viewer_arrays.slots
    mask = len(slots) - 1
    at = home_of(tag, len(slots))
    while True:
        viewer = int(slots[at]["viewer"])
        if viewer == NONE or (slots[at]["tag"] == tag and is_viewer(viewer_arrays, viewer, row, low, high)):
            return viewer
        at = (at + 1) & mask


@inlined
def is_viewer(viewer_arrays: ViewerArrays, viewer: int, row: int, low: np.uint64, high: np.uint64) -> bool:
    """Whether that is the row of the viewer of stream row `row` with that hash."""
    one = viewer_arrays.viewers[viewer]
    return bool(one["hash_low"] == low and one["hash_high"] == high and one["stream"] == row)


@inlined
def likely_viewer(slots: npt.NDArray[np.void], tag: np.uint32) -> int:
    """The first row with that tag, or NONE: nearly always the viewer's, but only the hashes prove it."""
    mask = len(slots) - 1
    at = home_of(tag, len(slots))
    while slots[at]["viewer"] != NONE and slots[at]["tag"] != tag:
        at = (at + 1) & mask
    return int(slots[at]["viewer"])


@inlined
def add_viewer(viewer_arrays: ViewerArrays, row: int, tag: np.uint32, low: np.uint64, high: np.uint64) -> int:
    """Add a row for a new, absent viewer; room was reserved before."""
    counters, viewers = viewer_arrays.counters[0], viewer_arrays.viewers
    viewer = int(counters["viewers_free"])
    if viewer == NONE:
        viewer = int(counters["viewers_used"])
        counters["viewers_used"] += 1
    else:
        counters["viewers_free"] = viewers[viewer]["next_present"]
    counters["viewers_live"] += 1
    viewers[viewer]["hash_low"] = low
    viewers[viewer]["hash_high"] = high
    viewers[viewer]["seen_ms"] = NO_TIME_MS
    viewers[viewer]["stream"] = row
    viewers[viewer]["newest_activity"] = NONE
    viewers[viewer]["previous_present"] = NONE
    viewers[viewer]["next_present"] = NONE
    put_viewer(viewer_arrays.slots, tag, viewer)
    return viewer


@inlined
def put_viewer(slots: npt.NDArray[np.void], tag: np.uint32, viewer: int) -> None:
    """Insert a row that is not in the table; the table must have an empty slot."""
    mask = len(slots) - 1
    at = home_of(tag, len(slots))
    while slots[at]["viewer"] != NONE:
        at = (at + 1) & mask
    slots[at]["tag"] = tag
    slots[at]["viewer"] = viewer


@inlined
def remove_viewer(state: State, viewer: int) -> None:
    """Free the row of a viewer who is absent and has no activities in open buckets."""
    viewer_arrays = state.viewer_arrays
    counters, viewers = viewer_arrays.counters[0], viewer_arrays.viewers
    tag = tag_of(state.streams[viewers[viewer]["stream"]]["hash"], viewers[viewer]["hash_low"])
    _remove(viewer_arrays.slots, tag, viewer)
    viewers[viewer]["stream"] = NONE
    viewers[viewer]["next_present"] = counters["viewers_free"]
    counters["viewers_free"] = viewer
    counters["viewers_live"] -= 1


@inlined
def _remove(slots: npt.NDArray[np.void], tag: np.uint32, viewer: int) -> None:
    mask = len(slots) - 1
    hole = home_of(tag, len(slots))
    while slots[hole]["viewer"] != viewer:
        hole = (hole + 1) & mask
    at = hole
    while True:
        at = (at + 1) & mask
        if slots[at]["viewer"] == NONE:
            break
        # An entry may move into the hole only if the hole lies between its home slot and its current slot.
        home = home_of(slots[at]["tag"], len(slots))
        if ((at - home) & mask) >= ((at - hole) & mask):
            slots[hole]["tag"] = slots[at]["tag"]
            slots[hole]["viewer"] = slots[at]["viewer"]
            hole = at
    slots[hole]["viewer"] = NONE


@compiled
def fill_slots(old: npt.NDArray[np.void], slots: npt.NDArray[np.void]) -> None:
    """Insert all entries of one table into an empty one."""
    for at in range(len(old)):
        if old[at]["viewer"] != NONE:
            put_viewer(slots, old[at]["tag"], int(old[at]["viewer"]))
