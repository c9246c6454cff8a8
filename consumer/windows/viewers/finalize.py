"""Finalize the presence statistics of a bucket when it closes.

Only viewers with activities in the bucket, and viewers who time out in it, are visited. All others are present from
its start to its end and are counted as one number.
"""

from consumer.runtime.jit import called, inlined
from consumer.windows.ahead import read_activities, read_slots
from consumer.windows.buckets import bucket_start_ms
from consumer.windows.layout import AHEAD, NO_TIME_MS, NONE, State
from consumer.windows.rules import WindowRules
from consumer.windows.viewers.activity import drop_activities, is_joined, is_leave, time_of
from consumer.windows.viewers.peak import largest_count
from consumer.windows.viewers.present import add_present, remove_present
from consumer.windows.viewers.table import remove_viewer


@called
def finalize_bucket(rules: WindowRules, state: State, row: int, slot: int) -> None:
    """Compute the presence statistics of a stream's oldest open bucket, and carry its viewers into the next."""
    viewer_arrays, bucket, presence = state.viewer_arrays, state.buckets[slot], state.viewer_arrays.presence[slot]
    carried = int(viewer_arrays.present_lists[row]["carried"])
    presence["unique_viewers"] = carried
    presence["viewer_ms"] = carried * rules.bucket_ms
    presence["timeouts"] = 0
    size, left, chunk = 0, int(presence["activities"]), int(presence["first_chunk"])
    while left > 0:
        chunk = read_activities(state, chunk, min(left, AHEAD))
        for i in range(min(left, AHEAD)):
            size = _finalize_viewer(rules, state, row, slot, int(state.ahead[i]["finalizing"]), size)
        _remove_gone(state, row)
        left -= AHEAD
    size = _time_out_silent(rules, state, row, slot, size)
    drop_activities(viewer_arrays, slot)
    presence["viewers_at_end"] = viewer_arrays.present_lists[row]["carried"]
    at_start = carried
    for i in range(size):
        at_start += int(viewer_arrays.changes[i] == 1) - int(viewer_arrays.changes[i] == 0)
    bucket["peak"] = at_start
    if bucket["joins"] > 0:
        bucket["peak"] = largest_count(
            viewer_arrays.changes,
            viewer_arrays.sorted_changes,
            viewer_arrays.digits,
            size,
            rules.bucket_ms,
            carried,
            at_start,
        )


@inlined
def _finalize_viewer(rules: WindowRules, state: State, row: int, slot: int, viewer: int, size: int) -> int:
    """Process one viewer's activities in the bucket; return the new number of changes."""
    viewer_arrays, bucket = state.viewer_arrays, state.buckets[slot]
    viewers, activities = viewer_arrays.viewers, viewer_arrays.activities
    counters, presence = viewer_arrays.counters[0], viewer_arrays.presence[slot]
    end_ms = bucket["start_ms"] + rules.bucket_ms
    newest = int(viewers[viewer]["newest_activity"])
    if newest == NONE or time_of(activities[activities[newest]["later"]]["activity"]) >= end_ms:
        return size  # was finalized with an earlier activity
    seen_ms = viewers[viewer]["seen_ms"]
    carried = seen_ms != NO_TIME_MS
    present, counted = carried, carried
    node = int(activities[newest]["later"])
    while True:
        activity = activities[node]["activity"]
        if time_of(activity) >= end_ms:
            activities[newest]["later"] = node
            break
        if present and time_of(activity) > seen_ms + rules.viewer_timeout_ms:
            size = _record_departure(rules, state, slot, seen_ms + rules.viewer_timeout_ms, size)
            presence["timeouts"] += 1
            present = False
        if not is_leave(activity):
            if not present:
                size = _record_join(rules, state, slot, time_of(activity), size)
                bucket["joins"] += 1
                counters["implicit_joins"] += not is_joined(activity)
                presence["unique_viewers"] += not counted
                present, counted = True, True
            seen_ms = time_of(activity)
        elif present:
            size = _record_departure(rules, state, slot, time_of(activity), size)
            bucket["leaves"] += 1
            present = False
        else:
            counters["orphan_leaves"] += 1
        if node == newest:
            viewers[viewer]["newest_activity"] = NONE
            break
        node = int(activities[node]["later"])
    if carried:
        remove_present(viewer_arrays, row, viewer)
    if present:
        viewers[viewer]["seen_ms"] = seen_ms
        add_present(viewer_arrays, row, viewer)
    else:
        _mark_absent(state, viewer)
    return size


@inlined
def _time_out_silent(rules: WindowRules, state: State, row: int, slot: int, size: int) -> int:
    """Process viewers who time out in the bucket without an activity in it; return the new number of changes."""
    viewer_arrays, presence = state.viewer_arrays, state.viewer_arrays.presence[slot]
    viewers = viewer_arrays.viewers
    silent_since_ms = state.buckets[slot]["start_ms"] + rules.bucket_ms - rules.viewer_timeout_ms
    viewer = int(viewer_arrays.present_lists[row]["first_present"])
    while viewer != NONE:
        seen_ms, next_present = viewers[viewer]["seen_ms"], int(viewers[viewer]["next_present"])
        if bucket_start_ms(seen_ms, rules.bucket_ms) >= silent_since_ms:
            break
        if seen_ms < silent_since_ms:
            size = _record_departure(rules, state, slot, seen_ms + rules.viewer_timeout_ms, size)
            presence["timeouts"] += 1
            remove_present(viewer_arrays, row, viewer)
            if viewers[viewer]["newest_activity"] == NONE:
                state.streams[row]["viewers"] -= 1
            _mark_absent(state, viewer)
            if viewer_arrays.counters[0]["gone"] == AHEAD:
                _remove_gone(state, row)
        viewer = next_present
    _remove_gone(state, row)
    viewer_arrays.counters[0]["timeouts"] += presence["timeouts"]
    return size


@inlined
def _mark_absent(state: State, viewer: int) -> None:
    """Mark a viewer absent at the start of the open buckets; without activities in them the row can be freed."""
    viewers, counters = state.viewer_arrays.viewers, state.viewer_arrays.counters[0]
    viewers[viewer]["seen_ms"] = NO_TIME_MS
    if viewers[viewer]["newest_activity"] == NONE:
        state.ahead[counters["gone"]]["gone"] = viewer
        counters["gone"] += 1


@inlined
def _remove_gone(state: State, row: int) -> None:
    """Free the rows of removed viewers in groups, after prefetching their table slots."""
    counters = state.viewer_arrays.counters[0]
    read_slots(state, row, counters["gone"])
    for i in range(counters["gone"]):
        remove_viewer(state, int(state.ahead[i]["gone"]))
    counters["gone"] = 0


@inlined
def _record_join(rules: WindowRules, state: State, slot: int, time_ms: int, size: int) -> int:
    since_ms = time_ms - state.buckets[slot]["start_ms"]
    state.viewer_arrays.changes[size] = 2 * since_ms + 1
    state.viewer_arrays.presence[slot]["viewer_ms"] += rules.bucket_ms - since_ms
    return size + 1


@inlined
def _record_departure(rules: WindowRules, state: State, slot: int, time_ms: int, size: int) -> int:
    # Before the bucket's start only after the time-out was shortened: then they leave at its start.
    since_ms = max(time_ms - state.buckets[slot]["start_ms"], 0)
    state.viewer_arrays.changes[size] = 2 * since_ms
    state.viewer_arrays.presence[slot]["viewer_ms"] -= rules.bucket_ms - since_ms
    return size + 1
