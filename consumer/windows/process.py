"""Process every event of a batch, in record order, into the buckets of its stream."""

import numpy as np
import numpy.typing as npt

from consumer.runtime.jit import compiled, inlined
from consumer.windows.ahead import look_ahead
from consumer.windows.buckets import bucket_start_ms, closes_after_ms, drop_outside_window, find_or_open
from consumer.windows.closing import STREAM_IDLE, WATERMARK, Closed, advance_partition, close_until, schedule
from consumer.windows.empty_buckets import most_empty_buckets_of
from consumer.windows.events import BITRATE, BUFFER, JOIN, LEAVE, EventColumns, id_bytes_of
from consumer.windows.layout import AHEAD, LIMB, NONE, State, has_room
from consumer.windows.rules import WindowRules, without_sessions
from consumer.windows.streams import add_stream, find_stream
from consumer.windows.viewers.activity import add_activity
from consumer.windows.viewers.table import add_viewer, find_viewer, is_viewer, tag_of

ACCEPTED = 0
LATE = 1
LATE_IDLE = 2
STREAM_LIMIT = 3
REJECTED = 4
LATE_CLAMPED = 5
STATUSES = ("accepted", "late", "late_idle", "stream_limit", "rejected", "late_clamped")
"""Outcome of an event, by code: late by its stream's own time or by the idle watermark; a stream past the limit; late
at its record's time, at which it is taken, but not at its own."""


@compiled
def process_events(
    rules: WindowRules,
    state: State,
    events: EventColumns,
    begin: int,
    end: int,
    offsets: npt.NDArray[np.int64],
    status: npt.NDArray[np.uint8],
    closed: Closed,
) -> int:
    """Process rows `begin` to `end`: write the status of each, and closed buckets to `closed`.

    Returns the row behind the last processed one: `end`, or less if a jump of time was cut, which must be finished
    before more rows are processed. Returns NONE, with nothing changed, if the arrays lack room for the largest growth
    by these rows.
    """
    return _process_all(rules, state, events, begin, end, offsets, status, closed)


@compiled
def process_events_without_sessions(
    rules: WindowRules,
    state: State,
    events: EventColumns,
    begin: int,
    end: int,
    offsets: npt.NDArray[np.int64],
    status: npt.NDArray[np.uint8],
    closed: Closed,
) -> int:
    """The same with `sessions` false at compile time, which saves a tenth of the time per event."""
    return _process_all(without_sessions(rules), state, events, begin, end, offsets, status, closed)


@inlined
def _process_all(
    rules: WindowRules,
    state: State,
    events: EventColumns,
    begin: int,
    end: int,
    offsets: npt.NDArray[np.int64],
    status: npt.NDArray[np.uint8],
    closed: Closed,
) -> int:
    head, streams = state.head[0], state.streams
    empty_buckets = most_empty_buckets_of(rules, state, events, begin, end)
    if not has_room(state, closed, end - begin, id_bytes_of(events, begin, end), empty_buckets):
        return NONE
    for i in range(begin, end):
        place = (i - begin) & (AHEAD - 1)
        if place == 0:
            look_ahead(rules, state, events, i, min(i + AHEAD, end))
        if events.reject[i] != 0:
            status[i - begin] = REJECTED
            continue
        at, size = events.stream_start[i], events.stream_size[i]
        timestamp_ms, offset = events.timestamp_ms[i], offsets[i]
        hash_ = state.ahead[place]["stream"]
        row = find_stream(state, hash_, events.text, at, size)
        slot = _newest_if_it_holds(rules, state, row, timestamp_ms)
        if slot == NONE:
            status[i - begin] = _judge(rules, state, row, timestamp_ms, events.clamped_ms[i])
            if status[i - begin] == ACCEPTED and row == NONE:
                row = add_stream(state, hash_, events.text, at, size)
        else:
            status[i - begin] = ACCEPTED
        if status[i - begin] == ACCEPTED:
            if timestamp_ms > streams[row]["time_ms"]:
                streams[row]["time_ms"] = timestamp_ms
                close_until(rules, state, row, timestamp_ms, WATERMARK, offset, closed)
            if slot == NONE:
                # Freed here, not at each step of time: views skip buckets outside the window.
                drop_outside_window(rules, state, row, streams[row]["time_ms"])
                slot = find_or_open(state, row, bucket_start_ms(timestamp_ms, rules.bucket_ms))
                schedule(rules, state, row)
            _count(rules, state, row, slot, events, i, place)
            streams[row]["changed"] = True
        # Time must advance in a full partition too, or one whose streams have all ended would stay full.
        if timestamp_ms > head["partition_time_ms"] and status[i - begin] in (ACCEPTED, STREAM_LIMIT):
            advance_partition(rules, state, timestamp_ms, STREAM_IDLE, offset, closed)
            if head["jump_pending"] != 0:
                return i + 1
    return end


