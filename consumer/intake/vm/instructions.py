"""The instructions that a writer schema is compiled to, and many compiled schemas joined into one.

A program reads one record from its first byte to its last. Each row of `instructions` is one instruction. Its operation
may first read a number as Avro writes it (zigzag, seven bits a byte); the result is stored for the next instructions.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

# Operations that read a number first.
SKIP_NUMBER = 0
SKIP_SIZED = 1
"""Skip that number of bytes."""
INTEGER = 2
TEXT = 3
"""Read that number of bytes."""
INDEX = 4
"""Read the index of an enum symbol, which must be below A."""
UNION = 5
"""Go to `jumps[B + number]`; the number must be below A."""
BLOCK = 6
"""Begin a block of items at loop depth A, or leave the array or map for B."""
LAST_WITH_NUMBER = BLOCK

# Other operations.
SKIP_BYTES = 7
"""Skip A bytes."""
FLOAT = 8
DOUBLE = 9
RAW = 10
"""Take A bytes."""
NEXT_ITEM = 11
"""At loop depth A: go to B for one more item, or back to the head of the block, which is two rows before B."""
GO = 12
"""Go to A."""
STORE_ID = 13
"""Keep the text as field A; as 36 characters of a UUID where B is set."""
STORE_NUMBER = 14
"""Convert the number, in the way B, and keep it as field A."""
KIND = 15
"""The event is of kind A."""
KIND_OF_INDEX = 16
"""The event is of kind `kinds[A + index]`."""
KIND_OF_TEXT = 17
"""The event's kind is that of its name among the B rows of `names` from row A."""
END = 18

# Conversions.
EXACT = 0
"""`floor(number * TIMES / DIVISOR)`, for a number from LOW to HIGH."""
SCALED_INTEGER = 1
"""`round(number * scale)`, within LOW to HIGH."""
SCALED_FLOAT = 2

# Columns of the code.
OP, A, B, LOW, HIGH, TIMES, DIVISOR = range(7)
CODE_COLUMNS = 7

MAX_LOOP_DEPTH = 16
"""Limit of nested arrays and maps."""

UUID_TEXT_BYTES = 36
SCRATCH_BYTES = 2 * UUID_TEXT_BYTES
"""Scratch space per record behind the payloads, if ids are binary UUIDs."""


class ProgramCode(NamedTuple):
    """Programs in one set of arrays; a program is identified by its first row."""

    instructions: npt.NDArray[np.int64]
    """One row per instruction, see the columns above."""
    scales: npt.NDArray[np.float64]
    """One per instruction."""
    jumps: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.int64]
    names: npt.NDArray[np.int64]
    """Start and size in `name_text`, and kind, of a name of an event type."""
    name_text: npt.NDArray[np.uint8]


class Program(NamedTuple):
    """One compiled writer schema."""

    name: str
    program_code: ProgramCode
    needs_scratch: bool


def link(programs: Sequence[Program]) -> tuple[ProgramCode, list[int]]:
    """Join programs; return the joined code and the first row of each."""
    entries: list[int] = []
    parts: list[ProgramCode] = []
    at = jumps_at = kinds_at = names_at = text_at = 0
    for program in programs:
        program_code = program.program_code
        entries.append(at)
        parts.append(_moved(program_code, at, jumps_at, kinds_at, names_at, text_at))
        at += len(program_code.instructions)
        jumps_at += len(program_code.jumps)
        kinds_at += len(program_code.kinds)
        names_at += len(program_code.names)
        text_at += len(program_code.name_text)
    if not parts:
        return empty_program_code(), entries
    return ProgramCode(*(np.ascontiguousarray(np.concatenate(column)) for column in zip(*parts, strict=True))), entries


def empty_program_code() -> ProgramCode:
    """No programs."""
    return ProgramCode(
        np.zeros((0, CODE_COLUMNS), np.int64),
        np.zeros(0, np.float64),
        np.zeros(0, np.int64),
        np.zeros(0, np.int64),
        np.zeros((0, 3), np.int64),
        np.zeros(0, np.uint8),
    )


def _moved(
    program_code: ProgramCode, at: int, jumps_at: int, kinds_at: int, names_at: int, text_at: int
) -> ProgramCode:
    instructions = program_code.instructions.copy()
    op = instructions[:, OP]
    instructions[op == GO, A] += at
    instructions[(op == BLOCK) | (op == NEXT_ITEM), B] += at
    instructions[op == UNION, B] += jumps_at
    instructions[op == KIND_OF_INDEX, A] += kinds_at
    instructions[op == KIND_OF_TEXT, A] += names_at
    names = program_code.names.copy()
    names[:, 0] += text_at
    return program_code._replace(instructions=instructions, jumps=program_code.jumps + at, names=names)
