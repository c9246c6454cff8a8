"""The stored row of a stream as bytes.

```
key      "r" · part (2 bytes, big-endian) · stream id
value    version · number of parts (2 bytes, big-endian) · this part's slice of the stream's encoding

encoding STREAM  · own time · viewers · closed below
         BUCKETS · how many · how many are open · starts, newest first, in buckets · a column per statistic
         VIEWERS · with sessions counting; see `viewer_rows`
```
The encoding consists of sections: a tag and self-delimiting content. A new counting mode would append one. Numbers are
varints; those that may be negative are zigzagged.
"""

import numpy as np
import numpy.typing as npt

from consumer.runtime.jit import inlined
from consumer.windows.buckets import append_oldest
from consumer.windows.events import MAX_ABS_TIMESTAMP_MS
from consumer.windows.layout import BUCKET, FIRST_STAT, NO_TIME_MS, NONE, State
from consumer.windows.rules import WindowRules
from consumer.windows.storage.varints import MOST_BYTES, get_varint, put_varint, unzigzag, zigzag
from consumer.windows.storage.viewer_rows import (
    BAD_VIEWERS,
    TRUNCATED,
    UNKNOWN_SECTION,
    get_counts,
    most_viewer_bytes,
    put_viewers,
    read_viewers,
)

ROW_KEY = ord("r")
KEY_PREFIX_BYTES = 3
VERSION = 1
HEADER_BYTES = 3

STREAM_SECTION = 1
BUCKETS_SECTION = 2

WORDS = BUCKET.itemsize // 8
MIN_BUCKET_BYTES = 1 + WORDS - FIRST_STAT
"""The least bytes of a bucket: one each for start and statistics."""
MAX_BUCKET_BYTES = MOST_BYTES * MIN_BUCKET_BYTES
MAX_OTHER_BYTES = 2 + 5 * MOST_BYTES

TRAILING = -2
UNKNOWN_VERSION = -3
BAD_COUNT = -5
BAD_TIME = -6
BAD_ORDER = -7
BAD_KEY = -8
BAD_PART = -9
OVERDUE = -11
PROBLEMS = {
    TRUNCATED: "ends too early",
    TRAILING: "has bytes behind its end",
    UNKNOWN_VERSION: "is of a version that this program doesn't know",
    UNKNOWN_SECTION: "has a section that this program doesn't know, or lacks one",
    BAD_COUNT: "has an impossible number of buckets",
    BAD_TIME: "has a time that no event can have",
    BAD_ORDER: "has buckets that are not in order of time, or are ahead of their stream",
    BAD_KEY: "has a key that is not one of a row",
    BAD_PART: "has a part that is not one of its parts",
    OVERDUE: "has an open bucket that would have closed by its time",
    BAD_VIEWERS: "has viewers or activities that are out of range",
}
"""Problems of a row, by negative code; positions are never negative, so one number can be either."""

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.int64]


@inlined
def put_two_bytes(out: Bytes, at: int, value: int) -> None:
    """Big-endian."""
    out[at] = value >> 8
    out[at + 1] = value & 255


@inlined
def get_two_bytes(text: Bytes, at: int) -> int:
    """Big-endian."""
    return np.int64(text[at]) << 8 | np.int64(text[at + 1])  # type: ignore[return-value]  # int() would stay unsigned


@inlined
def most_bytes(rules: WindowRules, state: State, row: int) -> int:
    """Upper bound of the bytes of a stream's encoding."""
    size, slot = MAX_OTHER_BYTES, int(state.streams[row]["newest"])
    while slot != NONE:
        size += MAX_BUCKET_BYTES
        slot = int(state.buckets[slot]["older"])
    return size + most_viewer_bytes(state, row) if rules.sessions else size


@inlined
def put_stream(rules: WindowRules, state: State, words: Words, row: int, out: Bytes, at: int) -> int:
    """Write a stream's encoding; `words` are those of the buckets. Returns the position behind it."""
    stream = state.streams[row]
    time_ms, closed_below_ms = int(stream["time_ms"]), int(stream["closed_below_ms"])
    out[at] = STREAM_SECTION
    at = put_varint(out, at + 1, zigzag(time_ms))
    at = put_varint(out, at, int(stream["viewers"]))
    at = put_varint(out, at, 0 if closed_below_ms == NO_TIME_MS else 1 + zigzag(time_ms - closed_below_ms))
    out[at] = BUCKETS_SECTION
    at = _put_buckets(rules, state, words, row, out, at + 1)
    return put_viewers(state, row, out, at) if rules.sessions else at


