"""Make the text of an id from what was read of a record: converted, chosen, joined.

Parts are joined with `|`; a `|` or a backslash of a part gets a backslash before it. So two ids are the same only if
all their parts are. An id of one part is that part, unchanged.
"""

import numpy as np
import numpy.typing as npt

from consumer.intake.vm.instructions import BAD_KEY, DECIMAL, EMPTY, LITERAL, LOW, PLAIN_TEXT, UUID, A, B
from consumer.intake.vm.wire import MAX_ID_BYTES, is_utf8
from consumer.runtime.jit import called, inlined

Ints = npt.NDArray[np.int64]
Text = npt.NDArray[np.uint8]

MISSING = -1
KEY_FAULT = -2
UNCHANGED = -3
"""In place of the size of an id."""

TOO_LONG = MAX_ID_BYTES + 1

_JOINER = ord("|")
_ESCAPE = ord("\\")
_DASH = ord("-")
_HEX = np.frombuffer(bytearray(b"0123456789abcdef"), np.uint8)
_DIGITS = 20
_UUID_BYTES = 16
_UUID_DASHES = (4, 6, 8, 10)


@called
def make_id(
    text: Text,
    at: int,
    code: Ints,
    pc: int,
    names: Ints,
    name_text: Text,
    slot_form: Ints,
    slot_at: Ints,
    slot_size: Ints,
) -> tuple[int, int]:
    """Make the id of the instruction at `pc`; return its first byte and its size.

    It is written at `at`, where there must be room for `MAX_ID_BYTES`, unless it is one text of the record. A negative
    size says that a part is missing (`MISSING`), or is a key that cannot be read (`KEY_FAULT`), or that the only source
    has nothing here (`UNCHANGED`).
    """
    parts = code[pc, B]
    joined = parts > 1
    size = 0
    content = 0
    for i in range(parts):
        row = pc + 1 + i
        slot = code[row, A]
        last = slot + code[row, B] - 1
        while slot < last and slot_form[slot] == EMPTY:
            slot += 1
        form = slot_form[slot]
        literal = code[row, LOW]
        if form == LITERAL:
            literal = slot_at[slot]
        if form == EMPTY and literal < 0:
            return 0, (MISSING if joined or code[row, B] > 1 else UNCHANGED)
        if form == BAD_KEY:
            return 0, KEY_FAULT
        if form == PLAIN_TEXT and not joined:
            return slot_at[slot], slot_size[slot]
        if i > 0:
            size = _put(text, at, size, _JOINER)
        before = size
        if form in (EMPTY, LITERAL):
            size = _put_text(text, at, size, name_text, names[literal, 0], names[literal, 1], joined)
        else:
            size = _put_part(text, at, size, form, slot_at[slot], slot_size[slot], joined)
        content += size - before
    return at, (size if content > 0 else 0)


@inlined
def _put_part(text: Text, at: int, size: int, form: int, start: int, count: int, joined: bool) -> int:
    """Append what a slot holds; return the new size."""
    if form == DECIMAL:
        return _put_number(text, at, size, start)
    if form == UUID:
        return _put_hex(text, at, size, start, _UUID_BYTES, True)
    if form == PLAIN_TEXT or _is_readable(text, start, count):
        return _put_text(text, at, size, text, start, count, joined)
    return _put_hex(text, at, size, start, count, False)


@inlined
def _put(text: Text, at: int, size: int, byte: int) -> int:
    """Append a byte; return the new size, which stays `TOO_LONG` once it is."""
    if size >= MAX_ID_BYTES:
        return TOO_LONG
    text[at + size] = byte
    return size + 1


@inlined
def _put_text(text: Text, at: int, size: int, source: Text, start: int, count: int, joined: bool) -> int:
    if count > MAX_ID_BYTES:
        return TOO_LONG
    for i in range(start, start + count):
        byte = source[i]
        if joined and byte in (_JOINER, _ESCAPE):
            size = _put(text, at, size, _ESCAPE)
        size = _put(text, at, size, byte)
    return size


@inlined
def _put_number(text: Text, at: int, size: int, number: int) -> int:
    """Append a number in decimal; unsigned on the way, since the smallest number has no positive counterpart."""
    if number < 0:
        size = _put(text, at, size, _DASH)
    rest = np.uint64(number) if number >= 0 else np.uint64(-(number + 1)) + np.uint64(1)
    digits = 1
    power = np.uint64(1)
    while digits < _DIGITS - 1 and rest // power >= np.uint64(10):
        power *= np.uint64(10)
        digits += 1
    for _ in range(digits):
        digit = rest // power
        size = _put(text, at, size, 48 + int(digit))
        rest -= digit * power
        power //= np.uint64(10)
    return size


@inlined
def _put_hex(text: Text, at: int, size: int, start: int, count: int, as_uuid: bool) -> int:
    if count > MAX_ID_BYTES:
        return TOO_LONG
    for i in range(count):
        if as_uuid and i in _UUID_DASHES:
            size = _put(text, at, size, _DASH)
        byte = text[start + i]
        size = _put(text, at, size, _HEX[byte >> 4])
        size = _put(text, at, size, _HEX[byte & 15])
    return size


@inlined
def _is_readable(text: Text, start: int, count: int) -> bool:
    """Whether the bytes of a fixed are text without control characters; else they are shown in hexadecimal."""
    if count > MAX_ID_BYTES:
        return True  # too long in any case
    for i in range(start, start + count):
        if text[i] < 0x20 or text[i] == 0x7F:
            return False
    return is_utf8(text, start, start + count)
