"""Integers as text, in compiled code."""

import numpy as np
import numpy.typing as npt

from consumer.runtime.jit import inlined

DIGITS = 20
"""Of a 64-bit integer with its sign."""
_ZERO, _MINUS = 48, 45


@inlined
def write_digits(number: int, digits: npt.NDArray[np.uint8]) -> int:
    """Write a number to the end of `digits`, which has `DIGITS` bytes; return where it begins."""
    at = DIGITS
    rest = number if number < 0 else -number  # the least number has no positive one
    while True:
        tenth = rest // -10
        at -= 1
        digits[at] = _ZERO - (rest + tenth * 10)
        rest = -tenth
        if rest == 0:
            break
    if number < 0:
        at -= 1
        digits[at] = _MINUS
    return at
