"""Map stream ids to rows: open addressing with linear probing over a keyed hash; deletion shifts entries back."""

import numpy as np
import numpy.typing as npt

from consumer.runtime.jit import compiled, inlined
from consumer.windows.hashing import eight_bytes, siphash13
from consumer.windows.layout import GONE, NEVER_MS, NO_TIME_MS, NONE, State


@inlined
def _home(hash_: np.uint64, slots: int) -> int:
    return np.int64(hash_ & np.uint64(slots - 1))  # type: ignore[return-value]  # int() would stay unsigned when compiled


@inlined
def _same_id(state: State, row: int, text: npt.NDArray[np.uint8], at: int, size: int) -> bool:
    if state.streams[row]["id_size"] != size:
        return False
    start = state.streams[row]["id_start"]
    if size < 8:
        for i in range(size):  # noqa: SIM110  # compiled code has no generators
            if state.ids[start + i] != text[at + i]:
                return False
        return True
    for i in range(0, size - 8, 8):
        if eight_bytes(state.ids, np.uint64(start + i)) != eight_bytes(text, np.uint64(at + i)):
            return False
    return bool(eight_bytes(state.ids, np.uint64(start + size - 8)) == eight_bytes(text, np.uint64(at + size - 8)))


@inlined
def find_stream(state: State, hash_: np.uint64, text: npt.NDArray[np.uint8], at: int, size: int) -> int:
    """The row of the stream whose id is `text[at : at + size]`, or NONE."""
    mask = len(state.table) - 1
    slot = _home(hash_, len(state.table))
    while True:
        row = int(state.table[slot])
        if row == NONE:
            return NONE
        if state.streams[row]["hash"] == hash_ and _same_id(state, row, text, at, size):
            return row
        slot = (slot + 1) & mask


@compiled
def row_of(state: State, text: npt.NDArray[np.uint8]) -> int:
    """The row of the stream whose id is the whole text, or NONE."""
    head = state.head[0]
    return find_stream(state, siphash13(head["hash_key0"], head["hash_key1"], text, 0, len(text)), text, 0, len(text))


@inlined
def put_in_table(table: npt.NDArray[np.int32], hash_: np.uint64, row: int) -> None:
    """Insert a row that is not in the table; the table must have an empty slot."""
    mask = len(table) - 1
    slot = _home(hash_, len(table))
    while table[slot] != NONE:
        slot = (slot + 1) & mask
    table[slot] = row


@inlined
def add_stream(state: State, hash_: np.uint64, text: npt.NDArray[np.uint8], at: int, size: int) -> int:
    """Add a row for a new id; room was reserved before."""
    head = state.head[0]
    row = int(head["streams_free"])
    if row == NONE:
        row = int(head["streams_used"])
        head["streams_used"] += 1
    else:
        head["streams_free"] = state.streams[row]["newest"]
    head["streams_live"] += 1
    start = int(head["ids_used"])
    for i in range(size):
        state.ids[start + i] = text[at + i]
    head["ids_used"] += size
    stream = state.streams[row]
    stream["hash"] = hash_
    stream["time_ms"] = NO_TIME_MS
    stream["viewers"] = 0
    stream["scheduled_ms"] = NEVER_MS
    stream["id_start"] = start
    stream["id_size"] = size
    stream["newest"] = NONE
    stream["oldest_open"] = NONE
    stream["oldest"] = NONE
    stream["closed_below_ms"] = NO_TIME_MS
    stream["stored_digest"] = 0
    stream["stored_parts"] = 0
    stream["changed"] = True
    put_in_table(state.table, hash_, row)
    return row


@inlined
def remove_stream(state: State, row: int) -> None:
    """Remove a stream without buckets; if it is stored, its row and id stay until its tombstones are stored."""
    _remove_from_table(state, row)
    stream = state.streams[row]
    state.head[0]["streams_live"] -= 1
    stream["scheduled_ms"] = NEVER_MS
    if stream["stored_parts"] == 0:
        free_row(state, row)
    else:
        stream["id_size"] = GONE - stream["id_size"]


@inlined
def free_row(state: State, row: int) -> None:
    """Give back the row of a stream that is not in the table; its id becomes garbage."""
    head, stream = state.head[0], state.streams[row]
    head["ids_garbage"] += stream["id_size"]
    stream["id_size"] = NONE  # marks a free row
    stream["newest"] = head["streams_free"]
    head["streams_free"] = row


@inlined
def _remove_from_table(state: State, row: int) -> None:
    table, streams = state.table, state.streams
    mask = len(table) - 1
    hole = _home(streams[row]["hash"], len(table))
    while table[hole] != row:
        hole = (hole + 1) & mask
    slot = hole
    while True:
        slot = (slot + 1) & mask
        other = int(table[slot])
        if other == NONE:
            break
        # An entry may move into the hole only if the hole lies between its home slot and its current slot.
        home = _home(streams[other]["hash"], len(table))
        if ((slot - home) & mask) >= ((slot - hole) & mask):
            table[hole] = other
            hole = slot
    table[hole] = NONE


@compiled
def hash_streams(state: State) -> None:
    """Recompute the hash of every id under the current key."""
    head = state.head[0]
    for row in range(head["streams_used"]):
        stream = state.streams[row]
        if stream["id_size"] >= 0:
            start, size = int(stream["id_start"]), int(stream["id_size"])
            stream["hash"] = siphash13(head["hash_key0"], head["hash_key1"], state.ids, start, size)


@compiled
def fill_table(state: State, table: npt.NDArray[np.int32]) -> None:
    """Insert every stream into an empty table."""
    for row in range(state.head[0]["streams_used"]):
        if state.streams[row]["id_size"] >= 0:
            put_in_table(table, state.streams[row]["hash"], row)


@compiled
def pack_ids(state: State, packed: npt.NDArray[np.uint8]) -> None:
    """Copy the ids in use to the front of `packed`, leaving the garbage behind."""
    at = 0
    for row in range(state.head[0]["streams_used"]):
        stream = state.streams[row]
        size = int(stream["id_size"])
        if size == NONE:
            continue
        if size < 0:
            size = GONE - size
        start = int(stream["id_start"])
        for i in range(size):
            packed[at + i] = state.ids[start + i]
        stream["id_start"] = at
        at += size
    state.head[0]["ids_used"] = at
    state.head[0]["ids_garbage"] = 0


def ids_of(state: State, rows: npt.NDArray[np.void]) -> list[bytes]:
    """The ids of streams or of closed buckets, whose rows have `id_start` and `id_size`."""
    text = memoryview(state.ids)  # type: ignore[arg-type]  # an array is a buffer; its type says so from 3.12 on
    places = zip(rows["id_start"].tolist(), rows["id_size"].tolist(), strict=True)
    return [bytes(text[start : start + size]) for start, size in places]
