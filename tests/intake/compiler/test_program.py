"""What is found in a writer schema, and which schemas are refused, with field, schema and reason."""

import json
from typing import Any
from uuid import UUID

import pytest

from consumer.intake.compiler.assembler import MAX_INSTRUCTIONS, MAX_SYMBOLS
from consumer.intake.compiler.mapping import mapping_from
from consumer.intake.compiler.program import MAX_DEPTH, MAX_TYPES, compile_program
from consumer.intake.compiler.schema_json import (
    MAX_REASON_CHARS,
    MAX_SCHEMA_CHARS,
    SchemaRefused,
    parse_schema_json,
    parse_schema_text,
)
from consumer.intake.compiler.schema_walk import MAX_LEAVES
from consumer.intake.schemas.builtin import load_builtin_schema
from consumer.intake.vm.columns import decode_block
from consumer.intake.vm.instructions import MAX_LOOP_DEPTH, Program
from consumer.settings.model import InputSettings
from consumer.windows.events import BITRATE, BUFFER, HEARTBEAT, JOIN, LEAVE
from tests.intake.payloads import number, text
from tests.intake.reference import SKIPPED_BITRATE, SKIPPED_STALL, Event, encode, row

IDS = [{"name": "stream_id", "type": "string"}, {"name": "viewer_id", "type": "string"}]
TIME = [{"name": "timestamp_ms", "type": "long"}]
TYPE = [{"name": "type", "type": "string"}]
MONEY = {"type": "fixed", "name": "F", "size": 16, "logicalType": "decimal", "precision": 9, "scale": 2}


def record(*fields: dict[str, Any], name: str = "E") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields)}


def program(schema: Any, **settings: Any) -> Program:
    return compile_program(parse_schema_json(schema), mapping_from(InputSettings.model_validate(settings)))


def read(schema: Any, value: Any, **settings: Any) -> Event:
    return row(decode_block(program(schema, **settings), encode(schema, value), 1), 0)


def with_types(*names: str) -> dict[str, Any]:
    """Return a record whose event is a union of records with these names."""
    return record(*IDS, *TIME, {"name": "event", "type": [record(name=name) for name in names]})