@inlined
def _put_buckets(rules: WindowRules, state: State, words: Words, row: int, out: Bytes, at: int) -> int:
    buckets, newest = state.buckets, int(state.streams[row]["newest"])
    held, still_open, slot = 0, 0, newest
    while slot != NONE:
        held += 1
        if slot == state.streams[row]["oldest_open"]:
            still_open = held
        slot = int(buckets[slot]["older"])
    at = put_varint(out, at, held)
    at = put_varint(out, at, still_open)
    newer_number, slot = 0, newest
    while slot != NONE:
        number = int(buckets[slot]["start_ms"]) // rules.bucket_ms
        at = put_varint(out, at, zigzag(number) if slot == newest else newer_number - number)
        newer_number, slot = number, int(buckets[slot]["older"])
    for word in range(FIRST_STAT, WORDS):
        slot = newest
        while slot != NONE:
            at = put_varint(out, at, words[slot, word])
            slot = int(buckets[slot]["older"])
    return at


@inlined
def read_stream(rules: WindowRules, state: State, words: Words, row: int, text: Bytes, at: int, end: int) -> int:
    """Fill a new stream from the encoding `text[at:end]`, its buckets have room; returns `end`, or a problem."""
    if at >= end or text[at] != STREAM_SECTION:
        return UNKNOWN_SECTION
    at = _read_times(state, row, text, at + 1, end)
    if at < 0:
        return at
    if at >= end or text[at] != BUCKETS_SECTION:
        return UNKNOWN_SECTION
    at = _read_buckets(rules, state, words, row, text, at + 1, end)
    if at >= 0 and rules.sessions:
        at = read_viewers(rules, state, row, text, at, end)
    return at if at < 0 or at == end else TRAILING


@inlined
def _read_times(state: State, row: int, text: Bytes, at: int, end: int) -> int:
    stream = state.streams[row]
    zigzagged_ms, at = get_varint(text, at, end)
    viewers, at = get_varint(text, at, end)
    below, at = get_varint(text, at, end)
    if at == NONE:
        return TRUNCATED
    time_ms, behind_ms = unzigzag(zigzagged_ms), unzigzag(max(below - 1, 0))
    if abs(time_ms) > MAX_ABS_TIMESTAMP_MS or abs(behind_ms) > 4 * MAX_ABS_TIMESTAMP_MS:
        return BAD_TIME
    stream["time_ms"] = time_ms
    stream["viewers"] = viewers
    stream["closed_below_ms"] = NO_TIME_MS if below == 0 else time_ms - behind_ms
    return at


@inlined
def _read_buckets(rules: WindowRules, state: State, words: Words, row: int, text: Bytes, at: int, end: int) -> int:
    stream = state.streams[row]
    held, at = get_varint(text, at, end)
    still_open, at = get_varint(text, at, end)
    if at == NONE:
        return TRUNCATED
    if still_open > held or held > (end - at) // MIN_BUCKET_BYTES:
        return BAD_COUNT
    at = _read_starts(rules, state, row, held, still_open, text, at, end)
    if at < 0:
        return at
    for word in range(FIRST_STAT, WORDS):
        slot = int(stream["newest"])
        while slot != NONE:
            words[slot, word], at = get_varint(text, at, end)
            slot = int(state.buckets[slot]["older"])
    return at


@inlined
def _read_starts(
    rules: WindowRules, state: State, row: int, held: int, still_open: int, text: Bytes, at: int, end: int
) -> int:
    stream = state.streams[row]
    most = MAX_ABS_TIMESTAMP_MS // rules.bucket_ms + 1
    number = 0
    for i in range(held):
        value, at = get_varint(text, at, end)
        if at == NONE:
            return TRUNCATED
        if i > 0 and value == 0:
            return BAD_ORDER
        if value > 4 * most:  # checked before it is used in a subtraction
            return BAD_TIME
        number = unzigzag(value) if i == 0 else number - value
        if abs(number) > most:
            return BAD_TIME
        # Viewers may be carried into a bucket that only the idle watermark has reached.
        if number * rules.bucket_ms > stream["time_ms"] and not rules.sessions:
            return BAD_ORDER
        slot = append_oldest(state, row, number * rules.bucket_ms)
        if i + 1 == still_open:
            stream["oldest_open"] = slot
    return at


@inlined
def count_viewers(text: Bytes, at: int, end: int) -> tuple[int, int, int]:
    """The numbers of viewers, activities and open buckets in an encoding; 0 where it cannot be decoded."""
    at += 1  # the section's tag
    for _ in range(3):
        _, at = get_varint(text, at, end)
    at = NONE if at == NONE else at + 1
    held, at = get_varint(text, at, end)
    still_open, at = get_varint(text, at, end)
    if at == NONE or still_open > held or held > (end - at) // MIN_BUCKET_BYTES:
        return 0, 0, 0
    for _ in range(held * MIN_BUCKET_BYTES):
        _, at = get_varint(text, at, end)
    if at == NONE:
        return 0, 0, 0
    viewers, activities, _ = get_counts(text, at, end)
    return viewers, activities, still_open
