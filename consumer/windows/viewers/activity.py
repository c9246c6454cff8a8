"""Activities of viewers: packed into one word, kept until their bucket closes, linked per viewer.

The activities of a viewer form a ring: the viewer's row points to the newest, which links to the oldest. Nearly every
event is newer than the newest, and buckets are finalized from the oldest on.

Activities are ordered by time; a leave comes after everything else at the same time. Which activities are kept, and in
which order, does not depend on the order in which events arrive.
"""

from consumer.runtime.jit import inlined
from consumer.windows.events import JOIN, LEAVE
from consumer.windows.layout import NO_TIME_MS, NONE, State
from consumer.windows.rules import WindowRules
from consumer.windows.viewers.layout import CHUNK, ViewerArrays

_RANKS = 256
"""Each activity stores how many activities of its viewer and bucket precede it, so that arrivals need no counting."""


@inlined
def _packed(order: int, joined: bool, rank: int) -> int:
    return (order * 2 + joined) * _RANKS + rank


@inlined
def _order(activity: int) -> int:
    return activity >> 9


@inlined
def time_of(activity: int) -> int:
    """Its time."""
    return activity >> 10


@inlined
def latest_at(time_ms: int) -> int:
    """No activity of that time is larger."""
    return (time_ms + 1) * 4 * _RANKS - 1


@inlined
def is_leave(activity: int) -> bool:
    """Whether it is a leave."""
    return activity & 512 != 0


@inlined
def is_joined(activity: int) -> bool:
    """Whether a join was among the events that gave it."""
    return activity & _RANKS != 0


@inlined
def _rank(activity: int) -> int:
    return activity & (_RANKS - 1)


@inlined
def add_activity(
    rules: WindowRules, state: State, row: int, slot: int, viewer: int, timestamp_ms: int, facts: int
) -> bool:
    """Add an activity to an open bucket unless it exists already; False past the limit."""
    activities, start_ms = state.viewer_arrays.activities, state.buckets[slot]["start_ms"]
    leaves, joined = (facts & LEAVE) != 0, (facts & JOIN) != 0
    order = timestamp_ms * 2 + leaves
    newest = int(state.viewer_arrays.viewers[viewer]["newest_activity"])
    if newest != NONE and _order(activities[newest]["activity"]) >= order:
        return _add_earlier_activity(rules, state, slot, newest, order, joined)
    rank = 0
    if newest != NONE and time_of(activities[newest]["activity"]) >= start_ms:
        rank = _rank(activities[newest]["activity"]) + 1
        if rank >= rules.max_events_per_viewer_bucket:
            return False
    was_there = bool(
        state.viewer_arrays.viewers[viewer]["seen_ms"] != NO_TIME_MS
        if newest == NONE
        else not is_leave(activities[newest]["activity"])
    )
    add_newest(state.viewer_arrays, slot, viewer, _packed(order, joined, rank))
    state.streams[row]["viewers"] += int(not leaves) - int(was_there)
    return True


@inlined
def _add_earlier_activity(rules: WindowRules, state: State, slot: int, newest: int, order: int, joined: bool) -> bool:
    """The same for an activity older than the newest."""
    activities, start_ms = state.viewer_arrays.activities, state.buckets[slot]["start_ms"]
    before, at = newest, int(activities[newest]["later"])
    while _order(activities[at]["activity"]) < order:
        before, at = at, int(activities[at]["later"])
    if _order(activities[at]["activity"]) == order:
        if joined:
            activities[at]["activity"] |= _RANKS
        return True
    rank = 0
    if before != newest and time_of(activities[before]["activity"]) >= start_ms:
        rank = _rank(activities[before]["activity"]) + 1
    behind = _behind_in_bucket(state, at, newest, start_ms + rules.bucket_ms)
    if rank + behind >= rules.max_events_per_viewer_bucket:
        return False
    node = new_node(state.viewer_arrays, slot)
    activities[node]["activity"] = _packed(order, joined, rank)
    activities[node]["viewer"] = activities[at]["viewer"]
    activities[node]["later"] = at
    activities[before]["later"] = node
    for _ in range(behind):
        activities[at]["activity"] += 1  # of its rank
        at = int(activities[at]["later"])
    return True


@inlined
def _behind_in_bucket(state: State, at: int, newest: int, end_ms: int) -> int:
    """How many activities from `at` on are before that time."""
    activities, size = state.viewer_arrays.activities, 0
    while time_of(activities[at]["activity"]) < end_ms:
        size += 1
        if at == newest:
            break
        at = int(activities[at]["later"])
    return size


@inlined
def add_newest(viewer_arrays: ViewerArrays, slot: int, viewer: int, activity: int) -> None:
    """Append an activity newer than all others of its viewer."""
    viewers, activities = viewer_arrays.viewers, viewer_arrays.activities
    node, newest = new_node(viewer_arrays, slot), int(viewers[viewer]["newest_activity"])
    activities[node]["activity"] = activity
    activities[node]["viewer"] = viewer
    if newest == NONE:
        activities[node]["later"] = node
    else:
        activities[node]["later"] = activities[newest]["later"]
        activities[newest]["later"] = node
    viewers[viewer]["newest_activity"] = node


@inlined
def new_node(viewer_arrays: ViewerArrays, slot: int) -> int:
    """Room for one more activity of a bucket."""
    counters, presence, chunks = viewer_arrays.counters[0], viewer_arrays.presence[slot], viewer_arrays.chunks
    inside = int(presence["activities"]) & (CHUNK - 1)
    presence["activities"] += 1
    counters["activities_live"] += 1
    if inside != 0:
        return int(presence["last_chunk"]) * CHUNK + inside
    chunk = int(counters["chunks_free"])
    if chunk == NONE:
        chunk = int(counters["chunks_used"])
        counters["chunks_used"] += 1
    else:
        counters["chunks_free"] = chunks[chunk]
    counters["chunks_live"] += 1
    if presence["last_chunk"] == NONE:
        presence["first_chunk"] = chunk
    else:
        chunks[presence["last_chunk"]] = chunk
    chunks[chunk] = NONE
    presence["last_chunk"] = chunk
    return chunk * CHUNK


@inlined
def drop_activities(viewer_arrays: ViewerArrays, slot: int) -> None:
    """Free the chunks of a finalized bucket; no ring links to its activities any more."""
    counters, presence = viewer_arrays.counters[0], viewer_arrays.presence[slot]
    if presence["activities"] == 0:
        return
    counters["activities_live"] -= presence["activities"]
    counters["chunks_live"] -= (presence["activities"] + CHUNK - 1) // CHUNK
    viewer_arrays.chunks[presence["last_chunk"]] = counters["chunks_free"]
    counters["chunks_free"] = presence["first_chunk"]
    presence["activities"] = 0
    presence["first_chunk"] = NONE
    presence["last_chunk"] = NONE
