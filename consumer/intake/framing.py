"""Read the framing of payloads: the schema reference and the start of the payload.

A schema has a *reference*, one 64-bit number: a registry id, the bits of a fingerprint, or for a GUID a number above
all ids that the schema cache assigns. Raw records have reference 0.
"""

from uuid import UUID

import numpy as np
import numpy.typing as npt

from consumer.intake.rejects import WAITING, Reject
from consumer.runtime.jit import compiled, inlined

CONFLUENT, SINGLE_OBJECT, RAW_PAYLOAD, APICURIO = range(4)
FORMATS = {"confluent": CONFLUENT, "apicurio": APICURIO, "single-object": SINGLE_OBJECT, "raw": RAW_PAYLOAD}

NAMED_BY_ID = frozenset({"confluent", "apicurio"})
"""Formats whose records name their schema by the id of a registry."""

UNRESOLVED = -1
REFUSED = -2
UNKNOWN = -3
"""Entries of schemas without a program."""

SCHEMA_HEADER = "__value_schema_id"
"""Header with 1 and a schema GUID, or 0 and a registry id; the payload then has no prefix."""

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
HeaderReference = int | UUID

_CONFLUENT_SIZE = 5
_APICURIO_SIZE = 9
_SINGLE_OBJECT_SIZE = 10
_GUID_HEADER_SIZE = 17
_ID_HEADER_SIZE = 5

_MAX_ID = 2**31 - 1
"""No registry has larger ids, and with eight bytes they would be taken for GUIDs."""

_NULL_VALUE = int(Reject.NULL_VALUE)
_OVERSIZED = int(Reject.OVERSIZED)
_BAD_FRAMING = int(Reject.BAD_FRAMING)
_UNKNOWN_SCHEMA = int(Reject.UNKNOWN_SCHEMA)
_SCHEMA_REFUSED = int(Reject.SCHEMA_REFUSED)


@inlined
def _number_at(text: Bytes, at: int) -> int:
    """The number in four bytes."""
    number = 0
    for i in range(4):
        number = (number << 8) | int(text[at + i])
    return number


@compiled
def read_frames(
    text: Bytes, sizes: Ints, framing: int, max_bytes: int, begins: Ints, ends: Ints, references: Ints, reject: Bytes
) -> None:
    """Find each record's payload and reference; `sizes` are those of the records, back to back in `text`."""
    at = 0
    for row in range(len(sizes)):
        size = sizes[row]
        begin = at
        at += max(size, 0)
        ends[row] = at
        references[row] = 0
        reject[row] = 0
        begins[row] = begin
        if size < 0:
            reject[row] = _NULL_VALUE
        elif size > max_bytes:
            reject[row] = _OVERSIZED
        elif framing == CONFLUENT:
            if size < _CONFLUENT_SIZE or text[begin] != 0:
                reject[row] = _BAD_FRAMING
                continue
            references[row] = _number_at(text, begin + 1)
            begins[row] = begin + _CONFLUENT_SIZE
        elif framing == APICURIO:
            if size < _APICURIO_SIZE or text[begin] != 0 or _number_at(text, begin + 1) != 0:
                reject[row] = _BAD_FRAMING
                continue
            reference = _number_at(text, begin + 5)
            if reference > _MAX_ID:
                reject[row] = _BAD_FRAMING
                continue
            references[row] = reference
            begins[row] = begin + _APICURIO_SIZE
        elif framing == SINGLE_OBJECT:
            if size < _SINGLE_OBJECT_SIZE or text[begin] != 0xC3 or text[begin + 1] != 1:
                reject[row] = _BAD_FRAMING
                continue
            bits = np.uint64(0)
            for i in range(8):
                bits |= np.uint64(text[begin + 2 + i]) << np.uint64(8 * i)
            references[row] = np.int64(bits)
            begins[row] = begin + _SINGLE_OBJECT_SIZE


@compiled
def find_programs(
    references: Ints, known: Ints, known_entries: Ints, fallback: int, entries: Ints, reject: Bytes
) -> int:
    """Find the program of every row to be decoded; return the number of rows with an unknown schema.

    `known` is sorted; other references have the entry `fallback`. A row without a program gets its reason, or WAITING.
    """
    unresolved = 0
    last_reference = 0
    entry = fallback
    fresh = True
    for row in range(len(references)):
        if reject[row] != 0 and reject[row] != WAITING:
            continue
        reference = references[row]
        if fresh or reference != last_reference:
            fresh = False
            last_reference = reference
            low = 0
            high = len(known)
            while low < high:
                middle = (low + high) // 2
                if known[middle] < reference:
                    low = middle + 1
                else:
                    high = middle
            found = low < len(known) and known[low] == reference
            entry = known_entries[low] if found else fallback
        entries[row] = entry
        if entry >= 0:
            reject[row] = 0
        elif entry == REFUSED:
            reject[row] = _SCHEMA_REFUSED
        elif entry == UNKNOWN:
            reject[row] = _UNKNOWN_SCHEMA
        else:
            reject[row] = WAITING
            unresolved += 1
    return unresolved


def header_reference(value: bytes) -> HeaderReference:
    """The schema named by the content of `SCHEMA_HEADER`.

    Raises:
        ValueError: the header is malformed.
    """
    if len(value) == _GUID_HEADER_SIZE and value[0] == 1:
        return UUID(bytes=value[1:])
    if len(value) == _ID_HEADER_SIZE and value[0] == 0:
        return int.from_bytes(value[1:], "big")
    raise ValueError(f"header {SCHEMA_HEADER} holds neither a GUID nor an id")