@pytest.mark.parametrize(
    ("schema", "settings", "sentence"),
    [
        (
            record({"name": "viewer_id", "type": "string"}, *TIME, *TYPE),
            {},
            (
                'schema "E": stream_id: there is no field "stream_id"; set input.fields.stream_id to the path of the '
                "field that holds it"
            ),
        ),
        (
            record(*IDS, *TIME, *TYPE),
            {"fields": {"viewer_id": "user.id"}},
            'viewer_id: there is no field "user.id"',
        ),
        (
            record({"name": "stream_id", "type": "double"}, IDS[1], *TIME, *TYPE),
            {},
            (
                'stream_id: the field "stream_id" holds a double, but must hold a string, bytes, a uuid, a fixed, an '
                "enum, an int or a long; set input.fields.stream_id to another field"
            ),
        ),
        (
            record({"name": "stream_id", "type": {"type": "array", "items": "string"}}, IDS[1], *TIME, *TYPE),
            {},
            'the field "stream_id" holds an array',
        ),
        (
            record(IDS[0], {"name": "viewer_id", "type": record(*TIME, name="V")}, *TIME, *TYPE),
            {},
            'the field "viewer_id" holds the record "V"',
        ),
        (
            record(IDS[0], {"name": "u", "type": {"type": "map", "values": record(IDS[1], name="V")}}, *TIME, *TYPE),
            {"fields": {"viewer_id": "u.viewer_id"}},
            'the field "u.viewer_id" holds the record "V"',
        ),
        (
            record({"name": "stream_id", "type": MONEY}, IDS[1], *TIME, *TYPE),
            {},
            'the field "stream_id" holds a fixed (decimal)',
        ),
        (record(*IDS, {"name": "timestamp_ms", "type": "bytes"}, *TYPE), {}, "a number or a text of ISO 8601"),
        (
            record(*IDS, {"name": "timestamp_ms", "type": {"type": "int", "logicalType": "date"}}, *TYPE),
            {},
            'the field "timestamp_ms" holds an int (date)',
        ),
        (
            record(*IDS, {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}}, *TYPE),
            {"fields": {"timestamp_ms": {"path": "at", "scale": 1000}}},
            "a timestamp-micros, which needs no scale",
        ),
        (record(*IDS, *TIME), {}, 'type: there is no field "event" or "type"'),
        (record(*IDS, *TIME, {"name": "type", "type": "int"}), {}, 'type: the field "type" holds an int (input'),
        (
            record(*IDS, *TIME, *TYPE, {"name": "bitrate_bps", "type": "string"}),
            {},
            'bitrate_bps: the field "bitrate_bps" holds a string',
        ),
        (
            with_types("ViewerJoin", "BitrateReport"),
            {},
            'bitrate_bps: there is no field "event.bitrate_bps" or "bitrate_bps"',
        ),
        (with_types("ViewerJoin", "BufferEvent"), {}, "duration_ms: there is no field"),
        (
            with_types("Started", "Stopped"),
            {},
            ('none of its event types (Started, Stopped) is known; list them in input.events, as join = ["Started"]'),
        ),
        (
            record(*IDS, *TIME, {"name": "type", "type": {"type": "enum", "name": "T", "symbols": ["A", "B"]}}),
            {},
            "none of its event types (A, B)",
        ),
        (
            record(*IDS, *TIME, *TYPE, {"name": "next", "type": ["null", "E"]}),
            {},
            'it is recursive: record "E" is inside itself',
        ),
        (
            record(*IDS, *TIME, *TYPE, {"name": "x", "type": {"type": "array", "items": "null"}}),
            {},
            "an array has items of zero bytes",
        ),
        (
            record(*IDS, *TIME, *TYPE, {"name": "x", "type": {"type": "array", "items": record(name="Empty")}}),
            {},
            "an array has items of zero bytes",
        ),
        (
            record(
                *IDS,
                *TIME,
                *TYPE,
                {"name": "x", "type": {"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}},
            ),
            {},
            "an array has items of zero bytes",
        ),
        ("string", {}, 'schema "(no record)": stream_id: there is no field'),
    ],
)
def test_a_schema_that_cannot_be_mapped_is_refused_with_the_reason(
    schema: Any, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SchemaRefused) as refusal:
        program(schema, **settings)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("schema_text", "sentence"),
    [
        ("{", "the schema is not JSON"),
        ('{"type": "record"}', "it is not an Avro schema"),
        ('{"type": "recrod", "name": "x"}', 'it names the type "recrod"'),
        ('"nonsense"', 'it names the type "nonsense"'),
        ("17", "it is not an Avro schema"),
        ('{"a": 1}', "it is not an Avro schema"),
        (" " * (MAX_SCHEMA_CHARS + 1), "characters, more than"),
        ("[" * 100_000, "nested more than"),
        ('{"type": "array", "items": ' * 150 + '"int"' + "}" * 150, "nested more than"),
        ('{"type": "array", "items": ' * 5_000 + '"int"' + "}" * 5_000, "nested more than"),
        (
            '{"type":"record","name":"E","fields":[{"name":"a","type":{"type":"fixed","name":"F","size":"x"}}]}',
            "the size of fixed",
        ),
        (
            '{"type":"record","name":"E","fields":[{"name":"a","type":{"type":"fixed","name":"F","size":-1}}]}',
            "the size of fixed",
        ),
    ],
)
def test_an_invalid_schema_is_refused(schema_text: str, sentence: str) -> None:
    with pytest.raises(SchemaRefused) as refusal:
        compile_program(parse_schema_text(schema_text), mapping_from(InputSettings()))
    assert sentence in str(refusal.value)


