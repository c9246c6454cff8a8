"""Offsets as ranges, compared with a plain set."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from consumer.state.offset_ranges import OffsetRanges

OFFSETS = st.lists(st.integers(0, 60), unique=True).map(sorted)


@given(OFFSETS, st.data())
def test_ranges_hold_all_offsets_added_in_any_batches_and_survive_storing(
    offsets: list[int], data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(offsets)), max_size=4)))
    ranges = OffsetRanges()
    for begin, end in zip([0, *cuts], [*cuts, len(offsets)], strict=True):
        ranges.add(np.array(offsets[begin:end], np.int64))
        ranges.packed()  # earlier offsets are not returned again
    at_once = OffsetRanges()
    at_once.add(np.array(offsets, np.int64))
    assert ranges.packed() == at_once.packed()
    stored = OffsetRanges.unpacked(json.loads(ranges.packed()))
    everywhere = np.arange(-1, 70)
    for each in (ranges, at_once, stored):
        assert everywhere[each.among(everywhere)].tolist() == offsets
        assert len(each) == sum(offset - 1 not in offsets for offset in offsets)


@given(OFFSETS, OFFSETS)
def test_ranges_that_were_stored_and_loaded_can_grow(before: list[int], after: list[int]) -> None:
    later = np.array([offset + 61 for offset in after], np.int64)
    ranges = OffsetRanges()
    ranges.add(np.array(before, np.int64))
    stored = OffsetRanges.unpacked(json.loads(ranges.packed()))
    ranges.add(later)
    stored.add(later)
    assert stored.packed() == ranges.packed()
