"""Arrays that grow: address space is reserved well ahead of its use, and memory only where rows were written."""

import mmap
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Kind = TypeVar("Kind", bound=np.generic)

_RESERVED = 4
"""How many times the rows that are needed are reserved: rows are rarely copied, and few pages are cleared for it."""
_SMALL_BYTES = 65_536
"""An array below that size is copied instead: a mapping of its own would cost more."""


def grown(array: npt.NDArray[Kind], used: int, wanted: int) -> npt.NDArray[Kind]:
    """The array itself if it has `wanted` rows, else a copy of its `used` rows in one at least twice as large."""
    if wanted <= len(array):
        return array
    larger = _reserved(array.dtype, max(wanted, 2 * len(array)))
    larger[:used] = array[:used]
    return larger


def _reserved(dtype: np.dtype[Kind], rows: int) -> npt.NDArray[Kind]:
    """At least so many rows, with any content."""
    if rows * dtype.itemsize >= _SMALL_BYTES:
        # NumPy would ask for huge pages, which are resident as a whole once one byte in them is written.
        try:
            room = mmap.mmap(-1, _RESERVED * rows * dtype.itemsize, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError:
            pass  # the machine grants no address space beyond its memory, or no more mappings
        else:
            return np.frombuffer(room, dtype)
    return np.empty(rows, dtype)
