"""Kernels that read messages of the C library into columns.

They take the addresses of messages that the caller holds. A message is librdkafka's public structure:

```
 bytes   0 err (int32)   8 topic   16 partition (int32)   24 payload   32 its size   40 key   48 its size   56 offset
```
A message with an error may have no topic, and its payload is a text: such messages are set apart first.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from consumer.kafka.c_functions import external, reading_functions
from consumer.runtime.jit import compiled, inlined
from consumer.runtime.joined import NULL_SIZE
from consumer.runtime.memory import copy_bytes, int32_at, int64_at, uint8_at

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

_TOPIC = 8
_PARTITION = 16
PAYLOAD = 24
KEY = 40
"""Where a pointer is; its size follows."""
_SIZE = 8
_OFFSET = 56

GOOD, ERRORS, TEXT_BYTES = range(3)
"""What `set_errors_apart` counts."""


def _external(name: str, result: Any, *arguments: Any) -> Any:
    return external(reading_functions, name, result, *arguments)


_message_timestamp = _external("rd_kafka_message_timestamp", types.int64, types.intp, types.intp)
_message_destroy = _external("rd_kafka_message_destroy", types.void, types.intp)
_message_headers = _external("rd_kafka_message_headers", types.int32, types.intp, types.intp)
_header_get = _external("rd_kafka_header_get", types.int32, types.intp, types.intp, types.intp, types.intp, types.intp)
_header_get_all = _external(
    "rd_kafka_header_get_all", types.int32, types.intp, types.intp, types.intp, types.intp, types.intp
)


@compiled
def set_errors_apart(messages: Ints, count: int, errors: Ints, found: Ints) -> None:
    """Move the addresses of messages with an error from `messages` to `errors`, and count as `GOOD` … say."""
    good = 0
    bad = 0
    size = 0
    for row in range(count):
        address = messages[row]
        if int32_at(address) != 0:
            errors[bad] = address
            bad += 1
            continue
        messages[good] = address
        good += 1
        if int64_at(address + PAYLOAD) != 0:
            size += int64_at(address + PAYLOAD + _SIZE)
    found[GOOD] = good
    found[ERRORS] = bad
    found[TEXT_BYTES] = size


@compiled
def read_columns(
    messages: Ints,
    count: int,
    text: Bytes,
    sizes: Ints,
    offsets: Ints,
    timestamps_ms: Ints,
    topics: Ints,
    partitions: Ints,
    begins: Ints,
) -> int:
    """Read messages without errors into columns; `text` has room for their payloads.

    Returns the number of runs. Of each run of one partition: the address of its topic, its partition, its first row.
    """
    at = 0
    runs = 0
    for row in range(count):
        address = messages[row]
        topic = int64_at(address + _TOPIC)
        partition = int32_at(address + _PARTITION)
        payload = int64_at(address + PAYLOAD)
        if payload == 0:
            sizes[row] = NULL_SIZE
        else:
            size = int64_at(address + PAYLOAD + _SIZE)
            copy_bytes(text, at, payload, size)
            sizes[row] = size
            at += size
        offsets[row] = int64_at(address + _OFFSET)
        timestamps_ms[row] = _message_timestamp(address, 0)
        if runs == 0 or partition != partitions[runs - 1] or topic != topics[runs - 1]:
            topics[runs] = topic
            partitions[runs] = partition
            begins[runs] = row
            runs += 1
    return runs


@compiled
def destroy_messages(messages: Ints, count: int) -> None:
    """Give messages back to the library; their addresses are not valid any more."""
    for row in range(count):
        _message_destroy(messages[row])


@compiled
def read_field(messages: Ints, rows: Ints, field: int, text: Bytes, sizes: Ints) -> int:
    """Read `PAYLOAD` or `KEY` of some messages; return the bytes needed, of which `text` may not have enough."""
    at = 0
    for i in range(len(rows)):
        content = int64_at(messages[rows[i]] + field)
        if content == 0:
            sizes[i] = NULL_SIZE
            continue
        size = int64_at(messages[rows[i]] + field + _SIZE)
        sizes[i] = size
        if at + size <= len(text):
            copy_bytes(text, at, content, size)
        at += size
    return at


@compiled
def read_header(messages: Ints, count: int, name: int, room: Ints, text: Bytes, sizes: Ints) -> int:
    """Read the first header by a name; return the bytes needed, as `read_field`.

    Args:
        messages: their addresses.
        count: how many.
        name: the address of the name, which ends with a 0.
        room: three numbers of working memory, which do not move.
        text: the values.
        sizes: of the values; `NULL_SIZE` for messages without that header.
    """
    at = 0
    slot = room.ctypes.data
    for row in range(count):
        sizes[row] = NULL_SIZE
        if _message_headers(messages[row], slot) != 0:
            continue
        if _header_get(room[0], 0, name, slot + 8, slot + 16) != 0:
            continue
        size = room[2] if room[1] != 0 else 0
        sizes[row] = size
        if at + size <= len(text):
            copy_bytes(text, at, room[1], size)
        at += size
    return at


@inlined
def _length(address: int) -> int:
    """Of a text that ends with a 0."""
    size = 0
    while uint8_at(address + size) != 0:
        size += 1
    return size


@compiled
def read_headers(messages: Ints, rows: Ints, room: Ints, counts: Ints, text: Bytes, sizes: Ints, needed: Ints) -> None:
    """Read all headers of some messages: name and value of each, one behind the other.

    Args:
        messages: their addresses.
        rows: which of them.
        room: four numbers of working memory, which do not move.
        counts: the number of headers of each row.
        text: names and values.
        sizes: of names and values.
        needed: how much of `text` and `sizes` is needed; if there is not enough, they are not complete.
    """
    at = 0
    entry = 0
    slot = room.ctypes.data
    for i in range(len(rows)):
        counts[i] = 0
        if _message_headers(messages[rows[i]], slot) != 0:
            continue
        while _header_get_all(room[0], counts[i], slot + 8, slot + 16, slot + 24) == 0:
            counts[i] += 1
            name_size = _length(room[1])
            value_size = room[3] if room[2] != 0 else 0
            if entry + 2 <= len(sizes) and at + name_size + value_size <= len(text):
                sizes[entry] = name_size
                copy_bytes(text, at, room[1], name_size)
                sizes[entry + 1] = value_size if room[2] != 0 else NULL_SIZE
                copy_bytes(text, at + name_size, room[2], value_size)
            entry += 2
            at += name_size + value_size
    needed[0] = at
    needed[1] = entry
