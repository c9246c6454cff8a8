"""Convert numbers of a writer schema: unit by logical type, scale, range."""

from typing import NamedTuple

from consumer.intake.compiler.mapping import TIMESTAMP_MS
from consumer.intake.compiler.ranges import RANGES
from consumer.intake.compiler.schema_json import Schema
from consumer.intake.compiler.schema_walk import described, logical_type, type_of
from consumer.intake.vm.instructions import EXACT, SCALED_FLOAT, SCALED_INTEGER

_LARGEST = 2**63 - 1

_TICKS_PER_MS = {
    "timestamp-millis": 1,
    "timestamp-micros": 1_000,
    "timestamp-nanos": 1_000_000,
    "local-timestamp-millis": 1,
    "local-timestamp-micros": 1_000,
    "local-timestamp-nanos": 1_000_000,
}
_OTHER_UNITS = frozenset({"date", "time-millis", "time-micros", "decimal"})


class NotANumber(Exception):  # noqa: N818  # no error, but what the compiler tells the reader
    """A field's type cannot be converted; the message names the type."""


class Conversion(NamedTuple):
    """Operands of one STORE_NUMBER."""

    way: int
    low: int
    high: int
    times: int = 1
    divisor: int = 1
    scale: float = 1.0


def conversion_of(schema: Schema, field: int, scale: int | float) -> Conversion:
    """The conversion of numbers of a type to field `field`, with the `scale` of the settings.

    Raises:
        NotANumber: its logical type has another unit.
    """
    low, high = RANGES[field]
    logical = logical_type(schema)
    ticks = _TICKS_PER_MS.get(logical) if type_of(schema) == "long" else None
    if logical in _OTHER_UNITS or (ticks is not None and field != TIMESTAMP_MS):
        raise NotANumber(described(schema))
    if ticks is not None and scale != 1:
        raise NotANumber(f"a {logical}, which needs no scale,")
    if type_of(schema) in {"float", "double"}:
        return Conversion(SCALED_FLOAT, low, high, scale=float(scale))
    if not isinstance(scale, int):
        return Conversion(SCALED_INTEGER, low, high, scale=scale)
    divisor = ticks or 1
    # floor(number * scale / divisor) is within low to high exactly for numbers within these bounds.
    return Conversion(
        EXACT,
        low=max(-(-low * divisor // scale), -_LARGEST - 1),
        high=min((high * divisor + divisor - 1) // scale, _LARGEST),
        times=scale,
        divisor=divisor,
    )
