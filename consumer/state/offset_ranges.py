"""Offsets as ranges: how the journal keeps the offsets of rejected records, which mostly come in runs."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Offsets = npt.NDArray[np.int64]

_NONE: Offsets = np.empty(0, np.int64)


class OffsetRanges:
    """Offsets that only grow, as ranges `[begin, end)`.

    Args:
        edges: begin and end of each range in turn, in their order.
    """

    def __init__(self, edges: Offsets = _NONE) -> None:
        self._edges = edges
        self._packed = _text(np.diff(edges[:-2], prepend=0))
        """Of all ranges but the last, which may grow: they are many, and written in every commit."""

    def add(self, offsets: Offsets) -> None:
        """Append offsets, in order and all behind those that are there."""
        if not len(offsets):
            return
        gaps = np.flatnonzero(np.diff(offsets) != 1)
        begins, ends = offsets[np.append(0, gaps + 1)], offsets[np.append(gaps, -1)] + 1
        new = np.column_stack((begins, ends)).ravel()
        known = self._edges
        if len(known) and known[-1] == new[0]:
            known, new = known[:-1], new[1:]
        done = max(len(self._edges) - 2, 0)
        self._edges = np.concatenate((known, new))
        self._packed += _text(np.diff(self._edges[done:-2], prepend=self._edges[done - 1] if done else 0))

    def among(self, offsets: Offsets) -> npt.NDArray[np.bool_]:
        """Which of the offsets, in whatever order, are in a range."""
        # An odd place is one behind a begin and not yet behind its end.
        inside: npt.NDArray[np.bool_] = np.searchsorted(self._edges, offsets, side="right") % 2 == 1
        return inside

    def packed(self) -> str:
        """Gap and length in turn, as JSON: small numbers, short texts."""
        end = self._edges[-3] if len(self) > 1 else 0
        return f"[{(self._packed + _text(np.diff(self._edges[-2:], prepend=end)))[:-1]}]"

    @classmethod
    def unpacked(cls, numbers: Sequence[int]) -> "OffsetRanges":
        """From what `packed` gave.

        Raises:
            ValueError: they are no gaps and lengths.
        """
        if len(numbers) % 2 or any(number < 0 for number in numbers):
            raise ValueError("rejects are no gaps and lengths")
        return cls(np.cumsum(np.array(numbers, np.int64)))

    def __len__(self) -> int:
        """How many ranges, which is not how many offsets."""
        return len(self._edges) // 2


def _text(numbers: Offsets) -> str:
    """Each with a comma behind it."""
    # Python writes a whole list in half the time that it takes to write its numbers one by one.
    return str(numbers.tolist())[1:-1].replace(" ", "") + "," * (len(numbers) > 0)
