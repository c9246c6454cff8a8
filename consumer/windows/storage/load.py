"""Load rows into state. Every bound is checked: damaged rows are an error, or change the checksum.

A topic that is not compacted yet holds several rows of a stream; the last record of a key is valid. Compiled code
loads rows of one part at once. Parts of larger rows wait until all records are read, because only then it is known
which of them belong together.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from consumer.runtime.jit import compiled, inlined
from consumer.windows.buckets import closes_after_ms, drop_all
from consumer.windows.closing import schedule
from consumer.windows.hashing import siphash13
from consumer.windows.layout import NEVER_MS, NONE, State, words_of
from consumer.windows.rules import WindowRules
from consumer.windows.storage.checksum import Checksum, record_hash
from consumer.windows.storage.rows import (
    BAD_KEY,
    BAD_PART,
    HEADER_BYTES,
    KEY_PREFIX_BYTES,
    MIN_BUCKET_BYTES,
    OVERDUE,
    PROBLEMS,
    ROW_KEY,
    UNKNOWN_VERSION,
    VERSION,
    Bytes,
    Words,
    count_viewers,
    get_two_bytes,
    take_stream,
)
from consumer.windows.storage.viewer_rows import TRUNCATED, drop_viewers
from consumer.windows.streams import add_stream, find_stream, remove_stream

Record = tuple[bytes, bytes | None]

_TAKEN = 0
_ASIDE = 1


class RowError(ValueError):
    """A row that cannot be read: the windows that were to be loaded from it are of no use."""


class RowBatch(NamedTuple):
    """Records as columns: record i's key is `text[key_at[i] : key_at[i] + key_size[i]]`, its value likewise.

    The size of a tombstone's value is NONE.
    """

    text: Bytes
    key_at: npt.NDArray[np.int64]
    key_size: npt.NDArray[np.int64]
    value_at: npt.NDArray[np.int64]
    value_size: npt.NDArray[np.int64]

    @property
    def most_buckets(self) -> int:
        """No more can come of it."""
        return len(self.text) // MIN_BUCKET_BYTES


def row_batch(records: Sequence[Record]) -> RowBatch:
    """Columns of the records."""
    key_size = np.array([len(key) for key, _ in records], np.int64)
    value_size = np.array([NONE if value is None else len(value) for _, value in records], np.int64)
    text = bytearray().join([key for key, _ in records] + [value for _, value in records if value is not None])
    in_text = np.maximum(value_size, 0)
    return RowBatch(
        text=np.frombuffer(text or bytearray(1), np.uint8),
        key_at=np.cumsum(key_size) - key_size,
        key_size=key_size,
        value_at=np.cumsum(in_text) - in_text + key_size.sum(),
        value_size=value_size,
    )


def load_batch(rules: WindowRules, state: State, batch: RowBatch) -> list[int]:
    """Take the records into the state, which has room for all of them; returns those that are put aside.

    Raises:
        RowError: a record cannot be read.
    """
    aside, problem = np.empty(len(batch.key_at), np.int64), np.zeros(2, np.int64)
    size = load_rows(rules, state, words_of(state.buckets), batch, aside, problem)
    code, at = problem.tolist()
    if code != 0:
        begin = int(batch.key_at[at])
        raise row_error(batch.text[begin : begin + int(batch.key_size[at])].tobytes(), PROBLEMS[code])
    return [int(i) for i in aside[:size]]


def unfinished_error(state: State, row: int) -> RowError:
    """An error that names the stream, which `finish_rows` could not finish."""
    start, size = (int(state.streams[row][name]) for name in ("id_start", "id_size"))
    return row_error(bytes(KEY_PREFIX_BYTES) + state.ids[start : start + size].tobytes(), PROBLEMS[OVERDUE])


def row_error(key: bytes, problem: str) -> RowError:
    """An error that names the stream."""
    stream_id = key[KEY_PREFIX_BYTES:].decode(errors="replace")
    return RowError(f"the stored row of stream {stream_id!r} {problem}")


@compiled
def load_rows(
    rules: WindowRules,
    state: State,
    words: Words,
    batch: RowBatch,
    aside: npt.NDArray[np.int64],
    problem: npt.NDArray[np.int64],
) -> int:
    """Take the records, up to one that cannot be read: its code and number go to `problem`.

    Returns how many were put aside, their numbers in `aside`: tombstones, and parts of several.
    """
    size = 0
    for i in range(len(batch.key_at)):
        outcome = _load_record(rules, state, words, batch, i)
        if outcome == _ASIDE:
            aside[size] = i
            size += 1
        elif outcome != _TAKEN:
            problem[0] = outcome
            problem[1] = i
            break
    return size


@inlined
def _load_record(rules: WindowRules, state: State, words: Words, batch: RowBatch, i: int) -> int:
    text, key_at, key_size = batch.text, int(batch.key_at[i]), int(batch.key_size[i])
    if key_size < KEY_PREFIX_BYTES or text[key_at] != ROW_KEY:
        return BAD_KEY
    id_at, id_size = key_at + KEY_PREFIX_BYTES, key_size - KEY_PREFIX_BYTES
    part = get_two_bytes(text, key_at + 1)
    hash_ = siphash13(state.head[0]["hash_key0"], state.head[0]["hash_key1"], text, id_at, id_size)
    if part == 0:
        _drop_earlier(rules, state, hash_, text, id_at, id_size)
    value_at, value_size = int(batch.value_at[i]), int(batch.value_size[i])
    outcome = _ASIDE if value_size == NONE else _judge_header(text, value_at, value_size, part)
    if outcome != _TAKEN:
        return outcome
    row = add_stream(state, hash_, text, id_at, id_size)
    state.streams[row]["stored_parts"] = 1
    state.streams[row]["stored_digest"] = record_hash(text, key_at, key_size, value_at, value_size)
    state.streams[row]["changed"] = False
    end = take_stream(rules, state, words, row, text, value_at + HEADER_BYTES, value_at + value_size)
    return _TAKEN if end >= 0 else end


@inlined
def _judge_header(text: Bytes, at: int, size: int, part: int) -> int:
    if size < HEADER_BYTES:
        return TRUNCATED
    if text[at] != VERSION:
        return UNKNOWN_VERSION
    parts = get_two_bytes(text, at + 1)
    if part >= parts:
        return BAD_PART
    return _TAKEN if parts == 1 else _ASIDE


@inlined
def _drop_earlier(rules: WindowRules, state: State, hash_: np.uint64, text: Bytes, at: int, size: int) -> None:
    """Drop what an earlier record said of a stream."""
    row = find_stream(state, hash_, text, at, size)
    if row == NONE:
        return
    if rules.sessions:
        drop_viewers(state, row)
    drop_all(state, row)
    state.streams[row]["stored_parts"] = 0  # nobody has to write a tombstone for it
    remove_stream(state, row)


class Needs(NamedTuple):
    """Of what so many there are at most."""

    viewers: int
    activities: int
    open_buckets: int


def needs_of(batch: RowBatch) -> Needs:
    """What the viewers in records take."""
    needs = np.zeros(len(Needs._fields), np.int64)
    count_needs(batch, needs)
    return Needs(*needs.tolist())


@compiled
def count_needs(batch: RowBatch, needs: npt.NDArray[np.int64]) -> None:
    """Add up, in the order of `Needs`, what records of one part have."""
    for i in range(len(batch.key_at)):
        at, size = int(batch.value_at[i]), int(batch.value_size[i])
        if size >= HEADER_BYTES and get_two_bytes(batch.text, at + 1) == 1:
            viewers, activities, still_open = count_viewers(batch.text, at + HEADER_BYTES, at + size)
            needs[0] += viewers
            needs[1] += activities
            needs[2] += still_open


@compiled
def finish_rows(rules: WindowRules, state: State) -> int:
    """Make what is derived of streams that are all loaded: the heap, and the checksum of their rows.

    Returns the row of a stream with an open bucket that would have closed, NONE where there is none: what time does
    from bucket to bucket would know no end.
    """
    head = state.head[0]
    head["due_size"] = 0
    head["stored_count"] = 0
    head["stored_digest"] = 0
    for row in range(head["streams_used"]):
        stream = state.streams[row]
        if stream["id_size"] < 0:
            continue
        stream["scheduled_ms"] = NEVER_MS
        schedule(rules, state, row)
        head["stored_count"] += stream["stored_parts"]
        head["stored_digest"] += stream["stored_digest"]
        oldest_open = int(stream["oldest_open"])
        if (
            oldest_open != NONE
            and closes_after_ms(rules, int(state.buckets[oldest_open]["start_ms"])) < stream["time_ms"]
        ):
            return row
    return NONE


@compiled
def add_hashes(batch: RowBatch, total: npt.NDArray[np.uint64]) -> None:
    """Add the hash of every record to `total[0]`; none may be a tombstone."""
    for i in range(len(batch.key_at)):
        total[0] += record_hash(
            batch.text,
            int(batch.key_at[i]),
            int(batch.key_size[i]),
            int(batch.value_at[i]),
            int(batch.value_size[i]),
        )


class LargeRow(NamedTuple):
    """A stream of several parts."""

    parts: list[tuple[bytes, bytes]]

    @property
    def stream_id(self) -> bytes:
        """As its keys have it."""
        return self.parts[0][0][KEY_PREFIX_BYTES:]

    @property
    def as_one(self) -> Record:
        """The row as if it were of one part."""
        slices = b"".join(value[HEADER_BYTES:] for _, value in self.parts)
        return self.parts[0][0], bytes([VERSION, 0, 1]) + slices

    def checksum(self) -> Checksum:
        """Of the records as they are stored."""
        total = np.zeros(1, np.uint64)
        add_hashes(row_batch(self.parts), total)
        return Checksum(len(self.parts), int(total[0]))


class LargeRows:
    """Parts of streams with several, put aside until all are there."""

    def __init__(self) -> None:
        self._parts: dict[bytes, dict[int, tuple[bytes, bytes]]] = {}

    def take(self, key: bytes, value: bytes | None) -> None:
        """A part of several, or a tombstone; the newest of a key stands."""
        stream_id, part = key[KEY_PREFIX_BYTES:], int.from_bytes(key[1:KEY_PREFIX_BYTES])
        if value is not None:
            self._parts.setdefault(stream_id, {})[part] = key, value
        elif stream_id in self._parts:
            self._parts[stream_id].pop(part, None)
            if not self._parts[stream_id]:
                del self._parts[stream_id]

    def whole(self, small: set[bytes]) -> Iterator[LargeRow]:
        """The streams put together; of those in `small` a row of one part came after the first part.

        Raises:
            RowError: a part is missing, or one is left over.
        """
        for stream_id, parts in self._parts.items():
            if stream_id in small:
                parts.pop(0, None)
                if parts:
                    raise row_error(next(iter(parts.values()))[0], PROBLEMS[BAD_PART])
                continue
            _, (key, value) = min(parts.items())
            header = value[:HEADER_BYTES]
            if sorted(parts) != list(range(int.from_bytes(header[1:]))):
                raise row_error(key, "lacks a part, or has one too many")
            if any(other[:HEADER_BYTES] != header for _, other in parts.values()):
                raise row_error(key, "has parts that don't belong together")
            yield LargeRow([parts[part] for part in sorted(parts)])

    def ids(self) -> list[bytes]:
        """The streams of which parts were put aside."""
        return list(self._parts)
