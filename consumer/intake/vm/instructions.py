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
"""Keep the text as field A."""
STORE_NUMBER = 14
"""Convert the number, in the way B, and keep it as field A."""
KIND = 15
"""The event is of kind A."""
KIND_OF_INDEX = 16
"""The event is of kind `kinds[A + index]`."""
KIND_OF_TEXT = 17
"""The event's kind is that of its name among the B rows of `names` from row A."""
END = 18

# Operations of programs that choose, join or convert what ids and times are made of.
STORE_PART = 19
"""Keep what was read in slot A, in the form B; a literal's row in `names` is LOW + index."""
HOLD = 20
"""Move field B to slot A."""
PICK = 21
"""Field A is that of the first slot that holds one, among LOW from B."""
MAKE_ID = 22
"""Field A is the text of its parts, which are the B rows that follow."""
PART = 23
"""Data: the first slot that holds something among B from A, else the literal in row LOW if it is at least 0."""
KEY = 24
"""Keep the record's key in slot A."""
IF_KEY = 25
"""Go to B unless the text is the literal in row A."""
CLEAR_SLOTS = 26
"""B slots from A hold nothing."""
CLEAR_FIELD = 27
"""Field A is missing."""
STORE_TIME = 28
"""Read the text as a time, which is UTC without an offset where A is set, and keep it as the timestamp."""
KIND_OF_NUMBER = 29
"""The event's kind is that of its number among the B pairs in `kinds` from A."""
KIND_OF_BOOLEAN = 30
"""The event's kind is `kinds[A]`, or the next if the byte is not 0."""

# Forms of slots. Those of ids are turned into text when all of a record is read.
EMPTY, HELD, PLAIN_TEXT, DECIMAL, UUID, FIXED, LITERAL, BAD_KEY = range(8)

SLOTS = 256

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

SCRATCH_BYTES = 64
"""Scratch space per record behind the payloads to begin with, if ids are made in it; more is added where needed."""


class ProgramCode(NamedTuple):
    """Programs in one set of arrays; a program is identified by its entry."""

    instructions: npt.NDArray[np.int64]
    """One row per instruction, see the columns above."""
    scales: npt.NDArray[np.float64]
    """One per instruction."""
    jumps: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.int64]
    names: npt.NDArray[np.int64]
    """Start and size in `name_text`, and kind, of a name of an event type; then literals, of kind 0."""
    name_text: npt.NDArray[np.uint8]


class Program(NamedTuple):
    """One compiled writer schema."""

    name: str
    program_code: ProgramCode
    entry: int = 0
    """The first row to be executed."""
    needs_scratch: bool = False
    """Whether it makes texts of ids."""
    needs_keys: bool = False
    """Whether it reads the records' keys."""

    @property
    def makes_more(self) -> bool:
        """Whether it has operations above `END`."""
        return bool((self.program_code.instructions[:, OP] > END).any())


def link(programs: Sequence[Program]) -> tuple[ProgramCode, list[int]]:
    """Join programs; return the joined code and the entry of each."""
    entries: list[int] = []
    parts: list[ProgramCode] = []
    at = jumps_at = kinds_at = names_at = text_at = 0
    for program in programs:
        program_code = program.program_code
        entries.append(at + program.entry)
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
    instructions[op == IF_KEY, B] += at
    for by_kind in (KIND_OF_INDEX, KIND_OF_NUMBER, KIND_OF_BOOLEAN):
        instructions[op == by_kind, A] += kinds_at
    for by_name in (KIND_OF_TEXT, IF_KEY):
        instructions[op == by_name, A] += names_at
    is_literal = ((op == STORE_PART) & (instructions[:, B] == LITERAL)) | ((op == PART) & (instructions[:, LOW] >= 0))
    instructions[is_literal, LOW] += names_at
    names = program_code.names.copy()
    names[:, 0] += text_at
    return program_code._replace(instructions=instructions, jumps=program_code.jumps + at, names=names)
