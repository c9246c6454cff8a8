"""The viewers of a stream as a section of its row.

```
VIEWERS  · how many viewers, how many activities · untracked events of each open bucket, oldest first
         · of each viewer, the longest silent first: hash (16 bytes) · last activity before the open buckets ·
           activities · 0
```
Times are stored as distances behind the stream's own. A viewer's activities are stored oldest first: the first as such
a distance, each other one as the distance from its predecessor. A loaded stream equals the stored one except for the
indexes of its rows.
"""

import numpy as np
import numpy.typing as npt

from consumer.runtime.jit import compiled, inlined
from consumer.windows.events import MAX_ABS_TIMESTAMP_MS
from consumer.windows.layout import NO_TIME_MS, NONE, State
from consumer.windows.rules import WindowRules
from consumer.windows.storage.varints import MOST_BYTES, get_varint, put_varint
from consumer.windows.viewers.activity import add_newest, drop_activities, is_leave, latest_at, time_of
from consumer.windows.viewers.layout import CHUNK
from consumer.windows.viewers.present import add_present
from consumer.windows.viewers.table import add_viewer, find_viewer, put_viewer, remove_viewer, tag_of

VIEWERS_SECTION = 4
"""Section 3 stored activities newest first; its new number makes old readers refuse a row instead of misreading it."""

HASH_BYTES = 16
MIN_VIEWER_BYTES = HASH_BYTES + 2
_MOST_DISTANT = 2**60
"""Upper bound of the distance between activities in one stream's open buckets; sums of it fit in 64 bits."""

TRUNCATED = NONE
UNKNOWN_SECTION = -4
BAD_VIEWERS = -10

Bytes = npt.NDArray[np.uint8]


@inlined
def most_viewer_bytes(state: State, row: int) -> int:
    """Upper bound of the section's bytes."""
    carried, activities, still_open = int(state.viewer_arrays.present_lists[row]["carried"]), 0, 0
    slot = int(state.streams[row]["oldest_open"])
    while slot != NONE:
        activities += int(state.viewer_arrays.presence[slot]["activities"])
        still_open += 1
        slot = int(state.buckets[slot]["newer"])
    return 1 + (2 + still_open + activities) * MOST_BYTES + (carried + activities) * (HASH_BYTES + MOST_BYTES + 1)


@inlined
def put_viewers(state: State, row: int, out: Bytes, at: int) -> int:
    """Write the section; returns the position behind it."""
    present_list, viewers, presence = (
        state.viewer_arrays.present_lists[row],
        state.viewer_arrays.viewers,
        state.viewer_arrays.presence,
    )
    count, activities, slot = int(present_list["carried"]), 0, int(state.streams[row]["oldest_open"])
    while slot != NONE:
        count += _newcomers(state, slot)
        activities += int(presence[slot]["activities"])
        slot = int(state.buckets[slot]["newer"])
    out[at] = VIEWERS_SECTION
    at = put_varint(out, at + 1, count)
    at = put_varint(out, at, activities)
    slot = int(state.streams[row]["oldest_open"])
    while slot != NONE:
        at = put_varint(out, at, presence[slot]["untracked"])
        slot = int(state.buckets[slot]["newer"])
    viewer = int(present_list["first_present"])
    while viewer != NONE:
        at = _put_viewer(state, row, viewer, out, at)
        viewer = int(viewers[viewer]["next_present"])
    slot = int(state.streams[row]["oldest_open"])
    while slot != NONE:
        at = _put_newcomers(state, row, slot, out, at)
        slot = int(state.buckets[slot]["newer"])
    return at


@inlined
def _is_newcomer(state: State, node: int) -> bool:
    """Whether an activity is its viewer's newest and the viewer is not in the list of present viewers."""
    viewer = state.viewer_arrays.viewers[state.viewer_arrays.activities[node]["viewer"]]
    return bool(viewer["newest_activity"] == node and viewer["seen_ms"] == NO_TIME_MS)


@inlined
def _newcomers(state: State, slot: int) -> int:
    count, left, chunk = (
        0,
        int(state.viewer_arrays.presence[slot]["activities"]),
        int(state.viewer_arrays.presence[slot]["first_chunk"]),
    )
    while left > 0:
        for node in range(chunk * CHUNK, chunk * CHUNK + min(left, CHUNK)):
            count += _is_newcomer(state, node)
        left -= CHUNK
        chunk = int(state.viewer_arrays.chunks[chunk])
    return count


