"""Encode changed streams as rows: all of them into one buffer, which is then cut into records."""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from consumer.runtime.jit import compiled, inlined
from consumer.windows.layout import GONE, NONE, State, words_of
from consumer.windows.rules import WindowRules
from consumer.windows.storage.checksum import Checksum, record_hash
from consumer.windows.storage.rows import (
    HEADER_BYTES,
    KEY_PREFIX_BYTES,
    ROW_KEY,
    VERSION,
    Bytes,
    Words,
    most_bytes,
    put_stream,
    put_two_bytes,
)
from consumer.windows.streams import free_row

PART_BYTES = 512 * 1024
"""Encodings are split at this size, well below the brokers' default limit of a record."""

MARK = np.dtype([("row", np.int64), ("parts", np.int64), ("digest", np.uint64)])

TOTALS = np.dtype(
    [
        ("bytes", np.int64),
        ("records", np.int64),
        ("dead_bytes", np.int64),
        ("dead_records", np.int64),
        ("streams", np.int64),
        ("count", np.int64),
        ("digest", np.uint64),
    ]
)

Totals = npt.NDArray[np.void]


@dataclass(frozen=True, eq=False)
class ChangedRows:
    """Records that update the stored rows: tombstones first, then rows."""

    records: list[tuple[bytes, bytes | None]]
    all_rows: Checksum
    """Checksum of all rows of the partition after these records."""
    marks: npt.NDArray[np.void]
    """Size and hash of each stream's stored row after these records (fields of `MARK`)."""


class Records(NamedTuple):
    """Records back to back: record i's key begins at `edges[2 * i]`, its value at `edges[2 * i + 1]`."""

    text: Bytes
    edges: npt.NDArray[np.int64]


class Keys(NamedTuple):
    """Keys back to back: key i begins at `edges[i]`."""

    text: Bytes
    edges: npt.NDArray[np.int64]


def changed_rows(rules: WindowRules, state: State, part_bytes: int) -> ChangedRows:
    """Encode the streams that changed since they were stored; does not change the state."""
    totals = np.zeros(1, TOTALS)
    measure_rows(rules, state, part_bytes, totals)
    most = totals[0].copy()
    records = Records(np.empty(most["bytes"], np.uint8), np.zeros(2 * int(most["records"]) + 1, np.int64))
    dead = Keys(np.empty(most["dead_bytes"], np.uint8), np.zeros(int(most["dead_records"]) + 1, np.int64))
    marks = np.empty(most["streams"], MARK)
    totals[0] = 0
    encode_rows(rules, state, words_of(state.buckets), part_bytes, records, dead, marks, totals)
    size = totals[0]
    return ChangedRows(
        _tombstones(dead, int(size["dead_records"])) + _sliced(records, int(size["records"])),
        Checksum(int(size["count"]), int(size["digest"])),
        marks[: int(size["streams"])],
    )


def _tombstones(dead: Keys, size: int) -> list[tuple[bytes, bytes | None]]:
    edges = dead.edges[: size + 1].tolist()
    text = dead.text[: edges[-1]].tobytes()
    return [(text[begin:end], None) for begin, end in pairwise(edges)]


def _sliced(records: Records, size: int) -> list[tuple[bytes, bytes | None]]:
    edges = records.edges[: 2 * size + 1].tolist()
    text = records.text[: edges[-1]].tobytes()
    begins = zip(edges[:-1:2], edges[1::2], edges[2::2], strict=True)
    return [(text[key:value], text[value:end]) for key, value, end in begins]


@compiled
def measure_rows(rules: WindowRules, state: State, part_bytes: int, totals: Totals) -> None:
    """Upper bounds of the buffers that encoding needs."""
    total = totals[0]
    for row in range(state.head[0]["streams_used"]):
        stream = state.streams[row]
        size = int(stream["id_size"])
        if size == NONE or (size >= 0 and not stream["changed"]):
            continue
        key_size = KEY_PREFIX_BYTES + (size if size >= 0 else GONE - size)
        total["dead_records"] += stream["stored_parts"]
        total["dead_bytes"] += stream["stored_parts"] * key_size
        if size >= 0:
            encoded = most_bytes(rules, state, row)
            parts = encoded // part_bytes + 1
            total["streams"] += 1
            total["records"] += parts
            total["bytes"] += encoded + parts * (key_size + HEADER_BYTES)


