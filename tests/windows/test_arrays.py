"""Arrays that grow: used rows stay, and address space that the machine refuses is done without."""

import mmap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.windows.arrays import grown


@given(st.integers(0, 50_000), st.integers(0, 50_000), st.floats(0, 1))
def test_used_rows_are_kept_and_the_wanted_ones_are_there(rows: int, wanted: int, share: float) -> None:
    array = np.arange(rows, dtype=np.int64)
    used = int(share * rows)
    larger = grown(array, used, wanted)
    assert len(larger) >= max(rows, wanted)
    assert larger[:used].tolist() == array[:used].tolist()
    larger[used:] = -1  # all of it can be written to
    assert (larger is array) == (wanted <= rows)


def test_growing_row_by_row_rarely_copies() -> None:
    array, copies = np.empty(1, np.int64), 0
    for wanted in range(1, 1_000_000, 100):
        larger = grown(array, 0, wanted)
        copies += larger is not array
        array = larger
    assert copies <= 12


def test_without_address_space_arrays_double(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> mmap.mmap:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", refused)
    larger = grown(np.arange(100_000, dtype=np.int64), 100_000, 100_001)
    assert len(larger) == 200_000
    assert larger[:100_000].tolist() == list(range(100_000))
