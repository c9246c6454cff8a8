"""Read the keys of records, where an id is the key."""

import numpy as np
import numpy.typing as npt

from consumer.intake.vm.frames import NO_KEY, UNREADABLE_KEY
from consumer.intake.vm.wire import read_number
from consumer.runtime.jit import compiled, inlined

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

TEXT_KEY, FRAMED_KEY = range(2)
KEY_FORMATS = {"text": TEXT_KEY, "confluent": FRAMED_KEY}

_FRAME_BYTES = 5


@compiled
def read_keys(text: Bytes, sizes: Ints, at: int, key_format: int, key_begins: Ints, key_sizes: Ints) -> None:
    """Find the text of each key; `NO_KEY` as size where there is none, `UNREADABLE_KEY` where it is not in the format.

    Args:
        text: has the keys, back to back from `at`.
        sizes: of the keys; below 0 for records without one.
        at: where they begin.
        key_format: `TEXT_KEY`, or `FRAMED_KEY` for a 0 byte, four bytes of registry id and an Avro string.
        key_begins: the first byte of each text.
        key_sizes: the bytes of each text.
    """
    for row in range(len(sizes)):
        size = sizes[row]
        key_begins[row] = at
        key_sizes[row] = size if size >= 0 else NO_KEY
        end = at + max(size, 0)
        if size >= 0 and key_format == FRAMED_KEY:
            begin, length = _framed_text(text, at, end)
            key_begins[row] = begin
            key_sizes[row] = length
        at = end


@inlined
def _framed_text(text: Bytes, at: int, end: int) -> tuple[int, int]:
    if end - at <= _FRAME_BYTES or text[at] != 0:
        return at, UNREADABLE_KEY
    begin, length = read_number(text, at + _FRAME_BYTES, end)
    if begin < 0 or length < 0 or length != end - begin:
        return at, UNREADABLE_KEY
    return begin, length
