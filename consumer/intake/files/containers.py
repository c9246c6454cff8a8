"""Read Avro object containers, forward only, so that they may come from a pipe or out of a packed file."""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

from consumer.errors import ViewerConsumerError
from consumer.intake.compiler.mapping import mapping_from
from consumer.intake.compiler.program import compile_program
from consumer.intake.compiler.schema_json import ParsedSchema, SchemaRefused, parse_schema_text
from consumer.intake.files.codecs import CODECS, CodecError, unpack_block
from consumer.intake.files.json_lines import Fault, FileBatch
from consumer.intake.intake import field_at_fault
from consumer.intake.rejects import IGNORED, Reject
from consumer.intake.vm.columns import decode_block
from consumer.intake.vm.instructions import Program
from consumer.settings.model import InputSettings
from consumer.windows.events import EventColumns

MAGIC = b"Obj\x01"
"""The magic bytes of a container."""

MAX_BLOCK_BYTES = 2**26
"""Limit of a block, packed and unpacked: what is in memory at a time. Writers' blocks have 16 KB to some megabytes."""

MAX_HEADER_BYTES = 2**22
"""Limit of a name or value in the header; the largest is the schema."""

_MAX_HEADER_ENTRIES = 1_000
_SYNC_SIZE = 16
_READ_AT_ONCE = 2**20


class ContainerError(ViewerConsumerError):
    """A container is cut off or damaged, or its schema cannot be mapped to events."""


class _Header(NamedTuple):
    schema: str
    codec: str
    sync: bytes


def read_container(file: BinaryIO, name: str, source: InputSettings) -> Iterator[FileBatch]:
    """The records of a container, one batch per block; `name` is for messages.

    Raises:
        ContainerError: it cannot be read to its end.
    """
    reader = _Reader(file, name)
    header = _header(reader)
    program = _program(header.schema, name, source)
    done = 0
    for count, data in _blocks(reader, header):
        try:
            events = decode_block(program, data, count)
        except ValueError as error:
            raise ContainerError(f"{name}: the container is damaged: {error}") from None
        yield FileBatch(events, _faults(events, done))
        done += count


def container_schema(file: BinaryIO, name: str) -> ParsedSchema:
    """The writer schema of a container; `name` is for messages.

    Raises:
        ContainerError: its header cannot be read, or has no Avro schema.
    """
    return _schema(_header(_Reader(file, name)).schema, name)


class _Reader:
    """Reads the parts of a container; everything that is missing or too large is an error."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self.name = name
        self.end = 0
        """Bytes read."""
        self.block_begin = 0

    def at_end(self) -> bool:
        """Whether nothing follows; looks ahead."""
        return not self._file.peek(1)  # type: ignore[attr-defined]  # of buffered readers

    def some(self, size: int) -> bytes:
        """So many bytes; memory is taken only as they come."""
        parts = []
        left = size
        while left:
            part = self._file.read(min(left, _READ_AT_ONCE))
            if not part:
                raise self.damaged("is cut off or damaged")
            parts.append(part)
            left -= len(part)
        self.end += size
        return b"".join(parts)

    def number(self) -> int:
        """A long: zigzag, seven bits per byte."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.some(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return (value >> 1) ^ -(value & 1)
        raise self.damaged("is damaged: a number has more than 10 bytes")

    def sized(self, most_bytes: int, what: str) -> bytes:
        """Bytes behind their length."""
        size = self.number()
        if not 0 <= size <= most_bytes:
            raise self.damaged(f"is damaged, or {what} is too large: {size:,} bytes; at most {most_bytes:,} are read")
        return self.some(size)

    def damaged(self, what: str) -> ContainerError:
        """The error for the current block."""
        return ContainerError(f"{self.name}: the container {what} behind byte {self.block_begin}")


def _header(reader: _Reader) -> _Header:
    if reader.some(len(MAGIC)) != MAGIC:
        raise reader.damaged("is damaged: it does not begin as one")
    found: dict[bytes, bytes] = {}
    while count := reader.number():
        if count < 0:
            reader.number()  # the size of the entries, for those who skip them
        if abs(count) + len(found) > _MAX_HEADER_ENTRIES:
            raise reader.damaged("is damaged: its header has too many entries")
        for _ in range(abs(count)):
            key = reader.sized(MAX_HEADER_BYTES, "a name in its header")
            found[key] = reader.sized(MAX_HEADER_BYTES, "a value in its header")
    sync = reader.some(_SYNC_SIZE)
    codec = found.get(b"avro.codec", b"null").decode("utf-8", "replace")
    if codec not in CODECS:
        raise ContainerError(
            f"{reader.name}: the container is packed with {codec[:50]!r}; read are {', '.join(CODECS)}: write it anew"
        )
    if b"avro.schema" not in found:
        raise reader.damaged("is damaged: its header has no schema")
    return _Header(found[b"avro.schema"].decode("utf-8", "replace"), codec, sync)


def _schema(text: str, name: str) -> ParsedSchema:
    try:
        return parse_schema_text(text)
    except SchemaRefused as refusal:
        raise ContainerError(f"{name}: {refusal}") from None


def _program(schema: str, name: str, source: InputSettings) -> Program:
    try:
        program = compile_program(_schema(schema, name), mapping_from(source))
    except SchemaRefused as refusal:
        raise ContainerError(f"{name}: {refusal}") from None
    if program.needs_keys:
        raise ContainerError(f'{name}: records of a file have no keys, so no id can be "@key"; set input.fields for it')
    return program


def _blocks(reader: _Reader, header: _Header) -> Iterator[tuple[int, bytes]]:
    """Count and bytes of each block."""
    while True:
        reader.block_begin = reader.end
        if reader.at_end():
            return
        count = reader.number()
        packed = reader.sized(MAX_BLOCK_BYTES, "a block")
        if reader.some(_SYNC_SIZE) != header.sync:
            raise reader.damaged("is damaged: a block does not end with the marker of the file")
        try:
            data = unpack_block(header.codec, packed, MAX_BLOCK_BYTES)
        except CodecError as error:
            raise reader.damaged(f"is damaged: a block cannot be unpacked with {header.codec} ({error})") from None
        # An event takes more than a byte, so a larger count is damage; no memory must be allocated for it.
        if not 0 <= count <= len(data):
            raise reader.damaged(f"is damaged: {count} records in {len(data)} bytes")
        yield count, data


def _faults(events: EventColumns, done: int) -> list[Fault]:
    rows = np.flatnonzero((events.reject != 0) & (events.reject != IGNORED)).tolist()
    reasons = [Reject(int(events.reject[row])) for row in rows]
    return [
        Fault(done + row + 1, reason, reason.sentence_about(field_at_fault(events, row)))
        for row, reason in zip(rows, reasons, strict=True)
    ]
