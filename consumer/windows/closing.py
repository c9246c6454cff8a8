"""Closing: buckets close, streams go quiet and are forgotten.

A stream's time moves with its own events and, without events, with the partition's idle watermark. A heap holds for
each stream the lowest idle watermark at which something happens to it, so only those streams are visited. Heap entries
are lower bounds; an entry that does not match its stream's `scheduled_ms` is stale and is skipped.
"""

import numpy as np
import numpy.typing as npt

from consumer.runtime.jit import compiled, inlined
from consumer.windows.buckets import (
    bucket_start_ms,
    closes_after_ms,
    drop_outside_window,
    latest_ms,
    leaves_window_at_ms,
    open_next,
)
from consumer.windows.layout import NONE, State
from consumer.windows.rules import DAY_MS, WindowRules
from consumer.windows.streams import remove_stream
from consumer.windows.viewers.finalize import finalize_bucket

WATERMARK = 0
STREAM_IDLE = 1
END_OF_INPUT = 2
PARTITION_IDLE = 3
SETTINGS = 4
CLOSE_REASONS = ("WATERMARK", "STREAM_IDLE", "END_OF_INPUT", "PARTITION_IDLE", "SETTINGS")
"""Names of the reasons, by code."""

Closed = npt.NDArray[np.void]


@inlined
def close_until(
    rules: WindowRules, state: State, row: int, time_ms: int, reason: int, offset: int, closed: Closed
) -> None:
    """Close the open buckets that have ended at that stream time, oldest first; write them to `closed`."""
    stream, buckets = state.streams[row], state.buckets
    while True:
        bucket = int(stream["oldest_open"])
        if bucket == NONE or closes_after_ms(rules, int(buckets[bucket]["start_ms"])) >= time_ms:
            break
        if rules.sessions:
            finalize_bucket(rules, state, row, bucket)
        _publish(state, row, bucket, reason, offset, closed)
        stream["oldest_open"] = buckets[bucket]["newer"]
        stream["changed"] = True
        if rules.sessions and state.viewer_arrays.present_lists[row]["carried"] > 0:
            open_next(state, row, bucket, int(buckets[bucket]["start_ms"]) + rules.bucket_ms)


@inlined
def _publish(state: State, row: int, bucket: int, reason: int, offset: int, closed: Closed) -> None:
    head = state.head[0]
    size = int(head["closed_size"])
    closed[size]["id_start"] = state.streams[row]["id_start"]
    closed[size]["id_size"] = state.streams[row]["id_size"]
    closed[size]["bucket"] = state.buckets[bucket]
    if len(state.viewer_arrays.presence) != 0:
        closed[size]["presence"] = state.viewer_arrays.presence[bucket]
    closed[size]["reason"] = reason
    closed[size]["offset"] = offset
    head["closed_size"] = size + 1


@inlined
def due_watermark_ms(rules: WindowRules, state: State, row: int) -> int:
    """The lowest idle watermark at which the stream closes a bucket, empties its window or is forgotten."""
    stream, buckets = state.streams[row], state.buckets
    oldest_open = int(stream["oldest_open"])
    if oldest_open != NONE:
        return closes_after_ms(rules, int(buckets[oldest_open]["start_ms"])) + 1
    if stream["newest"] != NONE:
        return leaves_window_at_ms(rules, int(buckets[int(stream["newest"])]["start_ms"]))
    if stream["viewers"] > 0:
        return max(int(stream["time_ms"]), int(stream["time_ms"]) + DAY_MS - rules.stream_idle_ms)
    return int(stream["time_ms"])


@inlined
def schedule(rules: WindowRules, state: State, row: int) -> None:
    """Add a heap entry no later than the stream's next due idle watermark."""
    idle_watermark_ms = due_watermark_ms(rules, state, row)
    if idle_watermark_ms < state.streams[row]["scheduled_ms"]:
        state.streams[row]["scheduled_ms"] = idle_watermark_ms
        _push(state, idle_watermark_ms, row)


