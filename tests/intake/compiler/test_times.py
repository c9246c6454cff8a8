"""Times of every kind: by logical type, by the names of Connect and Debezium, scaled, and as text."""

from typing import Any

import pytest

from consumer.intake.compiler.schema_json import SchemaRefused
from tests.intake.mapped import compiled, read_one, schema_with

MILLIS = 1_795_886_417_123
DEBEZIUM = "io.debezium.time."
CONNECT = "org.apache.kafka.connect.data."


def named(name: str, kind: str = "long", **more: str) -> dict[str, Any]:
    """Return a type as the converters of Kafka Connect write it."""
    return {"type": kind, "connect.version": 1, "connect.name": name, **more}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *(({"type": "long", "logicalType": f"{local}timestamp-millis"}, MILLIS) for local in ("", "local-")),
        *(
            ({"type": "long", "logicalType": f"{local}timestamp-micros"}, MILLIS * 1_000 + 999)
            for local in ("", "local-")
        ),
        *(
            ({"type": "long", "logicalType": f"{local}timestamp-nanos"}, MILLIS * 1_000_000 + 1)
            for local in ("", "local-")
        ),
        (named(f"{CONNECT}Timestamp", logicalType="timestamp-millis"), MILLIS),
        (named(f"{CONNECT}Timestamp"), MILLIS),
        (named(f"{DEBEZIUM}Timestamp"), MILLIS),
        (named(f"{DEBEZIUM}MicroTimestamp"), MILLIS * 1_000 + 999),
        (named(f"{DEBEZIUM}NanoTimestamp"), MILLIS * 1_000_000 + 999_999),
        (named(f"{DEBEZIUM}ZonedTimestamp", "string"), "2026-11-28T18:20:17.123999+01:00"),
        (named(f"{DEBEZIUM}IsoTimestamp", "string"), "2026-11-28T17:20:17.123Z"),
        ("string", "2026-11-28T17:20:17.123Z"),
        ({"type": "string", "avro.java.string": "String"}, "2026-11-28 17:20:17.123Z"),
        ("long", MILLIS),
    ],
)
def test_a_time_may_be_of_these_types(kind: Any, value: Any) -> None:
    for each in (kind, ["null", kind]):
        assert read_one(schema_with(timestamp_ms=each), {"timestamp_ms": value}).timestamp_ms == MILLIS


@pytest.mark.parametrize(
    "kind",
    [
        named(f"{DEBEZIUM}Date", "int"),
        named(f"{DEBEZIUM}Time", "int"),
        named(f"{DEBEZIUM}MicroTime"),
        named(f"{DEBEZIUM}NanoTime"),
        named(f"{DEBEZIUM}Year", "int"),
        named(f"{DEBEZIUM}MicroDuration"),
        named(f"{DEBEZIUM}ZonedTime", "string"),
        named(f"{DEBEZIUM}IsoDate", "string"),
        named(f"{CONNECT}Date", "int", logicalType="date"),
        named(f"{CONNECT}Time", "int", logicalType="time-millis"),
        {"type": "string", "logicalType": "uuid"},
        {"type": "long", "logicalType": "time-micros"},
        "boolean",
    ],
)
def test_what_is_no_instant_is_refused_with_its_name(kind: Any) -> None:
    name = kind if isinstance(kind, str) else kind.get("logicalType") or kind["connect.name"]
    with pytest.raises(SchemaRefused, match=rf'the field "timestamp_ms" holds .*{name}'):
        compiled(schema_with(timestamp_ms=kind))


def test_a_number_that_is_scaled_already_stays_scaled() -> None:
    micros = schema_with(timestamp_ms=named(f"{DEBEZIUM}MicroTimestamp"))
    fields = {"timestamp_ms": {"path": "timestamp_ms", "scale": 0.001}}
    assert read_one(micros, {"timestamp_ms": MILLIS * 1_000}, fields=fields).timestamp_ms == MILLIS
    seconds = schema_with(timestamp_ms="double")
    fields = {"timestamp_ms": {"path": "timestamp_ms", "scale": 1000}}
    assert read_one(seconds, {"timestamp_ms": MILLIS / 1_000}, fields=fields).timestamp_ms == MILLIS


def test_times_that_are_texts_in_some_records_and_numbers_in_others() -> None:
    schema = schema_with(timestamp_ms=["string", "double", "null"])
    fields = {"timestamp_ms": {"path": "timestamp_ms", "scale": 1000}}
    assert read_one(schema, {"timestamp_ms": 2.5}, fields=fields).timestamp_ms == 2_500
    assert read_one(schema, {"timestamp_ms": "1970-01-01T00:00:02.5Z"}, fields=fields).timestamp_ms == 2_500
    assert read_one(schema, {"timestamp_ms": None}, fields=fields).reject == "missing_value"


def test_a_text_without_an_offset_is_utc_only_if_the_settings_say_so() -> None:
    schema, value = schema_with(timestamp_ms="string"), {"timestamp_ms": "2026-11-28 17:20:17.123"}
    assert read_one(schema, value).reject == "time_without_offset"
    fields = {"timestamp_ms": {"path": "timestamp_ms", "text_without_offset": "utc"}}
    assert read_one(schema, value, fields=fields).timestamp_ms == MILLIS
    assert read_one(schema, {"timestamp_ms": "soon"}, fields=fields).reject == "bad_time"


def test_a_name_of_connect_does_not_make_a_sample_a_time() -> None:
    with pytest.raises(SchemaRefused, match=r"bitrate_bps: .* holds a long .io.debezium.time.MicroTimestamp."):
        compiled(schema_with(bitrate_bps=named(f"{DEBEZIUM}MicroTimestamp")))