@inlined
def _newest_if_it_holds(rules: WindowRules, state: State, row: int, timestamp_ms: int) -> int:
    """The stream's newest bucket if it is open and holds that time: where nearly all events go, without a division."""
    if row == NONE or state.streams[row]["oldest_open"] == NONE:
        return NONE
    slot = state.streams[row]["newest"]
    since_start_ms = timestamp_ms - state.buckets[slot]["start_ms"]
    return slot if 0 <= since_start_ms < rules.bucket_ms else NONE


@inlined
def _judge(rules: WindowRules, state: State, row: int, timestamp_ms: int, clamped_ms: int) -> int:
    """Classify an event that is taken at a timestamp, `clamped_ms` before its own."""
    head = state.head[0]
    late = ACCEPTED
    for its_own_time in range(2):  # one copy of the check in the machine code
        if its_own_time:
            if late == ACCEPTED or clamped_ms == 0:
                break
            timestamp_ms += clamped_ms
        found = _lateness(rules, state, row, timestamp_ms)
        if its_own_time:
            late = LATE_CLAMPED if found == ACCEPTED else late
        elif found != ACCEPTED:
            late = found
            time_ms = state.streams[row]["time_ms"] if late == LATE else head["idle_watermark_ms"]
            head["largest_lateness_ms"] = max(head["largest_lateness_ms"], time_ms - timestamp_ms)
    if late != ACCEPTED:
        return late
    if row == NONE and head["streams_live"] >= rules.max_streams:
        return STREAM_LIMIT
    return ACCEPTED


@inlined
def _lateness(rules: WindowRules, state: State, row: int, timestamp_ms: int) -> int:
    """ACCEPTED, or how an event of that time is late; its timestamp is taken into stream time first."""
    head = state.head[0]
    start_ms = bucket_start_ms(timestamp_ms, rules.bucket_ms)
    open_until_ms = closes_after_ms(rules, start_ms)
    # A stream's own bucket is open at its own time, whatever the grace.
    if row != NONE and (
        open_until_ms < state.streams[row]["time_ms"] or start_ms < state.streams[row]["closed_below_ms"]
    ):
        return LATE
    if open_until_ms < head["idle_watermark_ms"] or start_ms < head["closed_below_ms"]:
        return LATE_IDLE
    return ACCEPTED


@inlined
def _count(rules: WindowRules, state: State, row: int, slot: int, events: EventColumns, i: int, place: int) -> None:
    facts = events.facts[i]
    if rules.sessions:
        _see(rules, state, row, slot, events, i, place)
    elif facts & (JOIN | LEAVE):
        _count_without_sessions(state, row, slot, facts)
    if facts & BITRATE:
        _add_bitrate(state, slot, events.bitrate_bps[i])
    if facts & BUFFER:
        bucket = state.buckets[slot]
        bucket["buffer_events"] += 1
        bucket["stall_ms"] += events.duration_ms[i]


@inlined
def _count_without_sessions(state: State, row: int, slot: int, facts: int) -> None:
    """Count a join or a leave."""
    stream, bucket = state.streams[row], state.buckets[slot]
    if facts & JOIN:
        stream["viewers"] += 1
        bucket["joins"] += 1
        bucket["peak"] = max(bucket["peak"], stream["viewers"])
    else:
        stream["viewers"] = max(stream["viewers"] - 1, 0)
        bucket["leaves"] += 1


@inlined
def _see(rules: WindowRules, state: State, row: int, slot: int, events: EventColumns, i: int, place: int) -> None:
    """Record the viewer's activity within the limits."""
    viewer_arrays, counters = state.viewer_arrays, state.viewer_arrays.counters[0]
    low, high = state.ahead[place]["low"], state.ahead[place]["high"]
    tag = tag_of(state.ahead[place]["stream"], low)
    viewer = int(state.ahead[place]["viewer"])
    if viewer == NONE or not is_viewer(viewer_arrays, viewer, row, low, high):
        viewer = find_viewer(viewer_arrays, row, tag, low, high)
    if viewer == NONE and counters["viewers_live"] < rules.max_viewers:
        viewer = add_viewer(viewer_arrays, row, tag, low, high)
    if viewer == NONE or not add_activity(rules, state, row, slot, viewer, events.timestamp_ms[i], events.facts[i]):
        viewer_arrays.presence[slot]["untracked"] += 1
        counters["untracked"] += 1


@inlined
def _add_bitrate(state: State, slot: int, bitrate_bps: int) -> None:
    bucket = state.buckets[slot]
    if bucket["bitrate_samples"] == 0:
        bucket["bitrate_min_bps"] = bitrate_bps
        bucket["bitrate_max_bps"] = bitrate_bps
    else:
        bucket["bitrate_min_bps"] = min(bucket["bitrate_min_bps"], bitrate_bps)
        bucket["bitrate_max_bps"] = max(bucket["bitrate_max_bps"], bitrate_bps)
    bucket["bitrate_samples"] += 1
    bucket["bitrate_sum_low"] += bitrate_bps
    if bucket["bitrate_sum_low"] >= LIMB:
        bucket["bitrate_sum_low"] -= LIMB
        bucket["bitrate_sum_high"] += 1
