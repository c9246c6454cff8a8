"""Ids of every type that holds one, at paths into maps, of several sources and of several parts."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.intake.compiler.schema_json import SchemaRefused
from consumer.intake.intake import field_at_fault
from consumer.intake.rejects import Reject
from consumer.intake.vm.columns import decode_block
from consumer.intake.vm.wire import MAX_ID_BYTES
from tests.intake.mapped import EVENT, compiled, read_all, read_one, schema_with
from tests.intake.payloads import number, text
from tests.intake.reference import encode

FIXED = {"type": "fixed", "name": "F", "size": 16}
UUID = {**FIXED, "logicalType": "uuid"}
LABELS: Any = {"type": "map", "values": ["null", "string", "long"]}


@pytest.mark.parametrize(
    ("kind", "value", "stream_id"),
    [
        ("int", 17, "17"),
        ("int", -(2**31), "-2147483648"),
        ("long", 0, "0"),
        ("long", 2**63 - 1, "9223372036854775807"),
        ("long", -(2**63), "-9223372036854775808"),
        ({"type": "long", "logicalType": "timestamp-millis"}, 1000, "1000"),
        ("bytes", b"raw", "raw"),
        ({"type": "string", "logicalType": "uuid"}, "any text", "any text"),
        (UUID, bytes(range(16)), "00010203-0405-0607-0809-0a0b0c0d0e0f"),
        (FIXED, b"viewer-000000017", "viewer-000000017"),
        (FIXED, bytes(range(16)), "000102030405060708090a0b0c0d0e0f"),
        (FIXED, b"\xff" * 16, "ff" * 16),
        ({**FIXED, "logicalType": "ours"}, "Zürich-00000017".encode(), "Zürich-00000017"),
        ({"type": "enum", "name": "C", "symbols": ["de", "fr"]}, "fr", "fr"),
    ],
)
def test_an_id_may_be_of_these_types(kind: Any, value: Any, stream_id: str) -> None:
    for schema in (
        schema_with(stream_id=kind),
        schema_with(stream_id=["null", kind, "string"] if kind != "string" else kind),
    ):
        assert read_one(schema, {"stream_id": value}).stream_id == stream_id
    viewer = schema_with(viewer_id=kind)
    assert read_one(viewer, {"viewer_id": value}).viewer_id == stream_id


def test_branches_of_one_field_may_be_ids_of_different_types() -> None:
    schema = schema_with(stream_id=["string", "long", UUID, "null"])
    values = [{"stream_id": each} for each in ("a", 5, bytes(16), None, "b")]
    events = read_all(schema, values)
    assert [event.stream_id for event in events] == ["a", "5", "00000000-0000-0000-0000-000000000000", "", "b"]
    assert events[3].reject == "missing_value"


def test_numbers_that_are_ids_do_not_leak_from_one_record_to_the_next() -> None:
    schema = schema_with(stream_id=["null", "long"], viewer_id=["null", "long"])
    values: list[dict[str, Any]] = [
        {"stream_id": 1, "viewer_id": 2},
        {"stream_id": None, "viewer_id": 3},
        {"stream_id": 4, "viewer_id": None},
    ]
    assert [event.reject for event in read_all(schema, values)] == ["", "missing_value", "missing_value"]


# Several paths joined.

JOINED = {"fields": {"stream_id": ["stream_id", "geo"]}}


def joined(stream_id: str, geo: str) -> str:
    return read_one(
        schema_with(stream_id="string", geo="string"), {"stream_id": stream_id, "geo": geo}, **JOINED
    ).stream_id


def test_paths_are_joined_in_the_order_of_the_settings() -> None:
    assert joined("a", "de") == "a|de"
    schema = schema_with(geo="string", number="long")
    fields = {"stream_id": ["number", "geo", "stream_id"], "viewer_id": ["viewer_id", "geo"]}
    event = read_one(schema, {"geo": "de", "number": -5}, fields=fields)
    assert (event.stream_id, event.viewer_id) == ("-5|de|s", "v|de")


def test_parts_that_hold_the_joiner_cannot_be_taken_for_others() -> None:
    assert joined("a", "b|c") == r"a|b\|c"
    assert joined("a|b", "c") == r"a\|b|c"
    assert joined("a\\", "c") == r"a\\|c"
    assert joined("a", "") == "a|"
    assert joined("", "a") == "|a"


@given(
    st.lists(
        st.tuples(st.text("|\\ab", max_size=4), st.text("|\\ab", max_size=4)), min_size=2, max_size=20, unique=True
    )
)
def test_different_parts_give_different_ids(pairs: list[tuple[str, str]]) -> None:
    kept = [pair for pair in pairs if any(pair)]
    values = [{"stream_id": first, "geo": second} for first, second in kept]
    events = read_all(schema_with(geo="string"), values, **JOINED)
    assert len({event.stream_id for event in events}) == len(kept)


def test_a_single_path_is_its_text_unchanged_also_in_a_list() -> None:
    for path in ("stream_id", ["stream_id"], {"path": "stream_id"}, {"first": ["stream_id"]}):
        assert read_one(schema_with(), {"stream_id": "a|\\b"}, fields={"stream_id": path}).stream_id == "a|\\b"


def test_a_null_part_rejects_unless_it_has_a_default() -> None:
    schema = schema_with(geo=["null", "string"])
    without, with_default = JOINED["fields"], {"stream_id": ["stream_id", {"path": "geo", "default": "no|where"}]}
    assert read_one(schema, {"geo": None}, fields=without).reject == "missing_value"
    assert read_one(schema, {"geo": None}, fields=with_default).stream_id == r"s|no\|where"
    assert read_one(schema, {"geo": "de"}, fields=with_default).stream_id == "s|de"


def test_a_default_stands_for_a_part_that_a_schema_does_not_have() -> None:
    fields = {"stream_id": ["stream_id", {"path": "geo.country", "default": "?"}]}
    assert read_one(schema_with(), {}, fields=fields).stream_id == "s|?"
    with pytest.raises(SchemaRefused, match=r'stream_id: there is no field "geo.country"; set input.fields.stream_id'):
        compiled(schema_with(), fields={"stream_id": ["stream_id", "geo.country"]})


def test_an_id_is_empty_if_all_its_parts_are() -> None:
    assert read_one(schema_with(geo="string"), {"stream_id": "", "geo": ""}, **JOINED).reject == "empty_id"


@pytest.mark.parametrize(
    ("sizes", "reject"), [((1_000, 23), ""), ((1_000, 24), "id_too_long"), ((2_000, 2_000), "id_too_long")]
)
def test_a_joined_id_is_limited_as_any_other(sizes: tuple[int, int], reject: str) -> None:
    first, second = ("x" * size for size in sizes)
    event = read_one(schema_with(geo="string"), {"stream_id": first, "geo": second}, **JOINED)
    assert (event.reject, len(event.stream_id)) == (reject, 0 if reject else MAX_ID_BYTES)


def test_long_ids_of_many_records_have_room() -> None:
    values = [{"stream_id": f"{i:0>500}", "geo": "|" * 250} for i in range(300)]
    events = read_all(schema_with(geo="string"), values, **JOINED)
    assert [event.stream_id for event in events] == [f"{i:0>500}|" + r"\|" * 250 for i in range(300)]


def test_a_part_that_is_no_utf_8_rejects() -> None:
    schema = schema_with(geo="bytes")
    assert read_one(schema, {"geo": b"\xc3"}, **JOINED).reject == "bad_text"
    assert read_one(schema, {"geo": "é".encode()}, **JOINED).stream_id == "s|é"


# The first that is there.


def test_the_first_source_that_is_there_counts() -> None:
    schema = schema_with(a=["null", "string"], b=["null", "long"], stream_id=["null", "string"])
    fields = {"stream_id": {"first": ["b", "not.there", "a", "stream_id"]}}
    values: list[dict[str, Any]] = [
        {"a": "a", "b": 2, "stream_id": "s"},
        {"a": "a", "b": None, "stream_id": "s"},
        {"a": None, "b": None, "stream_id": "s"},
        {"a": "", "b": None, "stream_id": "s"},
        {"a": None, "b": None, "stream_id": None},
    ]
    events = read_all(schema, values, fields=fields)
    assert [event.stream_id for event in events] == ["2", "a", "s", "", ""]
    assert [event.reject for event in events] == ["", "", "", "empty_id", "missing_value"]


def test_numbers_and_types_may_have_several_sources_too() -> None:
    schema = schema_with(kbps=["null", "int"], bps=["null", "long"], kind=["null", "string"], at=["null", "string"])
    fields = {
        "bitrate_bps": {"first": [{"path": "kbps", "scale": 1000}, "bps"]},
        "type": {"first": ["kind", "type"]},
        "timestamp_ms": {"first": ["at", "timestamp_ms"]},
    }
    values: list[dict[str, Any]] = [
        {"kbps": 3, "bps": 5, "kind": "bitrate", "at": None},
        {"kbps": None, "bps": 5, "kind": None, "type": "bitrate", "at": "1970-01-01T00:00:01Z"},
        {"kbps": None, "bps": None, "kind": "bitrate", "at": "never"},
    ]
    events = read_all(schema, values, fields=fields)
    assert [(event.timestamp_ms, event.value) for event in events[:2]] == [(7, 3000), (1000, 5)]
    assert events[2].reject == "bad_time"


def test_the_scale_of_a_list_of_sources_is_that_of_all_without_their_own() -> None:
    schema = schema_with(a=["null", "int"], b=["null", "int"])
    fields = {"bitrate_bps": {"first": [{"path": "a", "scale": 2}, "b"], "scale": 1000}}
    values: list[dict[str, Any]] = [{"a": 3, "b": 4, "type": "bitrate"}, {"a": None, "b": 4, "type": "bitrate"}]
    assert [event.value for event in read_all(schema, values, fields=fields)] == [6, 4000]


# Maps.


def test_a_step_into_a_map_is_its_key() -> None:
    schema = schema_with(labels=LABELS)
    fields = {"stream_id": "labels.stream", "viewer_id": ["labels.who", "viewer_id"]}
    value = {"labels": {"x": 1, "who": 17, "stream": "s-1", "y": "z"}}
    event = read_one(schema, value, fields=fields)
    assert (event.stream_id, event.viewer_id) == ("s-1", "17|v")
    assert read_one(schema, {"labels": {"who": 17}}, fields=fields).reject == "missing_value"
    assert read_one(schema, {"labels": {"who": 17, "stream": None}}, fields=fields).reject == "missing_value"


def test_all_fields_may_be_in_maps_of_maps_and_records() -> None:
    inner = {"type": "record", "name": "I", "fields": [{"name": "n", "type": "long"}, {"name": "t", "type": "string"}]}
    schema = schema_with(m={"type": "map", "values": {"type": "map", "values": inner}})
    fields = {"bitrate_bps": "m.a.b.n", "type": "m.a.b.t", "timestamp_ms": "m.a.c.n"}
    value = {"m": {"z": {}, "a": {"c": {"n": 44, "t": "x"}, "b": {"n": 9, "t": "bitrate"}}}}
    event = read_one(schema, value, fields=fields)
    assert (event.timestamp_ms, event.value) == (44, 9)


def test_of_a_key_that_is_there_twice_the_last_counts() -> None:
    schema = schema_with(labels=LABELS)
    program = compiled(schema, fields={"stream_id": "labels.k"})
    head = encode(schema_with(), EVENT)
    for last, stream_id in ((number(1) + text("b"), b"b"), (number(2) + number(5), b"5"), (number(0), b"")):
        labels = number(2) + text("k") + number(1) + text("a") + text("k") + last + number(0)
        events = decode_block(program, head + labels, 1)
        assert events.reject[0] == (0 if stream_id else Reject.MISSING_VALUE)
        start, size = events.stream_start[0], events.stream_size[0]
        assert not stream_id or events.text[start : start + size].tobytes() == stream_id


# What a reject says.


@pytest.mark.parametrize("field", ["stream_id", "viewer_id"])
def test_a_reject_names_the_id(field: str) -> None:
    schema = schema_with(**{field: ["null", "string", "long"], "geo": ["null", "string"]})
    for value, reason in ((None, Reject.MISSING_VALUE), ("", Reject.EMPTY_ID), ("x" * 1_025, Reject.ID_TOO_LONG)):
        events = decode_block(compiled(schema), encode(schema, {**EVENT, field: value, "geo": None}), 1)
        assert events.reject[0] == reason
        assert reason.sentence_about(field_at_fault(events, 0)).startswith(f"{field} ")
    joined_id = compiled(schema, fields={field: [field, "geo"]})
    events = decode_block(joined_id, encode(schema, {**EVENT, field: 5, "geo": None}), 1)
    assert Reject.MISSING_VALUE.sentence_about(field_at_fault(events, 0)) == f"{field} is null or missing"
