"""What a compilation finds out about a writer schema, for people who map it."""

from consumer.intake.compiler.conversion import Conversion
from consumer.intake.compiler.mapping import Path
from consumer.intake.compiler.schema_json import Schema
from consumer.intake.compiler.schema_walk import described
from consumer.intake.vm.instructions import EXACT

Place = tuple[int, Path]
"""A field, and a path at which it is looked for."""


class Notes:
    """Filled by one compilation; of a refused schema it holds what was found until then."""

    def __init__(self) -> None:
        self.wanted: set[Place] = set()
        """All that was looked for."""
        self.read: dict[Place, list[str]] = {}
        """The types that are read, and how."""
        self.unfit: dict[Place, list[str]] = {}
        """The types that cannot be read; values of them are missing."""
        self.null: set[Place] = set()
        """What may be null."""
        self.type_names: dict[str, int] = {}
        """Event types that the schema names, with their facts."""

    def add_read(self, place: Place, schema: Schema, how: str) -> None:
        """A type at the end of a field's path is read."""
        self.read.setdefault(place, []).append(f"{described(schema)}, {how}")

    def add_unfit(self, place: Place, what: str) -> None:
        """A type at the end of a field's path is not read."""
        self.unfit.setdefault(place, []).append(what)


def conversion_text(conversion: Conversion) -> str:
    """How a number becomes the field's unit."""
    if conversion.way != EXACT:
        return "as it is" if conversion.scale == 1 else f"times {conversion.scale:g}"
    times = [f"times {conversion.times}"] if conversion.times != 1 else []
    divisor = [f"divided by {conversion.divisor}"] if conversion.divisor != 1 else []
    return ", ".join([*times, *divisor]) or "as it is"
