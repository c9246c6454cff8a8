"""Offsets as ranges: the journal stores the offsets of rejected records, which mostly come in runs."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Offsets = npt.NDArray[np.int64]

_NINE = 9

_NONE: Offsets = np.empty(0, np.int64)


class OffsetRanges:
    """Ascending offsets as ranges `[begin, end)`.

    Args:
        edges: begin and end of each range in turn, ascending.
    """

    def __init__(self, edges: Offsets = _NONE) -> None:
        self._edges = edges
        self._packed = _text(np.diff(edges[:-2], prepend=0))
        """Encoding of all ranges but the last, which may still grow; cached because every commit writes it."""

    def add(self, offsets: Offsets) -> None:
        """Append ascending offsets, all above the existing ones."""
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
        """Whether each of the offsets (in any order) is in a range."""
        # An odd index lies between a begin and its end.
        inside: npt.NDArray[np.bool_] = np.searchsorted(self._edges, offsets, side="right") % 2 == 1
        return inside

    def packed(self) -> str:
        """Gap and length in turn, as JSON: small numbers, short texts."""
        end = self._edges[-3] if len(self) > 1 else 0
        return f"[{(self._packed + _text(np.diff(self._edges[-2:], prepend=end)))[:-1]}]"

    @classmethod
    def unpacked(cls, numbers: Sequence[int]) -> "OffsetRanges":
        """Decode the result of `packed`.

        Raises:
            ValueError: not gaps and lengths.
        """
        if len(numbers) % 2 or any(number < 0 for number in numbers):
            raise ValueError("rejects are no gaps and lengths")
        return cls(np.cumsum(np.array(numbers, np.int64)))

    def __len__(self) -> int:
        """Number of ranges (not of offsets)."""
        return len(self._edges) // 2


def _text(numbers: Offsets) -> str:
    """Each number followed by a comma."""
    if len(numbers) and numbers.max() <= _NINE:  # rejects between events: gaps and lengths of one digit
        digits = np.full((len(numbers), 2), ord(","), np.uint8)
        digits[:, 0] = numbers + ord("0")
        return digits.tobytes().decode()
    # Formatting a whole list takes Python half the time of formatting its numbers one by one.
    return str(numbers.tolist())[1:-1].replace(" ", "") + "," * (len(numbers) > 0)
