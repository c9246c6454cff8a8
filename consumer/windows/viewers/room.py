"""Room for viewers and their signs: grown before a walk needs it, given back when an audience has left."""

import numpy as np
import numpy.typing as npt

from consumer.windows.layout import State, grown
from consumer.windows.viewers.layout import CHUNK, KEPT, VIEWER, Audience, empty_crowds, empty_slots, most_changes
from consumer.windows.viewers.packing import pack_chunks, pack_viewers
from consumer.windows.viewers.table import fill_slots

KEPT_ANYWAY = 4096
"""So few rows or chunks are not worth the moving."""
FREE_SHARE = 0.75
"""Of more, so many must be free."""


def with_room(audience: Audience, streams: int, buckets: int, signs: int, chunks: int) -> Audience:
    """The audience with room for so many rows of `streams` and `buckets`, and more signs in so many more chunks."""
    tally = audience.tally[0]
    viewers_used, chunks_used = int(tally["viewers_used"]), int(tally["chunks_used"])
    changes = most_changes(int(tally["viewers_live"]), int(tally["kept_live"]), signs)
    rows = grown(audience.viewers, viewers_used, viewers_used + signs)
    chunk_links = grown(audience.chunks, chunks_used, chunks_used + chunks)
    return audience._replace(
        crowds=_crowds_with_room(audience.crowds, streams),
        presence=grown(audience.presence, len(audience.presence), buckets),
        viewers=rows,
        slots=_slots_with_room(audience.slots, int(tally["viewers_live"]) + signs),
        kept=grown(audience.kept, chunks_used * CHUNK, len(chunk_links) * CHUNK),
        chunks=chunk_links,
        changes=grown(audience.changes, 0, changes),
        sorted_changes=grown(audience.sorted_changes, 0, changes),
    )


def _crowds_with_room(crowds: npt.NDArray[np.void], streams: int) -> npt.NDArray[np.void]:
    if streams == len(crowds):  # as for most batches of a restore
        return crowds
    return np.concatenate([crowds, empty_crowds(streams - len(crowds))])


def _slots_with_room(slots: npt.NDArray[np.void], viewers: int) -> npt.NDArray[np.void]:
    if 4 * viewers <= 3 * len(slots):
        return slots
    larger = empty_slots(_slots_for(viewers))
    fill_slots(slots, larger)
    return larger


def _slots_for(viewers: int) -> int:
    return 1 << (4 * viewers // 3).bit_length()


def given_back(state: State) -> State:
    """The state without the rows that nobody needs any more, where they are many; nothing else of it changes."""
    tally = state.audience.tally[0]
    if _is_mostly_free(int(tally["viewers_used"]), int(tally["viewers_live"])):
        state = with_fewer_viewers(state)
    if _is_mostly_free(int(tally["chunks_used"]), int(tally["chunks_live"])):
        state = with_fewer_chunks(state)
    return state


def _is_mostly_free(used: int, live: int) -> bool:
    return used > KEPT_ANYWAY and used - live > FREE_SHARE * used


def with_fewer_viewers(state: State) -> State:
    """The state with room for twice the viewers that it has."""
    audience, tally = state.audience, state.audience.tally[0]
    size = 2 * int(tally["viewers_live"]) + KEPT_ANYWAY // 2
    viewers, slots = np.empty(size, VIEWER), empty_slots(_slots_for(size))
    pack_viewers(audience, viewers, slots, np.empty(int(tally["viewers_used"]), np.int32))
    changes = most_changes(int(tally["viewers_live"]), int(tally["kept_live"]), 0)
    audience = audience._replace(
        viewers=viewers,
        slots=slots,
        changes=np.empty(changes, np.int64),
        sorted_changes=np.empty(changes, np.int64),
    )
    return state._replace(audience=audience)


def with_fewer_chunks(state: State) -> State:
    """The state with room for twice the chunks of signs that it has."""
    tally = state.audience.tally[0]
    size = 2 * int(tally["chunks_live"]) + KEPT_ANYWAY // 2
    kept, chunks = np.empty(size * CHUNK, KEPT), np.empty(size, np.int32)
    pack_chunks(state, kept, chunks, np.empty(int(tally["chunks_used"]), np.int32))
    return state._replace(audience=state.audience._replace(kept=kept, chunks=chunks))