@inlined
def _put_newcomers(state: State, row: int, slot: int, out: Bytes, at: int) -> int:
    left, chunk = (
        int(state.viewer_arrays.presence[slot]["activities"]),
        int(state.viewer_arrays.presence[slot]["first_chunk"]),
    )
    while left > 0:
        for node in range(chunk * CHUNK, chunk * CHUNK + min(left, CHUNK)):
            if _is_newcomer(state, node):
                at = _put_viewer(state, row, int(state.viewer_arrays.activities[node]["viewer"]), out, at)
        left -= CHUNK
        chunk = int(state.viewer_arrays.chunks[chunk])
    return at


@inlined
def _put_viewer(state: State, row: int, viewer: int, out: Bytes, at: int) -> int:
    viewers, activities, time_ms = (
        state.viewer_arrays.viewers,
        state.viewer_arrays.activities,
        int(state.streams[row]["time_ms"]),
    )
    at = _put_word(out, at, viewers[viewer]["hash_low"])
    at = _put_word(out, at, viewers[viewer]["hash_high"])
    seen_ms = int(viewers[viewer]["seen_ms"])
    at = put_varint(out, at, 0 if seen_ms == NO_TIME_MS else 1 + time_ms - seen_ms)
    newest = int(viewers[viewer]["newest_activity"])
    if newest != NONE:
        node = int(activities[newest]["later"])
        at = put_varint(out, at, latest_at(time_ms) + 1 - int(activities[node]["activity"]))
        while node != newest:
            before, node = int(activities[node]["activity"]), int(activities[node]["later"])
            at = put_varint(out, at, int(activities[node]["activity"]) - before)
    return put_varint(out, at, 0)


@inlined
def _put_word(out: Bytes, at: int, word: np.uint64) -> int:
    for i in range(8):
        out[at + i] = (word >> np.uint64(8 * i)) & np.uint64(255)
    return at + 8


@inlined
def _get_word(text: Bytes, at: int) -> np.uint64:
    word = np.uint64(0)
    for i in range(8):
        word |= np.uint64(text[at + i]) << np.uint64(8 * i)
    return word


@inlined
def get_counts(text: Bytes, at: int, end: int) -> tuple[int, int, int]:
    """Return how many viewers and activities a section has, and the position after the counts; or a problem code."""
    if at >= end or text[at] != VIEWERS_SECTION:
        return 0, 0, UNKNOWN_SECTION
    count, at = get_varint(text, at + 1, end)
    activities, at = get_varint(text, at, end)
    if at == NONE:
        return 0, 0, TRUNCATED
    if count > (end - at) // MIN_VIEWER_BYTES or activities > end - at:
        return 0, 0, BAD_VIEWERS
    return count, activities, at


@inlined
def read_viewers(rules: WindowRules, state: State, row: int, text: Bytes, at: int, end: int) -> int:
    """Load a stream's viewers; room was reserved. Return the position behind the section, or a problem."""
    stream, presence = state.streams[row], state.viewer_arrays.presence
    count, activities, at = get_counts(text, at, end)
    if at < 0:
        return at
    slot = int(stream["oldest_open"])
    while slot != NONE:
        presence[slot]["untracked"], at = get_varint(text, at, end)
        slot = int(state.buckets[slot]["newer"])
    live, left = 0, activities
    for _ in range(count):
        if at == NONE:
            return TRUNCATED
        there, left, at = _read_viewer(rules, state, row, left, text, at, end)
        if at < NONE:
            return at
        live += there
    if at == NONE:
        return TRUNCATED
    is_carried = state.viewer_arrays.present_lists[row]["carried"] > 0
    if left != 0 or live != stream["viewers"] or (is_carried and stream["oldest_open"] == NONE):
        return BAD_VIEWERS
    return at


