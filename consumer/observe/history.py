"""The last closed buckets of a worker, kept in memory for the page.

```
rows   │ 6 │ 7 │ 2 │ 3 │ 4 │ 5 │      positions 2 to 7 of 8 so far; the next bucket takes the place of 2
```
One ring for all streams, so its size is fixed. The loop adds buckets after their commit, by copying; other threads read
without locks. A reader copies first and then drops what the loop may have overwritten meanwhile.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

BUCKETS_KEPT = 131_072
"""Ten minutes of 2,000 streams with buckets of ten seconds; 25 MiB once all are in use."""


class Beginning(NamedTuple):
    """Where the history of a partition begins: it is read by this worker since then."""

    position: int
    since_ms: int
    """Unix time."""


class BucketHistory:
    """Closed buckets of all streams, the newest ones.

    Args:
        row_type: the type of closed buckets; their start is `bucket.start_ms`.
        size: number of buckets kept.
    """

    def __init__(self, row_type: np.dtype[np.void], size: int = BUCKETS_KEPT) -> None:
        self.size = size
        self._row_type = row_type
        # Pages that were never written to take no memory.
        self._rows = np.zeros(size, row_type)
        self._raw = self._rows.view(np.dtype((np.void, row_type.itemsize)))
        """The same without fields, which is copied five times as fast."""
        self._keys = np.zeros(size, np.int64)
        self._partitions = np.zeros(size, np.int32)
        self._reserved = 0
        """Position behind the last row that may be written to."""
        self._written = 0
        """Position behind the last complete row."""
        self._beginnings: Mapping[int, Beginning] = {}

    def __len__(self) -> int:
        """How many buckets are kept now."""
        return min(self._written, self.size)

    def begin(self, partition: int, now_ms: int) -> None:
        """Call when a partition becomes live: what was added of it before is no longer shown."""
        self._beginnings = {**self._beginnings, partition: Beginning(self._written, now_ms)}

    def since_ms(self, partition: int) -> int | None:
        """Unix time at which the history of a partition began; None if it never did."""
        beginning = self._beginnings.get(partition)
        return None if beginning is None else beginning.since_ms

    def add(self, partition: int, stream_ids: Sequence[bytes], rows: npt.NDArray[np.void]) -> None:
        """Add committed buckets of a partition; called by the loop only."""
        stream_ids, rows = stream_ids[-self.size :], rows[-self.size :]
        keys = np.fromiter(map(hash, stream_ids), np.int64, len(stream_ids))
        self._reserved += len(rows)
        place = self._written % self.size
        head = min(len(rows), self.size - place)
        for target, first, then in ((place, 0, head), (0, head, len(rows))):
            end = target + then - first
            self._rows[target:end] = rows[first:then]
            self._keys[target:end] = keys[first:then]
            self._partitions[target:end] = partition
        self._written += len(rows)

    def buckets_of(
        self, stream_ids: Sequence[bytes], partitions: Iterable[int], most: int
    ) -> list[npt.NDArray[np.void]]:
        """The newest `most` buckets of each stream in these partitions, by start; those of one start by partition.

        Any thread may call it. Streams are told apart by a 64-bit keyed hash of their ids.
        """
        wanted = np.fromiter(map(hash, stream_ids), np.int64, len(stream_ids))
        end = self._written
        places = _places_of(wanted, self._keys[:end])
        rows, keys, owners = self._raw[places].view(self._row_type), self._keys[places], self._partitions[places]
        positions = end - 1 - (end - 1 - places) % self.size
        # The loop may have gone on since `end` was read: what it wrote over is not used.
        shown = (positions >= self._reserved - self.size) & (positions >= self._firsts(owners, partitions))
        order = np.lexsort((owners, rows["bucket"]["start_ms"], keys))
        order = order[shown[order]]
        firsts, lasts = (np.searchsorted(keys[order], wanted, side).tolist() for side in ("left", "right"))
        raw = rows.view(self._raw.dtype)
        return [
            raw[order[max(first, last - most) : last]].view(self._row_type)
            for first, last in zip(firsts, lasts, strict=True)
        ]

    def _firsts(self, owners: npt.NDArray[np.int32], partitions: Iterable[int]) -> npt.NDArray[np.int64]:
        """For each row the first position of its partition that is shown; past all of them for other partitions."""
        beginnings = self._beginnings
        never = np.iinfo(np.int64).max
        firsts = np.full(int(owners.max(initial=0)) + 1, never, np.int64)
        for partition in partitions:
            if partition in beginnings and partition < len(firsts):
                firsts[partition] = beginnings[partition].position
        return firsts[owners]


def _places_of(wanted: npt.NDArray[np.int64], keys: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where one of the wanted keys is; a table over 16 bits of them leaves few candidates to compare."""
    may_be = np.zeros(1 << 16, np.bool_)
    may_be[wanted.view(np.uint16)[::4]] = True
    candidates = np.flatnonzero(may_be[keys.view(np.uint16)[::4]])
    return candidates[np.isin(keys[candidates], wanted)]
