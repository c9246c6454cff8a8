"""Read Avro values from bytes with explicit bounds checks: compiled code has none.

Positions are indexes into `text`; a negative position is minus the reject reason.
"""

import numpy as np
import numpy.typing as npt

from consumer.intake.rejects import Reject
from consumer.runtime.jit import inlined

MAX_ID_BYTES = 1024

Text = npt.NDArray[np.uint8]

_TRUNCATED = int(Reject.TRUNCATED)
_BAD_NUMBER = int(Reject.BAD_NUMBER)
_EMPTY_ID = int(Reject.EMPTY_ID)
_ID_TOO_LONG = int(Reject.ID_TOO_LONG)
_BAD_TEXT = int(Reject.BAD_TEXT)

_MAX_NUMBER_BYTES = 10
_TOP_BITS = np.uint64(0x8080808080808080)


@inlined
def read_number(text: Text, at: int, end: int) -> tuple[int, int]:
    """Read an int or long; return the position behind it, and the number."""
    if at >= end:
        return -_TRUNCATED, 0
    byte = np.int64(text[at])
    if byte < 128:
        return at + 1, int((byte >> 1) ^ -(byte & 1))
    bits = np.uint64(byte & 127)
    for i in range(1, _MAX_NUMBER_BYTES):
        if at + i >= end:
            return -_TRUNCATED, 0
        byte = np.int64(text[at + i])
        if i == _MAX_NUMBER_BYTES - 1 and byte > 1:
            break  # more than 64 bits
        bits |= np.uint64(byte & 127) << np.uint64(7 * i)
        if byte < 128:
            return at + i + 1, int(np.int64(bits >> np.uint64(1)) ^ -np.int64(bits & np.uint64(1)))
    return -_BAD_NUMBER, 0


@inlined
def read_bits(text: Text, at: int, size: int) -> np.uint64:
    """Read `size` bytes, little-endian; the caller has checked the bounds."""
    bits = np.uint64(0)
    for i in range(size):
        bits |= np.uint64(text[at + i]) << np.uint64(8 * i)
    return bits


@inlined
def id_fault(text: Text, start: int, size: int) -> int:
    """0, or the reject reason of an id."""
    if size < 1:
        return _EMPTY_ID
    if size > MAX_ID_BYTES:
        return _ID_TOO_LONG
    if is_ascii(text, start, size) or is_utf8(text, start, start + size):
        return 0
    return _BAD_TEXT


@inlined
def is_ascii(text: Text, start: int, size: int) -> bool:
    """Whether all bytes are ASCII, checked eight at a time."""
    bits = np.uint64(0)
    if size < 8:
        for i in range(start, start + size):
            bits |= np.uint64(text[i])
        return bool(bits < np.uint64(128))
    for i in range(start, start + size - 8, 8):
        bits |= read_word(text, np.uint64(i))
    bits |= read_word(text, np.uint64(start + size - 8))
    return bool(bits & _TOP_BITS == np.uint64(0))


@inlined
def read_word(text: Text, at: np.uint64) -> np.uint64:
    """Read eight bytes, little-endian. Written out, with an unsigned position, it compiles to one load."""
    return (
        np.uint64(text[at])
        | np.uint64(text[at + np.uint64(1)]) << np.uint64(8)
        | np.uint64(text[at + np.uint64(2)]) << np.uint64(16)
        | np.uint64(text[at + np.uint64(3)]) << np.uint64(24)
        | np.uint64(text[at + np.uint64(4)]) << np.uint64(32)
        | np.uint64(text[at + np.uint64(5)]) << np.uint64(40)
        | np.uint64(text[at + np.uint64(6)]) << np.uint64(48)
        | np.uint64(text[at + np.uint64(7)]) << np.uint64(56)
    )


@inlined
def is_utf8(text: Text, start: int, end: int) -> bool:
    """Whether bytes are UTF-8 by RFC 3629: nothing overlong, no surrogates, nothing above U+10FFFF."""
    at = start
    while at < end:
        lead = text[at]
        low, high = 0x80, 0xBF
        if lead < 0x80:
            more = 0
        elif 0xC2 <= lead <= 0xDF:
            more = 1
        elif 0xE0 <= lead <= 0xEF:
            more = 2
            low = 0xA0 if lead == 0xE0 else 0x80
            high = 0x9F if lead == 0xED else 0xBF
        elif 0xF0 <= lead <= 0xF4:
            more = 3
            low = 0x90 if lead == 0xF0 else 0x80
            high = 0x8F if lead == 0xF4 else 0xBF
        else:
            return False
        if at + more >= end:
            return False
        for i in range(1, more + 1):
            if not low <= text[at + i] <= high:
                return False
            low, high = 0x80, 0xBF
        at += more + 1
    return True


@inlined
def kind_of_text(
    text: Text, start: int, size: int, names: npt.NDArray[np.int64], name_text: Text, first: int, count: int
) -> int:
    """The kind of the event type with this name, or -1."""
    for row in range(first, first + count):
        if names[row, 1] != size:
            continue
        at = names[row, 0]
        same = True
        for i in range(size):
            if text[start + i] != name_text[at + i]:
                same = False
                break
        if same:
            return int(names[row, 2])
    return -1


@inlined
def is_named(text: Text, start: int, size: int, names: npt.NDArray[np.int64], name_text: Text, row: int) -> bool:
    """Whether a text is the name, or the literal, in that row."""
    if names[row, 1] != size:
        return False
    at = names[row, 0]
    for i in range(size):  # noqa: SIM110  # numba has no generators in `all`
        if text[start + i] != name_text[at + i]:
            return False
    return True
