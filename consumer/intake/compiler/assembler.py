"""Builds a program row by row; jumps are filled in once their targets are known."""

from collections.abc import Callable, Sequence

import numpy as np

from consumer.intake.compiler.schema_json import SchemaRefused
from consumer.intake.vm.instructions import CODE_COLUMNS, SKIP_BYTES, A, Machine

MAX_INSTRUCTIONS = 8_192
MAX_SYMBOLS = 65_536
"""Of all enums that tell event types: an enum that many branches share counts once for each."""


class Assembler:
    """A program under construction."""

    def __init__(self, type_names: dict[str, int]) -> None:
        self._code: list[list[int]] = []
        self._scales: list[float] = []
        self._jumps: list[int] = []
        self._kinds: list[int] = []
        self._type_names = [(name.encode(), kind) for name, kind in type_names.items()]
        self._label = 0

    def here(self) -> int:
        """Where the next instruction will stand, as a target of jumps."""
        self._label = len(self._code)
        return self._label

    def add(self, op: int, *operands: int, scale: float = 0.0) -> int:
        """Append an instruction; its row.

        Raises:
            SchemaRefused: the program is too long.
        """
        if len(self._code) >= MAX_INSTRUCTIONS:
            raise SchemaRefused(f"it has too many fields and branches: more than {MAX_INSTRUCTIONS} steps a record")
        row = [op, *operands]
        self._code.append(row + [0] * (CODE_COLUMNS - len(row)))
        self._scales.append(scale)
        return len(self._code) - 1

    def skip_bytes(self, count: int) -> None:
        """Skip bytes, in one instruction with those skipped just before."""
        if count == 0:
            return
        if len(self._code) > self._label and self._code[-1][0] == SKIP_BYTES:
            self._code[-1][A] += count
        else:
            self.add(SKIP_BYTES, count)

    def aim(self, row: int, column: int, target: int) -> None:
        """Fill in the target of a jump."""
        self._code[row][column] = target

    def add_jumps(self, count: int) -> int:
        """Room for the branches of a union; where it begins."""
        base = len(self._jumps)
        self._jumps += [0] * count
        return base

    def aim_branch(self, place: int, target: int) -> None:
        """Fill in where a branch begins."""
        self._jumps[place] = target

    def add_kinds(self, symbols: Sequence[str], kind_of: Callable[[str], int]) -> int:
        """The kinds of an enum's symbols; where they begin.

        Raises:
            SchemaRefused: there are too many.
        """
        base = len(self._kinds)
        if base + len(symbols) > MAX_SYMBOLS:
            raise SchemaRefused(f"its event types are enums of more than {MAX_SYMBOLS} symbols together")
        self._kinds += map(kind_of, symbols)
        return base

    @property
    def type_name_count(self) -> int:
        """How many names of event types a text is compared with."""
        return len(self._type_names)

    def machine(self) -> Machine:
        """What was built."""
        starts = np.cumsum([0, *(len(text) for text, _ in self._type_names)])
        names = [(int(start), len(text), kind) for start, (text, kind) in zip(starts, self._type_names, strict=False)]
        return Machine(
            code=np.array(self._code, np.int64).reshape(-1, CODE_COLUMNS),
            scales=np.array(self._scales, np.float64),
            jumps=np.array(self._jumps, np.int64),
            kinds=np.array(self._kinds, np.int64),
            names=np.array(names, np.int64).reshape(-1, 3),
            name_text=np.frombuffer(bytearray(b"".join(text for text, _ in self._type_names)), np.uint8),
        )
