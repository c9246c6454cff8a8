"""Offsets as ranges against a plain set of them."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from consumer.state.offset_ranges import OffsetRanges

OFFSETS = st.lists(st.integers(0, 60), unique=True).map(sorted)


@given(OFFSETS, st.data())
def test_ranges_hold_what_was_added_however_it_came_and_survive_being_stored(
    offsets: list[int], data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(offsets)), max_size=4)))
    ranges = OffsetRanges()
    for begin, end in zip([0, *cuts], [*cuts, len(offsets)], strict=True):
        ranges.add(np.array(offsets[begin:end], np.int64))
        ranges.packed()  # what was told before is not told again
    at_once = OffsetRanges()
    at_once.add(np.array(offsets, np.int64))
    assert ranges.packed() == at_once.packed()
    stored = OffsetRanges.unpacked(json.loads(ranges.packed()))
    everywhere = np.arange(-1, 70)
    for each in (ranges, at_once, stored):
        assert everywhere[each.among(everywhere)].tolist() == offsets
        assert len(each) == sum(offset - 1 not in offsets for offset in offsets)


@given(OFFSETS, OFFSETS)
def test_what_was_stored_goes_on_as_if_it_had_not_been(before: list[int], after: list[int]) -> None:
    later = np.array([offset + 61 for offset in after], np.int64)
    ranges = OffsetRanges()
    ranges.add(np.array(before, np.int64))
    stored = OffsetRanges.unpacked(json.loads(ranges.packed()))
    ranges.add(later)
    stored.add(later)
    assert stored.packed() == ranges.packed()
