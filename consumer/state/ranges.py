"""Offsets as ranges: what a journal keeps of rejects, which mostly come in runs."""

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

    def add(self, offsets: Offsets) -> None:
        """Append offsets, in order and all behind those that are there."""
        if not len(offsets):
            return
        gaps = np.flatnonzero(np.diff(offsets) != 1)
        begins, ends = offsets[np.append(0, gaps + 1)], offsets[np.append(gaps, -1)] + 1
        new = np.column_stack((begins, ends)).ravel()
        if len(self._edges) and self._edges[-1] == new[0]:
            self._edges, new = self._edges[:-1], new[1:]
        self._edges = np.concatenate((self._edges, new))

    def among(self, offsets: Offsets) -> npt.NDArray[np.bool_]:
        """Which of the offsets, in whatever order, are in a range."""
        # An odd place is one behind a begin and not yet behind its end.
        inside: npt.NDArray[np.bool_] = np.searchsorted(self._edges, offsets, side="right") % 2 == 1
        return inside

    def packed(self) -> list[int]:
        """Gap and length in turn: small numbers, short texts."""
        numbers: list[int] = np.diff(self._edges, prepend=0).tolist()
        return numbers

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
