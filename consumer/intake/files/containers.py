"""Read Avro object containers: fastavro reads the blocks, the compiled program decodes their records."""

from collections.abc import Iterator
from typing import Any, BinaryIO

import fastavro
import numpy as np

from consumer.errors import ViewerConsumerError
from consumer.intake.compiler.mapping import mapping_from
from consumer.intake.compiler.program import compile_program
from consumer.intake.compiler.schema_json import SchemaRefused, parse_schema_json
from consumer.intake.files.json_lines import Fault, FileBatch
from consumer.intake.intake import field_at_fault
from consumer.intake.rejects import IGNORED, Reject
from consumer.intake.vm.columns import decode_block
from consumer.intake.vm.instructions import Program
from consumer.settings.model import InputSettings
from consumer.windows.events import EventColumns

MAGIC = b"Obj\x01"
"""The magic bytes of a container."""


class ContainerError(ViewerConsumerError):
    """A container is cut off or damaged, or its schema cannot be mapped to events."""


def read_container(file: BinaryIO, name: str, source: InputSettings) -> Iterator[FileBatch]:
    """The records of a container, one batch per block; `name` is for messages.

    Raises:
        ContainerError: it cannot be read to its end.
    """
    blocks = _opened(file, name)
    program = _program(blocks.writer_schema, name, source)
    done = 0
    for count, data in _blocks(blocks, file, name):
        try:
            events = decode_block(program, data, count)
        except ValueError as error:
            raise ContainerError(f"{name}: the container is damaged: {error}") from None
        yield FileBatch(events, _faults(events, done))
        done += count


def _opened(file: BinaryIO, name: str) -> Any:
    if not file.seekable():
        raise ContainerError(f"{name}: an Avro container cannot be read from a pipe; give it as a file")
    try:
        return fastavro.block_reader(file)
    except Exception as error:  # noqa: BLE001  # whatever fastavro stumbles over, it is the file's fault
        raise ContainerError(f"{name}: the container cannot be opened: {error}") from None


def _program(schema: object, name: str, source: InputSettings) -> Program:
    try:
        program = compile_program(parse_schema_json(schema), mapping_from(source))
    except SchemaRefused as refusal:
        raise ContainerError(f"{name}: {refusal}") from None
    if program.needs_keys:
        raise ContainerError(f'{name}: records of a file have no keys, so no id can be "@key"; set input.fields for it')
    return program


def _blocks(blocks: Any, file: BinaryIO, name: str) -> Iterator[tuple[int, bytes]]:
    """Count and bytes of each block; a truncated end is an error, which fastavro does not report."""
    end = file.tell()
    while True:
        try:
            block = next(blocks)
            count, data = int(block.num_records), block.bytes_.getvalue()
        except StopIteration:
            break
        except Exception as error:  # noqa: BLE001  # as above; codecs have errors of their own
            raise ContainerError(f"{name}: the container is cut off or damaged behind byte {end}: {error}") from None
        # An event takes more than a byte, so a larger count is damage; no memory must be allocated for it.
        if not 0 <= count <= len(data):
            raise ContainerError(f"{name}: the container is damaged: {count} records in {len(data)} bytes")
        yield count, data
        end = block.offset + block.size
    if file.seek(0, 2) != end:
        raise ContainerError(f"{name}: the container is cut off behind byte {end}")


def _faults(events: EventColumns, done: int) -> list[Fault]:
    rows = np.flatnonzero((events.reject != 0) & (events.reject != IGNORED)).tolist()
    reasons = [Reject(int(events.reject[row])) for row in rows]
    return [
        Fault(done + row + 1, reason, reason.sentence_about(field_at_fault(events, row)))
        for row, reason in zip(rows, reasons, strict=True)
    ]