@inlined
def advance_partition(
    rules: WindowRules, state: State, timestamp_ms: int, reason: int, offset: int, closed: Closed
) -> None:
    """Advance partition time; when it enters a new bucket, raise the idle watermark and close quiet streams."""
    head = state.head[0]
    before_ms = int(head["partition_time_ms"])
    if timestamp_ms <= before_ms:
        return
    head["partition_time_ms"] = timestamp_ms
    if head["partition_started"] == 0:
        head["partition_started"] = 1
        head["partition_bucket_end_ms"] = bucket_start_ms(timestamp_ms, rules.bucket_ms) + rules.bucket_ms
        return
    if timestamp_ms < head["partition_bucket_end_ms"]:
        return
    head["partition_bucket_end_ms"] = bucket_start_ms(timestamp_ms, rules.bucket_ms) + rules.bucket_ms
    # A longer stream_idle_ms must not lower it.
    head["idle_watermark_ms"] = max(int(head["idle_watermark_ms"]), timestamp_ms - rules.stream_idle_ms)
    head["jump_pending"] = 1
    head["jump_reason"] = reason
    head["jump_offset"] = offset
    close_quiet_streams(rules, state, closed)


@inlined
def close_quiet_streams(rules: WindowRules, state: State, closed: Closed) -> None:
    """Close the streams that are due at the idle watermark, until all are closed or `closed_limit` is reached.

    A cut lies between two streams. What is left is pending: the next call continues, for the same reason and offset.
    """
    head, streams, due = state.head[0], state.streams, state.due
    reason, offset = int(head["jump_reason"]), int(head["jump_offset"])
    idle_watermark_ms = int(head["idle_watermark_ms"])
    while head["due_size"] > 0 and due[0]["idle_watermark_ms"] <= idle_watermark_ms:
        if head["closed_size"] >= head["closed_limit"]:
            return
        scheduled_ms, row = int(due[0]["idle_watermark_ms"]), int(due[0]["stream"])
        _pop(state)
        if streams[row]["scheduled_ms"] != scheduled_ms:
            continue
        time_ms = max(int(streams[row]["time_ms"]), idle_watermark_ms)
        close_until(rules, state, row, time_ms, reason, offset, closed)
        drop_outside_window(rules, state, row, time_ms)
        next_ms = due_watermark_ms(rules, state, row)
        if next_ms <= idle_watermark_ms:
            remove_stream(state, row)
            continue
        streams[row]["scheduled_ms"] = next_ms
        _push(state, next_ms, row)
    head["jump_pending"] = 0


@compiled
def close_everything(rules: WindowRules, state: State, reason: int, closed: Closed) -> None:
    """Close every stream's buckets, as if time had reached the end of the bucket that holds its time."""
    for row in range(state.head[0]["streams_used"]):
        stream = state.streams[row]
        if stream["id_size"] < 0:
            continue
        last_start_ms = bucket_start_ms(latest_ms(state, row), rules.bucket_ms)
        close_until(rules, state, row, closes_after_ms(rules, last_start_ms) + 1, reason, NONE, closed)


@inlined
def _push(state: State, idle_watermark_ms: int, row: int) -> None:
    due = state.due
    at = int(state.head[0]["due_size"])
    state.head[0]["due_size"] = at + 1
    while at > 0:
        parent = (at - 1) // 2
        if due[parent]["idle_watermark_ms"] <= idle_watermark_ms:
            break
        due[at]["idle_watermark_ms"] = due[parent]["idle_watermark_ms"]
        due[at]["stream"] = due[parent]["stream"]
        at = parent
    due[at]["idle_watermark_ms"] = idle_watermark_ms
    due[at]["stream"] = row


@inlined
def _pop(state: State) -> None:
    due = state.due
    size = int(state.head[0]["due_size"]) - 1
    state.head[0]["due_size"] = size
    idle_watermark_ms, row = int(due[size]["idle_watermark_ms"]), int(due[size]["stream"])
    at = 0
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and due[child + 1]["idle_watermark_ms"] < due[child]["idle_watermark_ms"]:
            child += 1
        if idle_watermark_ms <= due[child]["idle_watermark_ms"]:
            break
        due[at]["idle_watermark_ms"] = due[child]["idle_watermark_ms"]
        due[at]["stream"] = due[child]["stream"]
        at = child
    due[at]["idle_watermark_ms"] = idle_watermark_ms
    due[at]["stream"] = row
