"""Growth of a partition's arrays, between two calls of compiled code, which never allocates."""

import numpy as np
import numpy.typing as npt

from consumer.windows.arrays import grown
from consumer.windows.layout import CLOSED, NONE, State
from consumer.windows.rules import WindowRules
from consumer.windows.storage.batch import RowBatch, needs_of
from consumer.windows.streams import fill_table, pack_ids
from consumer.windows.viewers.layout import CHUNK
from consumer.windows.viewers.room import with_room

_MIN_IDS_BYTES = 512


def with_room_for_events(rules: WindowRules, state: State, events: int, id_bytes: int, empty_buckets: int) -> State:
    """The state with room for the largest growth by a batch: each event opens a new stream and a new bucket.

    Args:
        rules: those in force.
        state: copied to larger arrays where it has no room.
        events: how many.
        id_bytes: upper bound of the bytes of new ids.
        empty_buckets: how many buckets without events may open meanwhile.
    """
    head = state.head[0]
    streams, buckets, due = (int(head[used]) for used in ("streams_used", "buckets_used", "due_size"))
    ids = _ids_with_room(state, id_bytes)  # before streams are copied: it changes their references
    state = State(
        head=state.head,
        table=_table_with_room(state, int(head["streams_live"]) + events),
        streams=grown(state.streams, streams, streams + events),
        ids=ids,
        buckets=grown(state.buckets, buckets, buckets + events + empty_buckets),
        due=grown(state.due, due, due + events),
        ahead=state.ahead,
        viewer_arrays=state.viewer_arrays,
    )
    return with_room(state, events, events) if rules.sessions else state


def with_room_for_rows(rules: WindowRules, state: State, batch: RowBatch) -> State:
    """The state with room for all that stored rows can hold."""
    state = with_room_for_events(rules, state, len(batch.key_at), int(batch.key_size.sum()), 0)
    used = int(state.head[0]["buckets_used"])
    state = state._replace(buckets=grown(state.buckets, used, used + batch.most_buckets))
    if not rules.sessions:
        return state
    needs = needs_of(batch)
    activities, chunks = max(needs.viewers, needs.activities), needs.activities // CHUNK + needs.open_buckets
    return with_room(state, activities, chunks)


def closed_with_room(
    closed: npt.NDArray[np.void], state: State, events: int, empty_buckets: int
) -> npt.NDArray[np.void]:
    """Rows for all buckets that can close: those that are held, and those that may open meanwhile."""
    wanted = int(state.head[0]["buckets_live"]) + events + empty_buckets
    if wanted <= len(closed):
        return closed
    # Zeros, because the checksum covers fields that are never written.
    return np.zeros(max(wanted, 2 * len(closed)), CLOSED)


def _table_with_room(state: State, streams: int) -> npt.NDArray[np.int32]:
    if 2 * streams <= len(state.table):
        return state.table
    table = np.full(1 << (2 * streams).bit_length(), NONE, np.int32)
    fill_table(state, table)
    return table


def _ids_with_room(state: State, id_bytes: int) -> npt.NDArray[np.uint8]:
    used, garbage = int(state.head[0]["ids_used"]), int(state.head[0]["ids_garbage"])
    if used + id_bytes <= len(state.ids):
        return state.ids
    packed = np.empty(max(2 * (used - garbage) + id_bytes, _MIN_IDS_BYTES), np.uint8)
    pack_ids(state, packed)
    return packed