def test_a_recursive_schema_is_refused() -> None:
    layers: list[Any] = [record(*TIME, name="L0")]
    for i in range(1, 40):
        below = f"L{i - 1}"
        layers.append(record({"name": "a", "type": below}, {"name": "b", "type": below}, name=f"L{i}"))
    for innermost in (layers[0], record(name="L0")):
        fields = [{"name": f"f{i}", "type": one} for i, one in enumerate([innermost, *layers[1:]])]
        with pytest.raises(SchemaRefused, match="more than"):
            program(record(*fields, *IDS, *TIME, *TYPE))


def test_size_and_depth_are_limited() -> None:
    many = [{"name": f"f{i}", "type": "string"} for i in range(MAX_INSTRUCTIONS)]
    with pytest.raises(SchemaRefused, match="too many fields"):
        program(record(*many, *IDS, *TIME, *TYPE))
    deep: Any = "int"
    for i in range(MAX_DEPTH + 1):
        deep = record({"name": "a", "type": deep}, name=f"R{i}")
    with pytest.raises(SchemaRefused, match="nested more than 64 levels"):
        program(record({"name": "x", "type": deep}, *IDS, *TIME, *TYPE))
    arrays: Any = "int"
    for _ in range(MAX_LOOP_DEPTH + 1):
        arrays = {"type": "array", "items": arrays}
    with pytest.raises(SchemaRefused, match="nested more than 16 levels"):
        program(record({"name": "x", "type": arrays}, *IDS, *TIME, *TYPE))


