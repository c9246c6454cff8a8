"""Builds a program row by row; jumps are filled in once their targets are known."""

from collections.abc import Callable, Sequence

import numpy as np

from consumer.intake.compiler.schema_json import SchemaRefused
from consumer.intake.vm.instructions import CODE_COLUMNS, SKIP_BYTES, A, ProgramCode

MAX_INSTRUCTIONS = 8_192
MAX_SYMBOLS = 65_536
"""Limit of symbols in all event-type enums, an enum shared by branches counts for each; and of literals."""


class Assembler:
    """A program under construction."""

    def __init__(self, type_names: dict[str, int]) -> None:
        self._instructions: list[list[int]] = []
        self._scales: list[float] = []
        self._jumps: list[int] = []
        self._kinds: list[int] = []
        self._type_names = [(name.encode(), kind) for name, kind in type_names.items()]
        self._literals: list[bytes] = []
        self._literals_at: dict[tuple[str, ...], int] = {}
        self._label = 0

    def here(self) -> int:
        """The row of the next instruction, as a jump target."""
        self._label = len(self._instructions)
        return self._label

    def add(self, op: int, *operands: int, scale: float = 0.0) -> int:
        """Append an instruction; return its row.

        Raises:
            SchemaRefused: the program is too long.
        """
        if len(self._instructions) >= MAX_INSTRUCTIONS:
            raise SchemaRefused(f"it has too many fields and branches: more than {MAX_INSTRUCTIONS} steps a record")
        row = [op, *operands]
        self._instructions.append(row + [0] * (CODE_COLUMNS - len(row)))
        self._scales.append(scale)
        return len(self._instructions) - 1

    def skip_bytes(self, count: int) -> None:
        """Skip bytes; merged with a preceding skip."""
        if count == 0:
            return
        if len(self._instructions) > self._label and self._instructions[-1][0] == SKIP_BYTES:
            self._instructions[-1][A] += count
        else:
            self.add(SKIP_BYTES, count)

    def aim(self, row: int, column: int, target: int) -> None:
        """Fill in the target of a jump."""
        self._instructions[row][column] = target

    def add_jumps(self, count: int) -> int:
        """Reserve the jumps of a union; return the index of the first."""
        base = len(self._jumps)
        self._jumps += [0] * count
        return base

    def aim_branch(self, place: int, target: int) -> None:
        """Fill in the jump to a branch."""
        self._jumps[place] = target

    def add_numbers(self, kinds: dict[int, int]) -> int:
        """Add pairs of a number and its kind; return the index of the first."""
        base = len(self._kinds)
        for number, kind in kinds.items():
            self._kinds += (number, kind)
        return base

    def add_kinds(self, symbols: Sequence[str], kind_of: Callable[[str], int]) -> int:
        """Add the kinds of an enum's symbols, or of false and true; return the index of the first.

        Raises:
            SchemaRefused: there are too many.
        """
        base = len(self._kinds)
        if base + len(symbols) > MAX_SYMBOLS:
            raise SchemaRefused(f"its event types are enums of more than {MAX_SYMBOLS} symbols together")
        self._kinds += map(kind_of, symbols)
        return base

    def add_literals(self, texts: Sequence[str]) -> int:
        """Add texts that ids are made of, or that keys of maps are compared with; return the row of the first.

        Raises:
            SchemaRefused: there are too many.
        """
        key = tuple(texts)
        if key not in self._literals_at:
            self._literals_at[key] = len(self._type_names) + len(self._literals)
            if len(self._literals) + len(key) > MAX_SYMBOLS:
                raise SchemaRefused(f"its ids are enums of more than {MAX_SYMBOLS} symbols together")
            self._literals += (text.encode(errors="surrogatepass") for text in key)
        return self._literals_at[key]

    @property
    def type_name_count(self) -> int:
        """Number of event-type names that a text is compared with."""
        return len(self._type_names)

    def program_code(self) -> ProgramCode:
        """The finished program code."""
        texts = [*self._type_names, *((text, 0) for text in self._literals)]
        starts = np.cumsum([0, *(len(text) for text, _ in texts)])
        names = [(int(start), len(text), kind) for start, (text, kind) in zip(starts, texts, strict=False)]
        return ProgramCode(
            instructions=np.array(self._instructions, np.int64).reshape(-1, CODE_COLUMNS),
            scales=np.array(self._scales, np.float64),
            jumps=np.array(self._jumps, np.int64),
            kinds=np.array(self._kinds, np.int64),
            names=np.array(names, np.int64).reshape(-1, 3),
            name_text=np.frombuffer(bytearray(b"".join(text for text, _ in texts)), np.uint8),
        )
