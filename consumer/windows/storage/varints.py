"""Variable-length integers: seven bits per byte, lowest first; a set eighth bit means that more bytes follow."""

import numpy as np
import numpy.typing as npt

from consumer.runtime.jit import inlined
from consumer.windows.layout import NONE

MOST_BYTES = 9
"""For 63 bits."""

U64 = np.uint64


@inlined
def put_varint(out: npt.NDArray[np.uint8], at: int, value: int) -> int:
    """Write a non-negative value; return the next position."""
    rest = U64(value)
    while rest >= U64(128):
        out[at] = (rest & U64(127)) | U64(128)
        rest >>= U64(7)
        at += 1
    out[at] = rest
    return at + 1


@inlined
def get_varint(text: npt.NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """Read a value; return it and the next position, NONE if the value is incomplete or `at` was NONE."""
    value = 0
    for shift in range(0, 7 * MOST_BYTES, 7):
        if at == NONE or at >= end:
            break
        byte = np.int64(text[at])  # int() would stay unsigned when compiled
        at += 1
        value += (byte & 127) << shift  # type: ignore[assignment]  # an int to mypy
        if byte < 128:
            return value, at
    return 0, NONE


@inlined
def zigzag(value: int) -> int:
    """Map signed numbers to unsigned ones, those near 0 first: 0, -1, 1, -2 are 0, 1, 2, 3."""
    return 2 * value if value >= 0 else -2 * value - 1


@inlined
def unzigzag(value: int) -> int:
    """The inverse of `zigzag`."""
    return value >> 1 if value & 1 == 0 else -(value >> 1) - 1
