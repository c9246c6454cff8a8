"""Byte strings as columns: one behind the other in one buffer, with the size of each."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

NULL_SIZE = -1
"""The size of what is not there, which is not the same as empty."""


class Joined(NamedTuple):
    """Many byte strings."""

    text: npt.NDArray[np.uint8]
    sizes: npt.NDArray[np.int64]
    """In bytes; `NULL_SIZE` for None."""

    def __len__(self) -> int:
        return len(self.sizes)

    def part(self, begin: int, end: int) -> "Joined":
        """Those from `begin` to `end`, without a copy."""
        first = int(self.sizes[:begin].clip(0).sum())
        size = int(self.sizes[begin:end].clip(0).sum())
        return Joined(self.text[first : first + size], self.sizes[begin:end])

    def take(self, rows: npt.NDArray[np.int64]) -> "Joined":
        """Those of the given rows, which are in ascending order; a copy."""
        if not len(rows):
            return Joined(np.empty(0, np.uint8), np.empty(0, np.int64))
        near = self.part(int(rows[0]), int(rows[-1]) + 1)
        chosen = np.zeros(len(near), np.bool_)
        chosen[rows - rows[0]] = True
        return Joined(near.text[np.repeat(chosen, near.sizes.clip(0))], near.sizes[chosen])

    def all(self) -> list[bytes | None]:
        """All of them as Python objects."""
        return self.some(range(len(self)))

    def some(self, rows: Sequence[int]) -> list[bytes | None]:
        """Those of the given rows as Python objects."""
        text = self.text.tobytes()
        ends = np.cumsum(self.sizes.clip(0))[rows].tolist() if len(rows) else []
        sizes = self.sizes[rows].tolist() if len(rows) else []
        return [None if size < 0 else text[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def joined(values: Sequence[bytes | None]) -> Joined:
    """Join byte strings."""
    try:
        text = b"".join(values)  # type: ignore[arg-type]  # None is rare, and told by the error
        sizes = np.fromiter(map(len, values), np.int64, len(values))  # type: ignore[arg-type]  # as above
    except TypeError:
        text = b"".join(value or b"" for value in values)
        sizes = np.array([NULL_SIZE if value is None else len(value) for value in values], np.int64)
    # Compiled code is made for buffers that can be written.
    return Joined(np.frombuffer(bytearray(text), np.uint8) if text else np.zeros(0, np.uint8), sizes)
