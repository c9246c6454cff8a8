"""Convert numbers of a writer schema: unit by logical type, scale, range."""

from typing import NamedTuple

from consumer.intake.compiler.mapping import TIMESTAMP_MS
from consumer.intake.compiler.ranges import RANGES
from consumer.intake.compiler.schema_json import Schema
from consumer.intake.compiler.schema_walk import connect_name, described, logical_type, type_of
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

_CONNECT = "org.apache.kafka.connect.data."
_DEBEZIUM = "io.debezium.time."
_TICKS_BY_CONNECT_NAME = {
    f"{_CONNECT}Timestamp": 1,
    f"{_DEBEZIUM}Timestamp": 1,
    f"{_DEBEZIUM}MicroTimestamp": 1_000,
    f"{_DEBEZIUM}NanoTimestamp": 1_000_000,
}
_TIMES_AS_TEXT = frozenset({f"{_DEBEZIUM}ZonedTimestamp", f"{_DEBEZIUM}IsoTimestamp"})


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
    ticks = _ticks_of(schema, scale)
    if _has_other_unit(schema, field, scale) or (ticks is not None and field != TIMESTAMP_MS):
        raise NotANumber(described(schema))
    if ticks is not None and scale != 1:
        raise NotANumber(f"a {logical_type(schema)}, which needs no scale,")
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


def is_time_as_text(schema: Schema) -> bool:
    """Whether texts of a type can be times: not where a name says that they are something else."""
    name = connect_name(schema)
    is_other = name.startswith((_CONNECT, _DEBEZIUM)) and name not in _TIMES_AS_TEXT
    return type_of(schema) == "string" and logical_type(schema) != "uuid" and not is_other


def _ticks_of(schema: Schema, scale: int | float) -> int | None:
    """Ticks a millisecond of a timestamp; None for a plain number.

    Before the names of Connect and Debezium were known, micros had to be scaled: with a scale they still are numbers.
    """
    if type_of(schema) != "long":
        return None
    ticks = _TICKS_PER_MS.get(logical_type(schema))
    return _TICKS_BY_CONNECT_NAME.get(connect_name(schema)) if ticks is None and scale == 1 else ticks


def _has_other_unit(schema: Schema, field: int, scale: int | float) -> bool:
    """Whether the type says that a number is in a unit that this field does not have."""
    name = connect_name(schema)
    is_other_time = name.startswith((_CONNECT, _DEBEZIUM)) and name not in _TICKS_BY_CONNECT_NAME
    return logical_type(schema) in _OTHER_UNITS or (field == TIMESTAMP_MS and scale == 1 and is_other_time)
