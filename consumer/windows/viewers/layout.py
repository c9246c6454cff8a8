"""What counting by viewer remembers, as arrays: one row a viewer, one a kept sign, no object for either.

```
slots ──► viewers row ──► kept ──► kept ──► …      a viewer's signs in open buckets: a ring, from the newest
            ▲  │ ▲                   ▲
   quietest ┘  ▼ │ fresher           │ first_chunk ⇄ … last_chunk
   crowds ──► the viewers present    presence ──► the signs of one open bucket, by arrival, in chunks
   (by stream) where open buckets begin, the longest silent first
```
A *sign* is what an event says of its viewer: there (any event but a leave) or gone, at a time. Each distinct one is
kept until its bucket closes. `crowds` has a row for each row of `streams`, `presence` one for each of `buckets`; with
events counting all arrays are empty.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from consumer.runtime.jit import compiled, inlined

_NONE = -1  # state.NONE; that module imports this one

CHUNK = 8
"""Signs that lie together: a small bucket wastes little, and a large one is read in strides."""

VIEWER = np.dtype(
    [
        ("hash_low", np.uint64),
        ("hash_high", np.uint64),
        ("seen_ms", np.int64),  # the last sign of life before the open buckets; NO_TIME_MS where absent by then
        ("stream", np.int32),  # NONE marks a free row
        ("kept", np.int32),  # the newest sign in an open bucket
        ("quieter", np.int32),
        ("fresher", np.int32),  # of a free row: the next free one
    ],
    align=True,
)

SLOT = np.dtype([("tag", np.uint32), ("viewer", np.int32)])

KEPT = np.dtype([("sign", np.int64), ("viewer", np.int32), ("later", np.int32)], align=True)

CROWD = np.dtype([("quietest", np.int32), ("freshest", np.int32), ("carried", np.int32)])

PRESENCE = np.dtype(
    [
        ("first_chunk", np.int32),
        ("last_chunk", np.int32),
        ("kept", np.int64),
        ("untracked", np.int64),
        ("timeouts", np.int64),
        ("unique_viewers", np.int64),
        ("viewer_ms", np.int64),
        ("viewers_at_end", np.int64),
    ],
    align=True,
)
"""Of one bucket; all but `untracked` are filled when it closes."""

TALLY = np.dtype(
    [
        ("viewers_used", np.int64),
        ("viewers_free", np.int64),
        ("viewers_live", np.int64),
        ("chunks_used", np.int64),
        ("chunks_free", np.int64),
        ("chunks_live", np.int64),
        ("kept_live", np.int64),
        ("gone", np.int64),  # while a bucket is settled: how many viewers in `ahead` are to be forgotten
        ("timeouts", np.int64),
        ("orphan_leaves", np.int64),
        ("implicit_joins", np.int64),
        ("untracked", np.int64),
    ],
    align=True,
)


class Audience(NamedTuple):
    """All that the kernels read and write of viewers; `tally` has one row, the scalars."""

    tally: npt.NDArray[np.void]
    crowds: npt.NDArray[np.void]
    presence: npt.NDArray[np.void]
    viewers: npt.NDArray[np.void]
    slots: npt.NDArray[np.void]
    kept: npt.NDArray[np.void]
    chunks: npt.NDArray[np.int32]
    """By chunk: the next one of its bucket, or the next free one."""
    changes: npt.NDArray[np.int64]
    """Room to settle a bucket in, as are the two below."""
    sorted_changes: npt.NDArray[np.int64]
    digits: npt.NDArray[np.int64]


def new_audience(*, streams: int, buckets: int) -> Audience:
    """Nobody; with so many rows of `streams` and `buckets`, or 0 of each where viewers aren't counted."""
    tally = np.zeros(1, TALLY)
    tally["viewers_free"] = tally["chunks_free"] = _NONE
    some = 64 if streams else 0
    return Audience(
        tally=tally,
        crowds=empty_crowds(streams),
        presence=np.zeros(buckets, PRESENCE),
        viewers=np.zeros(some, VIEWER),
        slots=empty_slots(some),
        kept=np.zeros(some * CHUNK, KEPT),
        chunks=np.zeros(some, np.int32),
        changes=np.zeros(some, np.int64),
        sorted_changes=np.zeros(some, np.int64),
        digits=np.zeros(256, np.int64),
    )


def empty_crowds(rows: int) -> npt.NDArray[np.void]:
    """Rows of streams that nobody watches; a stream leaves its row like that when it is forgotten."""
    crowds = np.zeros(rows, CROWD)
    crowds["quietest"] = crowds["freshest"] = _NONE
    return crowds


def empty_slots(size: int) -> npt.NDArray[np.void]:
    """A table without entries; `size` is a power of two, or 0."""
    slots = np.zeros(size, SLOT)
    slots["viewer"] = _NONE
    return slots


@inlined
def has_room_for_signs(audience: Audience, signs: int) -> bool:
    """Whether every sign could be a new viewer's and open a chunk, and any bucket be settled, without growing."""
    if len(audience.presence) == 0:
        return True  # viewers aren't counted
    tally = audience.tally[0]
    return bool(
        tally["viewers_used"] + signs <= len(audience.viewers)
        and 4 * (tally["viewers_live"] + signs) <= 3 * len(audience.slots)
        and tally["chunks_used"] + signs <= len(audience.chunks)
        and most_changes(tally["viewers_live"], tally["kept_live"], signs) <= len(audience.changes)
    )


@compiled
def most_changes(viewers: int, kept: int, signs: int) -> int:
    """How often viewers can come and go in one bucket at most: twice a sign, and each may time out."""
    return 2 * (kept + signs) + viewers + signs


def audience_bytes(audience: Audience) -> int:
    """Bytes of the rows in use or used before, but for those that go with streams and buckets."""
    tally = audience.tally[0]
    return (
        audience.slots.nbytes
        + int(tally["viewers_used"]) * VIEWER.itemsize
        + int(tally["chunks_used"]) * (CHUNK * KEPT.itemsize + audience.chunks.itemsize)
    )