@compiled
def encode_rows(
    rules: WindowRules,
    state: State,
    words: Words,
    part_bytes: int,
    records: Records,
    dead: Keys,
    marks: npt.NDArray[np.void],
    totals: Totals,
) -> None:
    """Write the rows of changed streams, the keys of removed rows, and the checksum of all remaining rows."""
    total = totals[0]
    total["count"] = state.head[0]["stored_count"]
    total["digest"] = state.head[0]["stored_digest"]
    for row in range(state.head[0]["streams_used"]):
        stream = state.streams[row]
        size = int(stream["id_size"])
        if size == NONE or (size >= 0 and not stream["changed"]):
            continue
        total["count"] -= stream["stored_parts"]
        total["digest"] -= stream["stored_digest"]
        parts = 0
        if size >= 0:
            parts = _encode(rules, state, words, part_bytes, row, records, marks, totals)
        for part in range(parts, stream["stored_parts"]):
            _put_tombstone(state, row, part, dead, totals)


@inlined
def _encode(
    rules: WindowRules,
    state: State,
    words: Words,
    part_bytes: int,
    row: int,
    records: Records,
    marks: npt.NDArray[np.void],
    totals: Totals,
) -> int:
    """Write the rows of one stream; return the number of parts."""
    total, text = totals[0], records.text
    key_size = KEY_PREFIX_BYTES + int(state.streams[row]["id_size"])
    front = key_size + HEADER_BYTES
    at = int(total["bytes"])
    end = put_stream(rules, state, words, row, text, at + front)
    parts = max(1, (end - at - front + part_bytes - 1) // part_bytes)
    _reserve_key_space(text, at + front, end, part_bytes, parts, front)
    end += (parts - 1) * front
    digest = np.uint64(0)
    for part in range(parts):
        value_at = at + key_size
        part_end = min(end, at + front + part_bytes)
        _put_key(state, row, part, text, at)
        text[value_at] = VERSION
        put_two_bytes(text, value_at + 1, parts)
        digest += record_hash(text, at, key_size, value_at, part_end - value_at)
        record = int(total["records"])
        records.edges[2 * record] = at
        records.edges[2 * record + 1] = value_at
        records.edges[2 * record + 2] = part_end
        total["records"] = record + 1
        at = part_end
    total["bytes"] = end
    total["count"] += parts
    total["digest"] += digest
    marks[total["streams"]]["row"] = row
    marks[total["streams"]]["parts"] = parts
    marks[total["streams"]]["digest"] = digest
    total["streams"] += 1
    return parts


@inlined
def _reserve_key_space(text: Bytes, begin: int, end: int, part_bytes: int, parts: int, gap: int) -> None:
    """Move every part but the first to the right, so that a key and a header fit before each."""
    for part in range(parts - 1, 0, -1):
        part_begin = begin + part * part_bytes
        part_end = min(end, part_begin + part_bytes)
        for i in range(part_end - 1, part_begin - 1, -1):
            text[i + part * gap] = text[i]


@inlined
def _put_tombstone(state: State, row: int, part: int, dead: Keys, totals: Totals) -> None:
    total = totals[0]
    total["dead_bytes"] = _put_key(state, row, part, dead.text, int(total["dead_bytes"]))
    total["dead_records"] += 1
    dead.edges[total["dead_records"]] = total["dead_bytes"]


@inlined
def _put_key(state: State, row: int, part: int, out: Bytes, at: int) -> int:
    stream = state.streams[row]
    start, size = int(stream["id_start"]), int(stream["id_size"])
    if size < 0:
        size = GONE - size
    out[at] = ROW_KEY
    put_two_bytes(out, at + 1, part)
    for i in range(size):
        out[at + KEY_PREFIX_BYTES + i] = state.ids[start + i]
    return at + KEY_PREFIX_BYTES + size


@compiled
def mark_stored(state: State, marks: npt.NDArray[np.void]) -> None:
    """Apply the marks and free forgotten streams; no event may have been processed since they were made."""
    head = state.head[0]
    for row in range(head["streams_used"]):
        stream = state.streams[row]
        if stream["id_size"] <= GONE:
            head["stored_count"] -= stream["stored_parts"]
            head["stored_digest"] -= stream["stored_digest"]
            stream["id_size"] = GONE - stream["id_size"]
            free_row(state, row)
    for i in range(len(marks)):
        stream = state.streams[marks[i]["row"]]
        head["stored_count"] += marks[i]["parts"] - stream["stored_parts"]
        head["stored_digest"] += marks[i]["digest"] - stream["stored_digest"]
        stream["stored_parts"] = marks[i]["parts"]
        stream["stored_digest"] = marks[i]["digest"]
        stream["changed"] = False
