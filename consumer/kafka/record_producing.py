"""The kernel that hands records in columns to the C library.

A record is an array of librdkafka's public `rd_kafka_vu_t`, in the order below: 72 bytes each, its kind (int32) and, 8
bytes behind it, its value.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from consumer.kafka.c_functions import external, producing_functions
from consumer.runtime.digits import DIGITS, write_digits
from consumer.runtime.jit import compiled, inlined

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

VU_WORDS = 9
TOPIC, PARTITION, FLAGS, VALUE, KEY, HEADERS, VUS = range(7)
"""Their order; the last is their number."""
VU_KINDS = (2, 3, 7, 4, 5, 10)
"""RD_KAFKA_VTYPE_*, in that order."""
COPY = 0x2
"""RD_KAFKA_MSG_F_COPY."""

ROW, KEY_AT, VALUE_AT, OWN_AT, CURSOR = range(5)
"""Where the next record is: its row, and its first byte in the texts; the last is their number."""


def _external(name: str, result: Any, *arguments: Any) -> Any:
    return external(producing_functions, name, result, *arguments)


_produceva = _external("rd_kafka_produceva", types.intp, types.intp, types.intp, types.intp)
_headers_new = _external("rd_kafka_headers_new", types.intp, types.intp)
_header_add = _external("rd_kafka_header_add", types.int32, types.intp, types.intp, types.intp, types.intp, types.intp)
_headers_destroy = _external("rd_kafka_headers_destroy", types.void, types.intp)
_error_code = _external("rd_kafka_error_code", types.int32, types.intp)
_error_destroy = _external("rd_kafka_error_destroy", types.void, types.intp)


@inlined
def _add_fields(headers: int, address: int, sizes: Ints, begin: int, end: int) -> int:
    """Add headers whose names and values are one behind the other; return the address behind them."""
    for field in range(begin, end, 2):
        value = address + sizes[field]
        if sizes[field + 1] < 0:
            _header_add(headers, address, sizes[field], 0, 0)
            address = value
        else:
            _header_add(headers, address, sizes[field], value, sizes[field + 1])
            address = value + sizes[field + 1]
    return address


@compiled
def put_records(
    client: int,
    vus: Ints,
    cursor: Ints,
    end: int,
    key_text: Bytes,
    key_sizes: Ints,
    value_text: Bytes,
    value_sizes: Ints,
    own_text: Bytes,
    own_sizes: Ints,
    own_edges: Ints,
    shared_text: Bytes,
    shared_sizes: Ints,
    shared_edges: Ints,
    shared_starts: Ints,
    kinds: Ints,
    name_text: Bytes,
    name_sizes: Ints,
    numbers: Ints,
    digits: Bytes,
) -> int:
    """Hand over the records from the cursor to `end`, and move the cursor; the library copies them.

    The arguments are those of `RecordColumns`. Returns the code of the error that the record at the cursor got, or 0.
    """
    row = cursor[ROW]
    key = key_text.ctypes.data + cursor[KEY_AT]
    value = value_text.ctypes.data + cursor[VALUE_AT]
    own = own_text.ctypes.data + cursor[OWN_AT]
    code = 0
    while row < end:
        key_size = max(key_sizes[row], 0)
        value_size = max(value_sizes[row], 0)
        vus[KEY * VU_WORDS + 1] = key if key_sizes[row] >= 0 else 0
        vus[KEY * VU_WORDS + 2] = key_size
        vus[VALUE * VU_WORDS + 1] = value if value_sizes[row] >= 0 else 0
        vus[VALUE * VU_WORDS + 2] = value_size
        kind = kinds[row]
        fields = own_edges[row + 1] - own_edges[row] + shared_edges[kind + 1] - shared_edges[kind]
        count = fields // 2 + len(name_sizes)
        headers = 0
        behind = own
        if count > 0:
            headers = _headers_new(count)
            behind = _add_fields(headers, own, own_sizes, own_edges[row], own_edges[row + 1])
            shared = shared_text.ctypes.data + shared_starts[kind]
            _add_fields(headers, shared, shared_sizes, shared_edges[kind], shared_edges[kind + 1])
            name = name_text.ctypes.data
            for i in range(len(name_sizes)):
                at = write_digits(numbers[i, row], digits)
                _header_add(headers, name, name_sizes[i], digits.ctypes.data + at, DIGITS - at)
                name += name_sizes[i]
            vus[HEADERS * VU_WORDS + 1] = headers
        error = _produceva(client, vus.ctypes.data, VUS if count > 0 else HEADERS)
        if error != 0:
            code = _error_code(error)
            _error_destroy(error)
            if headers != 0:  # ours, since the record was not taken
                _headers_destroy(headers)
            break
        key += key_size
        value += value_size
        own = behind
        row += 1
    cursor[ROW] = row
    cursor[KEY_AT] = key - key_text.ctypes.data
    cursor[VALUE_AT] = value - value_text.ctypes.data
    cursor[OWN_AT] = own - own_text.ctypes.data
    return code
