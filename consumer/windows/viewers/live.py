"""The number of viewers present now, without waiting for a bucket to close.

A stream's `viewers` counts those whose newest activity is not a leave. Viewers whose time-out has passed in a bucket
that is still open are subtracted; they are at the front of the list of present viewers, and in old open buckets.
"""

from consumer.runtime.jit import inlined
from consumer.windows.buckets import bucket_start_ms
from consumer.windows.layout import NONE, State
from consumer.windows.rules import WindowRules
from consumer.windows.viewers.activity import is_leave, time_of
from consumer.windows.viewers.layout import CHUNK


@inlined
def live_viewers(rules: WindowRules, state: State, row: int) -> int:
    """The live count of a stream."""
    stream = state.streams[row]
    if not rules.sessions:
        return int(stream["viewers"])
    time_ms = max(int(stream["time_ms"]), int(state.head[0]["idle_watermark_ms"]))
    since_ms = time_ms - rules.viewer_timeout_ms
    return int(stream["viewers"]) - _silent_present(rules, state, row, since_ms) - _silent_open(state, row, since_ms)


@inlined
def _silent_present(rules: WindowRules, state: State, row: int, since_ms: int) -> int:
    """Viewers without an activity in an open bucket who were last seen before that time."""
    viewers = state.viewer_arrays.viewers
    silent, viewer = 0, int(state.viewer_arrays.present_lists[row]["first_present"])
    while viewer != NONE:
        seen_ms = viewers[viewer]["seen_ms"]
        if bucket_start_ms(seen_ms, rules.bucket_ms) >= since_ms:
            break
        silent += seen_ms < since_ms and viewers[viewer]["newest_activity"] == NONE
        viewer = int(viewers[viewer]["next_present"])
    return silent


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
