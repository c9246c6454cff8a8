"""The number of viewers present now, without waiting for a bucket to close.

A stream's `viewers` counts those whose newest activity is not a leave. Viewers whose time-out has passed in a bucket
that is still open are subtracted; they are at the front of the list of present viewers, and in old open buckets.
"""

import numpy as np
import numpy.typing as npt

from consumer.runtime.jit import compiled, inlined
from consumer.windows.buckets import bucket_start_ms, latest_ms
from consumer.windows.layout import NONE, State
from consumer.windows.rules import WindowRules
from consumer.windows.viewers.activity import is_leave, time_of
from consumer.windows.viewers.layout import CHUNK

WALK = np.dtype(
    [
        ("number", np.int64),  # the stream's place among those that are counted
        ("since_ms", np.int64),  # who was last seen before that has timed out
        ("viewer", np.int64),  # the next one of its list, or NONE
    ]
)
"""How far the list of a stream's present viewers has been read."""


@compiled
def count_live(
    rules: WindowRules,
    state: State,
    rows: npt.NDArray[np.int64],
    viewers: npt.NDArray[np.int64],
    walks: npt.NDArray[np.void],
) -> None:
    """Write the live count of each stream row; `walks` is scratch space of as many rows of `WALK`."""
    for i in range(len(rows)):
        viewers[i] = state.streams[rows[i]]["viewers"]
        if rules.sessions:
            since_ms = latest_ms(state, int(rows[i])) - rules.viewer_timeout_ms
            viewers[i] -= _silent_open(state, int(rows[i]), since_ms)
            walks[i]["number"] = i
            walks[i]["since_ms"] = since_ms
            walks[i]["viewer"] = state.viewer_arrays.present_lists[rows[i]]["first_present"]
    if rules.sessions:
        _subtract_silent_present(rules, state, viewers, walks, len(rows))


@inlined
def _subtract_silent_present(
    rules: WindowRules, state: State, counts: npt.NDArray[np.int64], walks: npt.NDArray[np.void], walking: int
) -> None:
    """Subtract viewers without an activity in an open bucket who have been silent for too long.

    All lists are walked side by side, a viewer of each in turn, so that the processor reads many rows at once: within
    a list it learns where the next row is only from the one before.
    """
    viewers = state.viewer_arrays.viewers
    while walking > 0:
        left = 0
        for i in range(walking):
            viewer, since_ms = int(walks[i]["viewer"]), int(walks[i]["since_ms"])
            if viewer == NONE or bucket_start_ms(viewers[viewer]["seen_ms"], rules.bucket_ms) >= since_ms:
                continue
            if viewers[viewer]["seen_ms"] < since_ms and viewers[viewer]["newest_activity"] == NONE:
                counts[walks[i]["number"]] -= 1
            walks[left]["number"] = walks[i]["number"]
            walks[left]["since_ms"] = since_ms
            walks[left]["viewer"] = viewers[viewer]["next_present"]
            left += 1
        walking = left


@inlined
def _silent_open(state: State, row: int, since_ms: int) -> int:
    """Viewers whose newest activity is in an open bucket, is not a leave, and is before that time."""
    viewer_arrays, buckets = state.viewer_arrays, state.buckets
    activities, viewers = viewer_arrays.activities, viewer_arrays.viewers
    silent, slot = 0, int(state.streams[row]["oldest_open"])
    while slot != NONE and buckets[slot]["start_ms"] < since_ms:
        left, chunk = int(viewer_arrays.presence[slot]["activities"]), int(viewer_arrays.presence[slot]["first_chunk"])
        while left > 0:
            for node in range(chunk * CHUNK, chunk * CHUNK + min(left, CHUNK)):
                activity = activities[node]["activity"]
                is_newest = viewers[activities[node]["viewer"]]["newest_activity"] == node
                silent += is_newest and not is_leave(activity) and time_of(activity) < since_ms
            left -= CHUNK
            chunk = int(viewer_arrays.chunks[chunk])
        slot = int(buckets[slot]["newer"])
    return silent
