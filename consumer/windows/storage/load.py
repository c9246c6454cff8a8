"""Load rows into state. Every bound is checked: damaged rows are an error, or change the checksum.

A topic that is not compacted yet holds several rows of a stream; the last record of a key is valid. Compiled code
loads rows of one part at once. Parts of larger rows wait until all records are read, because only then it is known
which of them belong together.
"""

import numpy as np
import numpy.typing as npt

from consumer.runtime.jit import compiled, inlined
from consumer.windows.buckets import closes_after_ms, drop_all
from consumer.windows.closing import schedule
from consumer.windows.hashing import siphash13
from consumer.windows.layout import NEVER_MS, NONE, State, words_of
from consumer.windows.rules import WindowRules
from consumer.windows.storage.batch import RowBatch, RowError, row_error
from consumer.windows.storage.checksum import record_hash
from consumer.windows.storage.rows import (
    BAD_KEY,
    BAD_PART,
    HEADER_BYTES,
    KEY_PREFIX_BYTES,
    OVERDUE,
    PROBLEMS,
    ROW_KEY,
    UNKNOWN_VERSION,
    VERSION,
    Bytes,
    Words,
    get_two_bytes,
    read_stream,
)
from consumer.windows.storage.viewer_rows import TRUNCATED, drop_viewers
from consumer.windows.streams import add_stream, find_stream, remove_stream

_TAKEN = 0
_ASIDE = 1


def load_batch(rules: WindowRules, state: State, batch: RowBatch) -> list[int]:
    """Load the records into the state, which has room for all of them; return the deferred ones.

    Raises:
        RowError: a record cannot be read.
    """
    deferred, problem = np.empty(len(batch.key_at), np.int64), np.zeros(2, np.int64)
    size = load_rows(rules, state, words_of(state.buckets), batch, deferred, problem)
    code, at = problem.tolist()
    if code != 0:
        begin = int(batch.key_at[at])
        raise row_error(batch.text[begin : begin + int(batch.key_size[at])].tobytes(), PROBLEMS[code])
    return [int(i) for i in deferred[:size]]


def unfinished_error(state: State, row: int) -> RowError:
    """An error that names the stream, which `finish_rows` could not finish."""
    start, size = (int(state.streams[row][name]) for name in ("id_start", "id_size"))
    return row_error(bytes(KEY_PREFIX_BYTES) + state.ids[start : start + size].tobytes(), PROBLEMS[OVERDUE])


@compiled
def load_rows(
    rules: WindowRules,
    state: State,
    words: Words,
    batch: RowBatch,
    deferred: npt.NDArray[np.int64],
    problem: npt.NDArray[np.int64],
) -> int:
    """Load the records up to the first undecodable one, whose code and number go to `problem`.

    Returns the number of deferred records (tombstones and parts of larger rows); `deferred` holds their indexes.
    """
    size = 0
    for i in range(len(batch.key_at)):
        outcome = _load_record(rules, state, words, batch, i)
        if outcome == _ASIDE:
            deferred[size] = i
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
    end = read_stream(rules, state, words, row, text, value_at + HEADER_BYTES, value_at + value_size)
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
    """Remove what an earlier record of the stream loaded."""
    row = find_stream(state, hash_, text, at, size)
    if row == NONE:
        return
    if rules.sessions:
        drop_viewers(state, row)
    drop_all(state, row)
    state.streams[row]["stored_parts"] = 0  # no tombstone needs to be written for it
    remove_stream(state, row)


@compiled
def finish_rows(rules: WindowRules, state: State) -> int:
    """Build the heap and the checksum after all streams are loaded.

    Returns the row of a stream with an open bucket that should have closed by its time, NONE if there is none: closing
    would not terminate on such a stream.
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
