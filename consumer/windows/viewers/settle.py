"""A bucket is settled when it closes: every viewer's signs in order, then those who were silent for too long.

Only viewers with signs in the bucket and those who time out in it are looked at; the others are there from its start to
its end, and are counted as one number.
"""

from consumer.runtime.jit import called, inlined
from consumer.windows.ahead import read_signs, read_slots
from consumer.windows.buckets import bucket_start_ms
from consumer.windows.layout import AHEAD, NO_TIME_MS, NONE, State
from consumer.windows.rules import WindowRules
from consumer.windows.viewers.activity import drop_signs, is_joined, is_leave, time_of
from consumer.windows.viewers.peak import largest_count
from consumer.windows.viewers.present import enter, quit_crowd
from consumer.windows.viewers.table import remove_viewer


@called
def settle(rules: WindowRules, state: State, row: int, slot: int) -> None:
    """Fill in the figures of a stream's oldest open bucket, and carry its viewers over its end."""
    audience, bucket, presence = state.audience, state.buckets[slot], state.audience.presence[slot]
    carried = int(audience.crowds[row]["carried"])
    presence["unique_viewers"] = carried
    presence["viewer_ms"] = carried * rules.bucket_ms
    presence["timeouts"] = 0
    size, left, chunk = 0, int(presence["kept"]), int(presence["first_chunk"])
    while left > 0:
        chunk = read_signs(state, chunk, min(left, AHEAD))
        for i in range(min(left, AHEAD)):
            size = _settle_viewer(rules, state, row, slot, int(state.ahead[i]["settled"]), size)
        _remove_gone(state, row)
        left -= AHEAD
    size = _time_out_silent(rules, state, row, slot, size)
    drop_signs(audience, slot)
    presence["viewers_at_end"] = audience.crowds[row]["carried"]
    at_start = carried
    for i in range(size):
        at_start += int(audience.changes[i] == 1) - int(audience.changes[i] == 0)
    bucket["peak"] = at_start
    if bucket["joins"] > 0:
        bucket["peak"] = largest_count(
            audience.changes, audience.sorted_changes, audience.digits, size, rules.bucket_ms, carried, at_start
        )


@inlined
def _settle_viewer(rules: WindowRules, state: State, row: int, slot: int, viewer: int, size: int) -> int:
    """One viewer's way through the bucket; returns the number of changes, with theirs."""
    audience, bucket = state.audience, state.buckets[slot]
    viewers, kept = audience.viewers, audience.kept
    tally, presence = audience.tally[0], audience.presence[slot]
    end_ms = bucket["start_ms"] + rules.bucket_ms
    newest = int(viewers[viewer]["kept"])
    if newest == NONE or time_of(kept[kept[newest]["later"]]["sign"]) >= end_ms:
        return size  # was settled by an earlier sign
    seen_ms = viewers[viewer]["seen_ms"]
    carried = seen_ms != NO_TIME_MS
    present, counted = carried, carried
    node = int(kept[newest]["later"])
    while True:
        sign = kept[node]["sign"]
        if time_of(sign) >= end_ms:
            kept[newest]["later"] = node
            break
        if present and time_of(sign) > seen_ms + rules.viewer_timeout_ms:
            size = _lose(rules, state, slot, seen_ms + rules.viewer_timeout_ms, size)
            presence["timeouts"] += 1
            present = False
        if not is_leave(sign):
            if not present:
                size = _gain(rules, state, slot, time_of(sign), size)
                bucket["joins"] += 1
                tally["implicit_joins"] += not is_joined(sign)
                presence["unique_viewers"] += not counted
                present, counted = True, True
            seen_ms = time_of(sign)
        elif present:
            size = _lose(rules, state, slot, time_of(sign), size)
            bucket["leaves"] += 1
            present = False
        else:
            tally["orphan_leaves"] += 1
        if node == newest:
            viewers[viewer]["kept"] = NONE
            break
        node = int(kept[node]["later"])
    if carried:
        quit_crowd(audience, row, viewer)
    if present:
        viewers[viewer]["seen_ms"] = seen_ms
        enter(audience, row, viewer)
    else:
        _mark_absent(state, viewer)
    return size


@inlined
def _time_out_silent(rules: WindowRules, state: State, row: int, slot: int, size: int) -> int:
    """Those without a sign in the bucket whose time is over in it; returns the number of changes, with theirs."""
    audience, presence = state.audience, state.audience.presence[slot]
    viewers = audience.viewers
    silent_since_ms = state.buckets[slot]["start_ms"] + rules.bucket_ms - rules.viewer_timeout_ms
    viewer = int(audience.crowds[row]["quietest"])
    while viewer != NONE:
        seen_ms, fresher = viewers[viewer]["seen_ms"], int(viewers[viewer]["fresher"])
        if bucket_start_ms(seen_ms, rules.bucket_ms) >= silent_since_ms:
            break
        if seen_ms < silent_since_ms:
            size = _lose(rules, state, slot, seen_ms + rules.viewer_timeout_ms, size)
            presence["timeouts"] += 1
            quit_crowd(audience, row, viewer)
            if viewers[viewer]["kept"] == NONE:
                state.streams[row]["viewers"] -= 1
            _mark_absent(state, viewer)
            if audience.tally[0]["gone"] == AHEAD:
                _remove_gone(state, row)
        viewer = fresher
    _remove_gone(state, row)
    audience.tally[0]["timeouts"] += presence["timeouts"]
    return size


@inlined
def _mark_absent(state: State, viewer: int) -> None:
    """A viewer is absent where the open buckets begin; without signs in them, nothing is left to know."""
    viewers, tally = state.audience.viewers, state.audience.tally[0]
    viewers[viewer]["seen_ms"] = NO_TIME_MS
    if viewers[viewer]["kept"] == NONE:
        state.ahead[tally["gone"]]["gone"] = viewer
        tally["gone"] += 1


@inlined
def _remove_gone(state: State, row: int) -> None:
    """Free the rows of those who have gone, a few together: their places in the table are read before."""
    tally = state.audience.tally[0]
    read_slots(state, row, tally["gone"])
    for i in range(tally["gone"]):
        remove_viewer(state, int(state.ahead[i]["gone"]))
    tally["gone"] = 0


@inlined
def _gain(rules: WindowRules, state: State, slot: int, time_ms: int, size: int) -> int:
    since_ms = time_ms - state.buckets[slot]["start_ms"]
    state.audience.changes[size] = 2 * since_ms + 1
    state.audience.presence[slot]["viewer_ms"] += rules.bucket_ms - since_ms
    return size + 1


@inlined
def _lose(rules: WindowRules, state: State, slot: int, time_ms: int, size: int) -> int:
    # Before the start only where the time-out has become shorter since: they go at once.
    since_ms = max(time_ms - state.buckets[slot]["start_ms"], 0)
    state.audience.changes[size] = 2 * since_ms
    state.audience.presence[slot]["viewer_ms"] -= rules.bucket_ms - since_ms
    return size + 1
