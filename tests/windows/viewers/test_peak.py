"""The largest count from changes in any order, compared with counting at every instant."""

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.runtime.jit import compiled
from consumer.windows.viewers.peak import largest_count

Numbers = npt.NDArray[np.int64]


@compiled  # the peak is a part of kernels and has no entry of its own
def peak_into(
    changes: Numbers, spare: Numbers, digits: Numbers, bucket_ms: int, count: int, at_start: int, out: Numbers
) -> None:
    out[0] = largest_count(changes, spare, digits, len(changes), bucket_ms, count, at_start)


def peak_of(changes: list[tuple[int, int]], bucket_ms: int, carried: int) -> int:
    keys = np.array([2 * at + (by > 0) for at, by in changes], np.int64)
    at_start = carried + sum(by for at, by in changes if at == 0)
    out = np.zeros(1, np.int64)
    peak_into(keys, np.zeros_like(keys), np.zeros(256, np.int64), bucket_ms, carried, at_start, out)
    return int(out[0])


@st.composite
def buckets(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]], int]:
    bucket_ms = draw(st.sampled_from([1, 2, 128, 10_000, 2**40]))
    few, many = st.integers(0, min(3, bucket_ms - 1)), st.integers(0, bucket_ms - 1)
    change = st.tuples(st.one_of(few, many), st.sampled_from([1, -1]))
    changes = draw(st.lists(change, max_size=draw(st.sampled_from([5, 100]))))
    return bucket_ms, changes, draw(st.integers(len(changes), len(changes) + 3))


@given(buckets())
@settings(max_examples=300)
def test_the_peak_is_the_largest_count_at_any_instant(bucket: tuple[int, list[tuple[int, int]], int]) -> None:
    bucket_ms, changes, carried = bucket
    instants = {0, *(at for at, _ in changes)}
    counts = [carried + sum(by for at, by in changes if at <= instant) for instant in instants]
    assert peak_of(changes, bucket_ms, carried) == max(counts)


def test_viewers_who_come_as_others_leave_are_not_counted_together() -> None:
    #  0         5        10      five until 5, then other five
    assert peak_of([(5, 1)] * 5 + [(5, -1)] * 5, 10, 5) == 5
    assert peak_of([(0, -1), (0, -1), (3, 1)], 10, 5) == 4
