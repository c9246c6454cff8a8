"""Offsets as ranges: what a journal keeps of rejects, which mostly come in runs."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt


class OffsetRanges:
    """Offsets that only grow, as ranges `[begin, end)`."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._ranges: list[tuple[int, int]] = list(ranges)

    def add(self, offsets: Sequence[int]) -> None:
        """Append offsets, in order and all behind those that are there."""
        for offset in offsets:
            if self._ranges and self._ranges[-1][1] == offset:
                self._ranges[-1] = self._ranges[-1][0], offset + 1
            else:
                self._ranges.append((offset, offset + 1))

    def among(self, offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of the offsets, in whatever order, are in a range."""
        if not self._ranges:
            return np.zeros(len(offsets), np.bool_)
        edges = np.array(self._ranges, np.int64).ravel()
        # An odd place is one behind a begin and not yet behind its end.
        inside: npt.NDArray[np.bool_] = np.searchsorted(edges, offsets, side="right") % 2 == 1
        return inside

    def packed(self) -> list[int]:
        """Gap and length in turn: small numbers, short texts."""
        numbers, at = [], 0
        for begin, end in self._ranges:
            numbers += [begin - at, end - begin]
            at = end
        return numbers

    @classmethod
    def unpacked(cls, numbers: Sequence[int]) -> "OffsetRanges":
        """From what `packed` gave.

        Raises:
            ValueError: they are no gaps and lengths.
        """
        if len(numbers) % 2 or any(number < 0 for number in numbers):
            raise ValueError("rejects are no gaps and lengths")
        edges = np.cumsum(np.array(numbers, np.int64)).tolist()
        return cls(zip(edges[::2], edges[1::2], strict=True))

    def __len__(self) -> int:
        """How many ranges, which is not how many offsets."""
        return len(self._ranges)