@inlined
def _read_viewer(
    rules: WindowRules, state: State, row: int, left: int, text: Bytes, at: int, end: int
) -> tuple[int, int, int]:
    """Return 1 if the newest activity is not a leave, the number of activities left, and the position or problem."""
    viewer_arrays, stream = state.viewer_arrays, state.streams[row]
    if end - at < HASH_BYTES:
        return 0, left, TRUNCATED
    low, high = _get_word(text, at), _get_word(text, at + 8)
    tag = tag_of(stream["hash"], low)
    if find_viewer(viewer_arrays, row, tag, low, high) != NONE:
        return 0, left, BAD_VIEWERS
    behind, at = get_varint(text, at + HASH_BYTES, end)
    if at == NONE:
        return 0, left, TRUNCATED
    if behind > 2 * MAX_ABS_TIMESTAMP_MS:
        return 0, left, BAD_VIEWERS
    viewer = add_viewer(viewer_arrays, row, tag, low, high)
    if behind > 0:
        viewer_arrays.viewers[viewer]["seen_ms"] = int(stream["time_ms"]) + 1 - behind
        add_present(viewer_arrays, row, viewer)
    left, at = _read_activities(rules, state, row, viewer, left, text, at, end)
    newest = int(viewer_arrays.viewers[viewer]["newest_activity"])
    if at >= 0 and newest == NONE and behind == 0:
        return 0, left, BAD_VIEWERS
    return int(behind > 0 if newest == NONE else not is_leave(viewer_arrays.activities[newest]["activity"])), left, at


@inlined
def _read_activities(
    rules: WindowRules, state: State, row: int, viewer: int, left: int, text: Bytes, at: int, end: int
) -> tuple[int, int]:
    stream, buckets, slot = state.streams[row], state.buckets, int(state.streams[row]["oldest_open"])
    latest = latest_at(int(stream["time_ms"]))
    activity, first = latest + 1, True
    while True:
        distance, at = get_varint(text, at, end)
        if at == NONE or distance == 0:
            return left, at
        if left == 0 or slot == NONE or distance > _MOST_DISTANT:
            return left, BAD_VIEWERS
        activity, first = activity - distance if first else activity + distance, False
        if activity > latest:
            return left, BAD_VIEWERS
        while time_of(activity) >= buckets[slot]["start_ms"] + rules.bucket_ms and slot != stream["newest"]:
            slot = int(buckets[slot]["newer"])
        if not 0 <= time_of(activity) - buckets[slot]["start_ms"] < rules.bucket_ms:
            return left, BAD_VIEWERS
        add_newest(state.viewer_arrays, slot, viewer, activity)
        left -= 1


@inlined
def drop_viewers(state: State, row: int) -> None:
    """Remove all viewers of a stream and their activities."""
    viewer_arrays = state.viewer_arrays
    viewers, present_list = viewer_arrays.viewers, viewer_arrays.present_lists[row]
    slot = int(state.streams[row]["oldest_open"])
    while slot != NONE:
        left, chunk = int(viewer_arrays.presence[slot]["activities"]), int(viewer_arrays.presence[slot]["first_chunk"])
        while left > 0:
            for node in range(chunk * CHUNK, chunk * CHUNK + min(left, CHUNK)):
                viewer = int(viewer_arrays.activities[node]["viewer"])
                if viewers[viewer]["stream"] == row and viewers[viewer]["seen_ms"] == NO_TIME_MS:
                    remove_viewer(state, viewer)
            left -= CHUNK
            chunk = int(viewer_arrays.chunks[chunk])
        drop_activities(viewer_arrays, slot)
        slot = int(state.buckets[slot]["newer"])
    viewer = int(present_list["first_present"])
    while viewer != NONE:
        next_present = int(viewers[viewer]["next_present"])
        remove_viewer(state, viewer)
        viewer = next_present
    present_list["first_present"] = NONE
    present_list["last_present"] = NONE
    present_list["carried"] = 0


@compiled
def index_viewers(state: State) -> None:
    """Insert all viewers into the empty table, by the new hashes of their streams."""
    viewer_arrays = state.viewer_arrays
    for viewer in range(viewer_arrays.counters[0]["viewers_used"]):
        row = viewer_arrays.viewers[viewer]["stream"]
        if row != NONE:
            tag = tag_of(state.streams[row]["hash"], viewer_arrays.viewers[viewer]["hash_low"])
            put_viewer(viewer_arrays.slots, tag, viewer)
