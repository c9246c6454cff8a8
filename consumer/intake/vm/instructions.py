"""The instructions that a writer schema is compiled to, and many compiled schemas put into one machine.

A program walks one record from its first byte to its last. An instruction is a row of `code`; its operation may first
read a number as Avro writes it (zigzag, seven bits a byte), and leaves what it read where the next ones find it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

# Operations that begin with a number.
SKIP_NUMBER = 0
SKIP_SIZED = 1
"""Skip as many bytes as the number says."""
INTEGER = 2
TEXT = 3
"""Take as many bytes as the number says."""
INDEX = 4
"""Take the index of an enum symbol, which must be below A."""
UNION = 5
"""Go to `jumps[B + number]`; the number must be below A."""
BLOCK = 6
"""Begin a block of items at loop depth A, or leave the array or map for B."""
LAST_WITH_NUMBER = BLOCK

# Operations that don't.
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

# Ways of conversion.
EXACT = 0
"""`floor(number * TIMES / DIVISOR)`, for a number from LOW to HIGH."""
SCALED_INTEGER = 1
"""`round(number * scale)`, within LOW to HIGH."""
SCALED_FLOAT = 2

# Columns of the code.
OP, A, B, LOW, HIGH, TIMES, DIVISOR = range(7)
CODE_COLUMNS = 7

MAX_LOOP_DEPTH = 16
"""Arrays and maps inside each other."""

UUID_TEXT_BYTES = 36
SCRATCH_BYTES = 2 * UUID_TEXT_BYTES
"""Room that a record needs behind the payloads where its ids are binary UUIDs."""


class Machine(NamedTuple):
    """Programs in one set of arrays; a program is known by the row where it begins."""

    code: npt.NDArray[np.int64]
    """One row an instruction, see the columns above."""
    scales: npt.NDArray[np.float64]
    """One an instruction."""
    jumps: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.int64]
    names: npt.NDArray[np.int64]
    """Start and size in `name_text`, and kind, of a name of an event type."""
    name_text: npt.NDArray[np.uint8]


class Program(NamedTuple):
    """One compiled writer schema."""

    name: str
    machine: Machine
    needs_scratch: bool


def link(programs: Sequence[Program]) -> tuple[Machine, list[int]]:
    """One machine that holds all programs, and the entry of each."""
    entries: list[int] = []
    parts: list[Machine] = []
    at = jumps_at = kinds_at = names_at = text_at = 0
    for program in programs:
        machine = program.machine
        entries.append(at)
        parts.append(_moved(machine, at, jumps_at, kinds_at, names_at, text_at))
        at += len(machine.code)
        jumps_at += len(machine.jumps)
        kinds_at += len(machine.kinds)
        names_at += len(machine.names)
        text_at += len(machine.name_text)
    if not parts:
        return empty_machine(), entries
    return Machine(*(np.ascontiguousarray(np.concatenate(column)) for column in zip(*parts, strict=True))), entries


def empty_machine() -> Machine:
    """A machine without programs."""
    return Machine(
        np.zeros((0, CODE_COLUMNS), np.int64),
        np.zeros(0, np.float64),
        np.zeros(0, np.int64),
        np.zeros(0, np.int64),
        np.zeros((0, 3), np.int64),
        np.zeros(0, np.uint8),
    )


def _moved(machine: Machine, at: int, jumps_at: int, kinds_at: int, names_at: int, text_at: int) -> Machine:
    code = machine.code.copy()
    op = code[:, OP]
    code[op == GO, A] += at
    code[(op == BLOCK) | (op == NEXT_ITEM), B] += at
    code[op == UNION, B] += jumps_at
    code[op == KIND_OF_INDEX, A] += kinds_at
    code[op == KIND_OF_TEXT, A] += names_at
    names = machine.names.copy()
    names[:, 0] += text_at
    return machine._replace(code=code, jumps=machine.jumps + at, names=names)
