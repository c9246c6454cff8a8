"""The largest count in a bucket, from its changes: each is twice the milliseconds since the start, and 1 for a join.

The count of an instant includes all changes at it. In this order departures come first, so that intermediate counts
are never above both the count before the instant and the count after it.
"""

import numpy as np
import numpy.typing as npt

from consumer.runtime.jit import inlined

Changes = npt.NDArray[np.int64]

_FEW = 32
_DIGIT_BITS = 8


@inlined
def largest_count(
    changes: Changes, spare: Changes, digits: Changes, size: int, bucket_ms: int, count: int, at_start: int
) -> int:
    """The peak of a bucket; `changes[:size]` are sorted on the way.

    Args:
        changes: in any order.
        spare: scratch space of the same size.
        digits: scratch space, one number per value of a digit.
        size: how many there are.
        bucket_ms: length of the bucket.
        count: viewers carried into the bucket.
        at_start: viewers at its first instant, changes at it included.
    """
    if size <= _FEW:
        _insertion_sort(changes, size)
        return _peak_of(changes, size, count, at_start)
    shift, in_spare = 0, False
    while (2 * bucket_ms - 1) >> shift > 0:
        if in_spare:
            _sort_by_digit(spare, changes, digits, size, shift)
        else:
            _sort_by_digit(changes, spare, digits, size, shift)
        in_spare = not in_spare
        shift += _DIGIT_BITS
    return _peak_of(spare if in_spare else changes, size, count, at_start)


@inlined
def _peak_of(changes: Changes, size: int, count: int, at_start: int) -> int:
    peak = at_start
    for i in range(size):
        if changes[i] & 1:
            count += 1
            peak = max(peak, count)
        else:
            count -= 1
    return peak


@inlined
def _insertion_sort(changes: Changes, size: int) -> None:
    for i in range(1, size):
        change, at = changes[i], i
        while at > 0 and changes[at - 1] > change:
            changes[at] = changes[at - 1]
            at -= 1
        changes[at] = change


@inlined
def _sort_by_digit(source: Changes, target: Changes, digits: Changes, size: int, shift: int) -> None:
    """One pass of a stable radix sort."""
    digits[:] = 0
    mask = len(digits) - 1
    for i in range(size):
        digits[(source[i] >> shift) & mask] += 1
    place = 0
    for digit in range(len(digits)):
        number = digits[digit]
        digits[digit] = place
        place += number
    for i in range(size):
        digit = (source[i] >> shift) & mask
        target[digits[digit]] = source[i]
        digits[digit] += 1