def test_the_number_of_branches_is_limited() -> None:
    union = [record(*IDS, *TIME, *TYPE, name=f"R{i}") for i in range(MAX_LEAVES + 1)]
    with pytest.raises(SchemaRefused, match=f'its field "stream_id" can have more than {MAX_LEAVES} types'):
        program(union)
    assert program(union[: MAX_LEAVES // 2]).name == "(no record)"
    nothing = record({"name": "u", "type": ["null"] * MAX_TYPES}, *IDS, *TIME, *TYPE)
    with pytest.raises(SchemaRefused, match=f"more than {MAX_TYPES} types"):
        program(nothing)


def test_an_enum_shared_by_many_branches_counts_once_per_branch() -> None:
    symbols = ["join", *(f"s{i}" for i in range(MAX_SYMBOLS // 2))]
    kinds = {"type": "enum", "name": "Kind", "symbols": symbols}
    first = record(*IDS, *TIME, {"name": "type", "type": kinds}, name="R0")
    more = record(*IDS, *TIME, {"name": "type", "type": "Kind"}, name="R1")
    assert program(first).name == "R0"
    with pytest.raises(SchemaRefused, match=f"more than {MAX_SYMBOLS} symbols"):
        program([first, more])


def test_two_fields_with_one_name_are_refused() -> None:
    with pytest.raises(SchemaRefused, match='record "E" has two fields "stream_id"'):
        program(record(*IDS, IDS[0], *TIME, *TYPE))


@pytest.mark.parametrize("hostile", ["\ud800", "a\nb", "a\x00b", "\x1b[31m", "x" * 900_000, " " * 900_000])
@pytest.mark.parametrize("place", ["name", "type", "logicalType", "namespace", "size"])
def test_a_refusal_quotes_one_short_line_of_text(hostile: str, place: str) -> None:
    schema = record({"name": "stream_id", "type": {"type": "fixed", "name": "F", "size": 3, place: hostile}})
    with pytest.raises(SchemaRefused) as refusal:
        compile_program(parse_schema_text(json.dumps(schema)), mapping_from(InputSettings()))
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value).encode()) <= 3 * MAX_REASON_CHARS


def test_fastavros_marks_in_a_schema_are_ignored() -> None:
    schema = {**record(*IDS, *TIME, *TYPE), "__fastavro_parsed": True, "__named_schemas": {"E": "nonsense"}}
    assert program(schema).name == "E"


def test_a_default_of_the_wrong_type_is_ignored() -> None:
    schema = record(*IDS, *TIME, *TYPE, {"name": "x", "type": "int", "default": "seven"})
    assert program(schema).name == "E"


def test_our_own_schema_is_compiled() -> None:
    assert program(load_builtin_schema("viewer_event")).name == "viewer_consumer.ViewerEvent"


def test_the_name_of_the_record_can_be_the_event_type() -> None:
    report = record(*IDS, *TIME, {"name": "bitrate_bps", "type": "int"}, name="BitrateReport")
    value = {"stream_id": "s", "viewer_id": "v", "timestamp_ms": 7, "bitrate_bps": 9}
    assert read(report, value) == Event("s", "v", 7, BITRATE, 9)


def test_a_union_of_records_can_be_at_the_top() -> None:
    join = record(*IDS, *TIME, name="ViewerJoin")
    leave = record(*TIME, *IDS, name="ViewerLeave")
    value = {"stream_id": "s", "viewer_id": "v", "timestamp_ms": 7}
    assert read([join, leave], ("ViewerLeave", value)) == Event("s", "v", 7, LEAVE)


def test_one_field_may_be_mapped_to_two_of_ours() -> None:
    schema = record(*IDS, *TIME, *TYPE, {"name": "value", "type": "long"})
    fields = {"bitrate_bps": {"path": "value", "scale": 1000}, "duration_ms": "value"}
    value = {"stream_id": "s", "viewer_id": "v", "timestamp_ms": 7, "value": 5}
    assert read(schema, {**value, "type": "bitrate"}, fields=fields) == Event("s", "v", 7, BITRATE, 5_000)
    assert read(schema, {**value, "type": "buffer"}, fields=fields) == Event("s", "v", 7, BUFFER, 5)


def test_full_names_of_event_types_take_precedence_over_short_ones() -> None:
    schema = with_types("a.Started", "b.Started", "c.Stopped")
    events = {"join": ["a.Started", "Stopped"], "leave": "b.Started"}
    value = {"stream_id": "s", "viewer_id": "v", "timestamp_ms": 7}
    kinds = [read(schema, {**value, "event": (n, {})}, events=events).facts for n in ("a.Started", "b.Started")]
    assert kinds == [JOIN, LEAVE]
    assert read(schema, {**value, "event": ("c.Stopped", {})}, events=events).facts == JOIN


def test_with_kafka_time_no_timestamp_field_is_needed() -> None:
    assert program(record(*IDS, *TYPE), time="kafka").name == "E"


def test_a_field_with_names_that_earlier_releases_knew_is_preferred_as_the_type() -> None:
    sent = {"type": "enum", "name": "Sent", "symbols": ["heartbeat", "click"]}
    kind = {"type": "enum", "name": "Kind", "symbols": ["join", "leave"]}
    value = {"stream_id": "s", "viewer_id": "v", "timestamp_ms": 7, "event": "click", "type": "leave"}
    both = record(*IDS, *TIME, {"name": "event", "type": sent}, {"name": "type", "type": kind})
    assert read(both, value) == Event("s", "v", 7, LEAVE)
    alone = record(*IDS, *TIME, {"name": "event", "type": sent})
    assert read(alone, {**value, "event": "heartbeat"}) == Event("s", "v", 7, HEARTBEAT)


def test_a_built_in_name_that_earlier_releases_did_not_know_needs_no_field() -> None:
    """They rejected such records and read the others, which a replay must read too."""
    schema = with_types("ViewerJoin", "x.PlaybackReport")
    value = {"stream_id": "s", "viewer_id": "v", "timestamp_ms": 7}
    assert read(schema, {**value, "event": ("ViewerJoin", {})}) == Event("s", "v", 7, JOIN)
    skipped = SKIPPED_BITRATE | SKIPPED_STALL
    assert read(schema, {**value, "event": ("x.PlaybackReport", {})}) == Event("s", "v", 7, skipped)
    with pytest.raises(SchemaRefused, match=r'bitrate_bps: there is no field "event\.bitrate_bps"'):
        program(schema, events={"bitrate": "PlaybackReport"})


def test_a_name_that_is_listed_loses_its_built_in_meaning() -> None:
    kinds = record(*IDS, *TIME, *TYPE, {"name": "bitrate_bps", "type": "int"}, {"name": "duration_ms", "type": "int"})
    value = {"stream_id": "s", "viewer_id": "v", "timestamp_ms": 7, "bitrate_bps": 5, "duration_ms": 6}
    for name, facts in (("buffer", BITRATE), ("BufferEvent", BUFFER), ("PlaybackReport", BUFFER)):
        found = read(kinds, {**value, "type": name}, events={"bitrate": "buffer"})
        assert found == Event("s", "v", 7, facts, 5 if facts & BITRATE else 6)


def test_named_types_are_followed() -> None:
    number_type = {"type": "record", "name": "Rate", "fields": [{"name": "n", "type": "int"}]}
    schema = record({"name": "old", "type": number_type}, {"name": "new", "type": "Rate"}, *IDS, *TIME, *TYPE, name="E")
    value = {"old": {"n": 1}, "new": {"n": 2}, "stream_id": "s", "viewer_id": "v", "timestamp_ms": 7, "type": "bitrate"}
    assert read(schema, value, fields={"bitrate_bps": "new.n"}) == Event("s", "v", 7, BITRATE, 2)


def test_binary_uuids_become_text() -> None:
    uuid = {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}
    schema = record({"name": "stream_id", "type": uuid}, {"name": "viewer_id", "type": "U"}, *TIME, *TYPE)
    ids = [UUID(int=2**127 + 0x0123456789ABCDEF), UUID(int=7)]
    value = {"stream_id": ids[0].bytes, "viewer_id": ids[1].bytes, "timestamp_ms": 7, "type": "join"}
    events = decode_block(program(schema), encode(schema, value) * 3, 3)
    assert [row(events, i) for i in range(3)] == [Event(str(ids[0]), str(ids[1]), 7)] * 3


@pytest.mark.parametrize("ticks", [-1, -1_000, -1_001, 999, 1_000, 2**52 * 1_000 + 999])
def test_micros_are_floored(ticks: int) -> None:
    micros = {"type": "long", "logicalType": "timestamp-micros"}
    schema = record(*IDS, {"name": "timestamp_ms", "type": micros}, *TYPE)
    payload = text("s") + text("v") + number(ticks) + text("join")
    assert row(decode_block(program(schema), payload, 1), 0).timestamp_ms == ticks // 1_000


def test_blocks_with_a_byte_size_are_read_item_by_item() -> None:
    longs = {"type": "array", "items": "long"}
    schema = record({"name": "x", "type": longs}, *IDS, *TIME, *TYPE)
    rest = text("s") + text("v") + number(7) + text("join")
    lying_size = number(-2) + number(10_000) + number(1) + number(2) + number(1) + number(3) + number(0)
    assert row(decode_block(program(schema), lying_size + rest, 1), 0) == Event("s", "v", 7)
    too_many = number(10_000) + number(1) + number(0)
    assert row(decode_block(program(schema), too_many + rest, 1), 0).reject == "bad_length"
    most_negative = number(-(2**63)) + number(0)
    assert row(decode_block(program(schema), most_negative + rest, 1), 0).reject == "bad_length"


def test_a_schema_as_text_and_as_json_gives_the_same_program() -> None:
    schema = load_builtin_schema("viewer_event")
    assert parse_schema_text(json.dumps(schema)).fingerprint() == parse_schema_json(schema).fingerprint()
