"""Prefetching: read what the next events need many at a time, so that the processor waits for memory once.

The viewer table is larger than the caches, and each event touches random places in it. Waiting for them one by one
takes most of the time. These loops are so short that the processor keeps several reads in flight. Their results are
mostly dropped; the data is in the cache when `process_events` needs it.
"""

import numpy as np

from consumer.runtime.jit import inlined
from consumer.windows.events import EventColumns
from consumer.windows.hashing import siphash13, siphash24_128
from consumer.windows.layout import State
from consumer.windows.rules import WindowRules
from consumer.windows.viewers.layout import CHUNK
from consumer.windows.viewers.table import home_of, likely_viewer, tag_of

_LINKS = 3
_NEAR = 6
"""In slots: a search rarely goes further."""


@inlined
def look_ahead(rules: WindowRules, state: State, events: EventColumns, begin: int, end: int) -> None:
    """Write the hashes and likely viewers of rows `begin` to `end` to the front of `state.ahead`."""
    key0, key1, ahead = state.head[0]["hash_key0"], state.head[0]["hash_key1"], state.ahead
    for i in range(begin, end):
        if events.reject[i] == 0:
            stream = siphash13(key0, key1, events.text, events.stream_start[i], events.stream_size[i])
            ahead[i - begin]["stream"] = stream
    if not rules.sessions:
        return
    for i in range(begin, end):
        if events.reject[i] == 0:
            low, high = siphash24_128(key0, key1, events.text, events.viewer_start[i], events.viewer_size[i])
            ahead[i - begin]["low"] = low
            ahead[i - begin]["high"] = high
    _read_viewers(state, end - begin)


@inlined
def _read_viewers(state: State, size: int) -> None:
    """Read table slots, viewer rows and newest activities."""
    ahead, slots = state.ahead, state.viewer_arrays.slots
    viewers, activities = state.viewer_arrays.viewers, state.viewer_arrays.activities
    for i in range(size):
        ahead[i]["hint"] = slots[home_of(tag_of(ahead[i]["stream"], ahead[i]["low"]), len(slots))]["viewer"]
    for i in range(size):
        ahead[i]["viewer"] = likely_viewer(slots, tag_of(ahead[i]["stream"], ahead[i]["low"]))
    for i in range(size):
        viewer = max(ahead[i]["viewer"], 0)
        ahead[i]["hint"] = viewers[viewer]["newest_activity"]
        ahead[i]["hint_too"] = np.int64(
            viewers[viewer]["hash_low"] >> np.uint64(1)
        )  # often in another line of the cache
    for i in range(size):
        # Row 0 holds no valid index before its first use.
        node = min(max(ahead[i]["hint"], 0), len(activities) - 1)
        ahead[i]["hint"] = activities[node]["activity"]


@inlined
def read_activities(state: State, chunk: int, size: int) -> int:
    """Write the viewers of the next `size` activities of a bucket to `state.ahead`, and prefetch their rows.

    Returns the chunk after them.
    """
    ahead, viewers, activities = state.ahead, state.viewer_arrays.viewers, state.viewer_arrays.activities
    for begin in range(0, size, CHUNK):
        for i in range(begin, min(begin + CHUNK, size)):
            ahead[i]["finalizing"] = activities[chunk * CHUNK + i - begin]["viewer"]
        chunk = int(state.viewer_arrays.chunks[chunk])
    for i in range(size):
        viewer = ahead[i]["finalizing"]
        ahead[i]["hint"] = viewers[viewer]["newest_activity"]
        ahead[i]["hint_too"] = viewers[viewer]["seen_ms"]
    # The newest, the oldest and the second oldest; with one activity per bucket that one belongs to a later bucket.
    for _ in range(_LINKS):
        for i in range(size):
            ahead[i]["hint"] = activities[max(ahead[i]["hint"], 0)]["later"]
    # Neighbours among those present.
    for i in range(size):
        viewer = ahead[i]["finalizing"]
        previous_present, next_present = (
            max(viewers[viewer]["previous_present"], 0),
            max(viewers[viewer]["next_present"], 0),
        )
        ahead[i]["hint"] = viewers[previous_present]["next_present"] + viewers[next_present]["previous_present"]
    return chunk


@inlined
def read_slots(state: State, row: int, size: int) -> None:
    """Prefetch the table slots of viewers to be removed, all of one stream."""
    ahead, viewer_arrays = state.ahead, state.viewer_arrays
    slots, viewers = viewer_arrays.slots, viewer_arrays.viewers
    for i in range(size):
        tag = tag_of(state.streams[row]["hash"], viewers[ahead[i]["gone"]]["hash_low"])
        home = home_of(tag, len(slots))
        ahead[i]["hint"] = slots[home]["viewer"]
        ahead[i]["hint_too"] = slots[(home + _NEAR) & (len(slots) - 1)]["viewer"]
