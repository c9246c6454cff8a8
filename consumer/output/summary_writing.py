"""The kernel that writes summaries from columns: as JSON text or in Avro's binary encoding.

A format is a list of steps, carried out for each summary: write this text, or this value. `summary_encoding` makes
the lists.
"""

import numpy as np
import numpy.typing as npt

from consumer.runtime.digits import DIGITS, write_digits
from consumer.runtime.jit import compiled, inlined

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

TEXT, STREAM_ID, LONG, OPTIONAL_LONG, DOUBLE, REASON = range(6)
"""What a step writes: a text of the format, or a value of the summary. An optional one is none if it is below 0."""

LONGEST_DECIMAL = DIGITS
LONGEST_VARINT = 10
LONGEST_ESCAPE = 6
"""Bytes of a byte in JSON: a backslash, u, and four digits."""
DOUBLE_BYTES = 8

_QUOTE, _BACKSLASH, _SPACE, _COMMA, _BRACKET, _ZERO = b'"\\ ,]0'
_A, _B, _F, _L, _N, _R, _T, _U = b"abflnrtu"
_NULL_BRANCH, _VALUE_BRANCH = 0, 2
"""Of a union of null and one more type, as Avro writes their numbers."""


@inlined
def _put(out: Bytes, at: int, text: Bytes, begin: int, end: int) -> int:
    for i in range(begin, end):
        out[at + i - begin] = text[i]
    return at + end - begin


@inlined
def _short_escape(byte: int) -> int:
    """The letter behind the backslash; 0 if there is none."""
    if byte in (_QUOTE, _BACKSLASH):
        return byte
    if byte == 8:
        return _B
    if byte == 9:
        return _T
    if byte == 10:
        return _N
    if byte == 12:
        return _F
    return _R if byte == 13 else 0


@inlined
def _hexadecimal(digit: int) -> int:
    return _ZERO + digit if digit < 10 else _A + digit - 10


@inlined
def _put_escaped(out: Bytes, at: int, text: Bytes, begin: int, end: int) -> int:
    """As JSON's strings are written: UTF-8 as it is, but for what must be escaped."""
    for i in range(begin, end):
        byte = int(text[i])
        if byte >= _SPACE and byte not in (_QUOTE, _BACKSLASH):
            out[at] = byte
            at += 1
            continue
        letter = _short_escape(byte)
        out[at] = _BACKSLASH
        out[at + 1] = letter if letter != 0 else _U
        at += 2
        if letter == 0:
            out[at] = _ZERO
            out[at + 1] = _ZERO
            out[at + 2] = _hexadecimal(byte >> 4)
            out[at + 3] = _hexadecimal(byte & 15)
            at += 4
    return at


@inlined
def _put_varint(out: Bytes, at: int, number: int) -> int:
    """As Avro writes ints and longs."""
    rest = np.uint64(number << 1) ^ np.uint64(number >> 63)
    while rest >= np.uint64(128):
        out[at] = np.uint8((rest & np.uint64(127)) | np.uint64(128))
        rest >>= np.uint64(7)
        at += 1
    out[at] = np.uint8(rest)
    return at + 1


@inlined
def _put_null(out: Bytes, at: int) -> int:
    """`null` in JSON."""
    out[at] = _N
    out[at + 1] = _U
    out[at + 2] = _L
    out[at + 3] = _L
    return at + 4


@inlined
def _put_integer(out: Bytes, at: int, number: int, digits: Bytes, binary: bool, optional: bool) -> int:
    is_null = optional and number < 0
    if not binary:
        return _put_null(out, at) if is_null else _put(out, at, digits, write_digits(number, digits), DIGITS)
    if optional:
        out[at] = _NULL_BRANCH if is_null else _VALUE_BRANCH
        at += 1
    return at if is_null else _put_varint(out, at, number)


@inlined
def _put_id(out: Bytes, at: int, ids: Bytes, begin: int, end: int, binary: bool) -> int:
    if not binary:
        return _put_escaped(out, at, ids, begin, end)
    return _put(out, _put_varint(out, at, end - begin), ids, begin, end)


@inlined
def _end_of_double(doubles: Bytes, begin: int, binary: bool) -> int:
    """Where the value that begins there ends."""
    if binary:
        return begin + DOUBLE_BYTES
    end = begin
    while doubles[end] not in (_COMMA, _BRACKET):
        end += 1
    return end


@compiled
def write_summaries(
    binary: bool,
    steps: Ints,
    text: Bytes,
    edges: Ints,
    reason_texts: int,
    ids: Bytes,
    id_sizes: Ints,
    longs: Ints,
    doubles: Bytes,
    reasons: Ints,
    digits: Bytes,
    out: Bytes,
    sizes: Ints,
) -> int:
    """Write all summaries one behind the other, and the size of each; return their sum.

    Args:
        binary: Avro, else JSON.
        steps: pairs of what to write, and which: a text, or a field of `longs`.
        text: the texts, of which number i is that from `edges[i]` to `edges[i + 1]`.
        edges: of the texts.
        reason_texts: the number of the first reason's text.
        ids: the streams' ids one behind the other.
        id_sizes: in bytes.
        longs: by field and summary.
        doubles: in the order of writing; eight bytes each, or as text with one byte behind each.
        reasons: codes.
        digits: room for the digits of a number.
        out: room for all.
        sizes: of the summaries.
    """
    at = id_begin = double_at = 0
    for row in range(len(id_sizes)):
        begin, id_end = at, id_begin + id_sizes[row]
        for step in range(len(steps)):
            what, which = steps[step, 0], steps[step, 1]
            if what in (TEXT, REASON):
                number = which if what == TEXT else reason_texts + reasons[row]
                at = _put(out, at, text, edges[number], edges[number + 1])
            elif what == DOUBLE:
                end = _end_of_double(doubles, double_at, binary)
                at = _put(out, at, doubles, double_at, end)
                double_at = end if binary else end + 1
            elif what == STREAM_ID:
                at = _put_id(out, at, ids, id_begin, id_end, binary)
            else:
                at = _put_integer(out, at, longs[which, row], digits, binary, what == OPTIONAL_LONG)
        sizes[row] = at - begin
        id_begin = id_end
    return at
