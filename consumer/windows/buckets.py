"""The buckets of a stream: a list ordered by start, newest first. The oldest ones may be closed."""

from consumer.runtime.jit import inlined
from consumer.windows.layout import NONE, State
from consumer.windows.rules import WindowRules


@inlined
def bucket_start_ms(timestamp_ms: int, bucket_ms: int) -> int:
    """The largest multiple of `bucket_ms` not above the time; the time may be negative."""
    return timestamp_ms // bucket_ms * bucket_ms


@inlined
def latest_ms(state: State, row: int) -> int:
    """The latest time known of a stream: its own, or the idle watermark."""
    return max(int(state.streams[row]["time_ms"]), int(state.head[0]["idle_watermark_ms"]))


@inlined
def closes_after_ms(rules: WindowRules, start_ms: int) -> int:
    """The last instant of stream time at which a bucket is still open."""
    return start_ms + rules.bucket_ms + rules.grace_ms


@inlined
def leaves_window_at_ms(rules: WindowRules, start_ms: int) -> int:
    """The first instant of stream time at which a bucket is no longer part of the window."""
    return start_ms + rules.bucket_ms + rules.window_duration_ms


@inlined
def first_open_ms(rules: WindowRules, time_ms: int) -> int:
    """The start of the first bucket that has not ended at that time."""
    return -(-(time_ms - rules.bucket_ms - rules.grace_ms) // rules.bucket_ms) * rules.bucket_ms


@inlined
def find_or_open(state: State, row: int, start_ms: int) -> int:
    """The stream's open bucket with that start, created if missing; it must not have closed already."""
    stream, buckets = state.streams[row], state.buckets
    newer, older = NONE, int(stream["newest"])
    while older != NONE and buckets[older]["start_ms"] > start_ms:
        newer, older = older, int(buckets[older]["older"])
    if older != NONE and buckets[older]["start_ms"] == start_ms:
        return older
    bucket = _new_bucket(state, start_ms)
    _link(state, row, newer, bucket, older)
    if stream["oldest_open"] == NONE or stream["oldest_open"] == newer:
        stream["oldest_open"] = bucket
    return bucket


@inlined
def append_oldest(state: State, row: int, start_ms: int) -> int:
    """Append a bucket older than the stream's oldest; used when a stream is loaded from its row."""
    bucket = _new_bucket(state, start_ms)
    _link(state, row, int(state.streams[row]["oldest"]), bucket, NONE)
    return bucket


@inlined
def open_next(state: State, row: int, bucket: int, start_ms: int) -> None:
    """Open the bucket that follows the stream's newest closed one, because viewers were carried into it."""
    newer = int(state.buckets[bucket]["newer"])
    if newer != NONE and state.buckets[newer]["start_ms"] == start_ms:
        return
    opened = _new_bucket(state, start_ms)
    _link(state, row, newer, opened, bucket)
    state.streams[row]["oldest_open"] = opened


@inlined
def _new_bucket(state: State, start_ms: int) -> int:
    head = state.head[0]
    slot = int(head["buckets_free"])
    if slot == NONE:
        slot = int(head["buckets_used"])
        head["buckets_used"] += 1
    else:
        head["buckets_free"] = state.buckets[slot]["older"]
    head["buckets_live"] += 1
    bucket = state.buckets[slot]
    bucket["start_ms"] = start_ms
    bucket["peak"] = 0
    bucket["joins"] = 0
    bucket["leaves"] = 0
    bucket["bitrate_samples"] = 0
    bucket["bitrate_sum_low"] = 0
    bucket["bitrate_sum_high"] = 0
    bucket["bitrate_min_bps"] = 0
    bucket["bitrate_max_bps"] = 0
    bucket["buffer_events"] = 0
    bucket["stall_ms"] = 0
    if len(state.viewer_arrays.presence) != 0:
        presence = state.viewer_arrays.presence[slot]
        presence["first_chunk"] = NONE
        presence["last_chunk"] = NONE
        presence["activities"] = 0
        presence["untracked"] = 0
        presence["timeouts"] = 0
        presence["unique_viewers"] = 0
        presence["viewer_ms"] = 0
        presence["viewers_at_end"] = 0
    return slot


@inlined
def _link(state: State, row: int, newer: int, bucket: int, older: int) -> None:
    stream, buckets = state.streams[row], state.buckets
    buckets[bucket]["newer"] = newer
    buckets[bucket]["older"] = older
    if newer == NONE:
        stream["newest"] = bucket
    else:
        buckets[newer]["older"] = bucket
    if older == NONE:
        stream["oldest"] = bucket
    else:
        buckets[older]["newer"] = bucket


@inlined
def drop_outside_window(rules: WindowRules, state: State, row: int, time_ms: int) -> None:
    """Free the buckets that are closed and no longer in the window."""
    stream, buckets = state.streams[row], state.buckets
    while True:
        bucket = int(stream["oldest"])
        if bucket == NONE or bucket == stream["oldest_open"]:
            return
        if leaves_window_at_ms(rules, int(buckets[bucket]["start_ms"])) > time_ms:
            return
        newer = int(buckets[bucket]["newer"])
        stream["oldest"] = newer
        if newer == NONE:
            stream["newest"] = NONE
        else:
            buckets[newer]["older"] = NONE
        _free_bucket(state, bucket)
        stream["changed"] = True


@inlined
def drop_all(state: State, row: int) -> None:
    """Free all buckets of a stream, open or closed."""
    stream = state.streams[row]
    bucket = int(stream["newest"])
    while bucket != NONE:
        older = int(state.buckets[bucket]["older"])
        _free_bucket(state, bucket)
        bucket = older
    stream["newest"] = NONE
    stream["oldest_open"] = NONE
    stream["oldest"] = NONE


@inlined
def _free_bucket(state: State, bucket: int) -> None:
    head = state.head[0]
    state.buckets[bucket]["older"] = head["buckets_free"]
    head["buckets_free"] = bucket
    head["buckets_live"] -= 1
