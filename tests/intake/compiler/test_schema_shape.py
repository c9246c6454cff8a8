"""Schemas as people keep them: with a byte order mark, comments, wrapped types; and what is no schema."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.intake.compiler.schema_json import SchemaRefused, parse_schema_json, parse_schema_text, read_schema_file
from consumer.intake.compiler.schema_text import parse_json
from consumer.intake.schemas.builtin import builtin_schema_text

OURS = builtin_schema_text("viewer_event")
ID = {"type": "record", "name": "x.Id", "fields": [{"name": "t", "type": "string"}]}


def record(kind: Any, name: str = "x.R") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": "f", "type": kind}]}


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + OURS,
        "// of the players\n" + OURS,
        '/* Copyright\n * // "x" */' + OURS + "// the end",
        OURS.replace('"fields"', '/**/ "fields"'),
        json.dumps({"type": json.loads(OURS)}),
        json.dumps({"type": {"type": json.loads(OURS)}, "name": "outer"}),
    ],
    ids=["byte order mark", "line comment", "comments", "comment inside", "wrapped", "wrapped again"],
)
def test_a_schema_is_read_as_javas_parser_reads_it(text: str) -> None:
    assert parse_schema_text(text).fingerprint() == parse_schema_text(OURS).fingerprint()


def test_what_looks_like_a_comment_in_a_string_is_kept() -> None:
    assert parse_json('// x\n{"a": "http://b /* c */", "d\\"//": 1} // "') == {"a": "http://b /* c */", 'd"//': 1}


@pytest.mark.parametrize("text", ['{"a": "', "/*" * 300_000, '"' * 300_001, "//" * 300_000, '{/*"*/"a": "\\'])
def test_comments_and_strings_that_never_end_take_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"line 1"):
        parse_json(text)


@pytest.mark.parametrize(
    ("wrapped", "plain"),
    [
        ({"type": "string"}, "string"),
        ({"type": {"type": "string"}}, "string"),
        ({"type": ["null", "string"]}, ["null", "string"]),
        ({"type": {"type": "array", "items": {"type": {"type": "int"}}}}, {"type": "array", "items": "int"}),
        ({"type": "map", "values": {"type": ["null", {"type": ID}]}}, {"type": "map", "values": ["null", ID]}),
        ({"type": "R"}, "R"),
    ],
)
def test_a_type_may_be_wrapped_anywhere(wrapped: Any, plain: Any) -> None:
    assert parse_schema_json(record(wrapped)).fingerprint() == parse_schema_json(record(plain)).fingerprint()


def test_attributes_around_a_wrapped_type_apply_to_it() -> None:
    parsed = parse_schema_json(record({"type": {"type": "long"}, "logicalType": "timestamp-micros"}))
    assert parsed.schema["fields"][0]["type"]["logicalType"] == "timestamp-micros"


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        ({}, 'the schema has no "type"'),
        (17, "the schema is 17, which is not a type"),
        ({"type": 17}, 'the schema has the "type" 17, which is not a type'),
        ({"type": None}, 'the schema has the "type" None, which is not a type'),
        ({"type": "record"}, 'the schema is of type record, but has no "name"'),
        ({"type": "record", "name": "R"}, 'the record "R" has no list of "fields"'),
        ({"type": "record", "name": "R", "fields": {}}, 'the record "R" has no list of "fields"'),
        ({"type": "record", "name": "R", "fields": ["a"]}, 'the record "R" has a field without a "name": \'a\''),
        (
            {"type": "record", "name": "R", "fields": [{"name": "a"}]},
            'the field "a" of the record "R" has no "type"',
        ),
        (record(["null", {"type": "enum", "name": "E"}]), 'the enum "E" has no list of "symbols"'),
        (
            record(["null", {"type": "fixed", "name": "F", "size": True}]),
            'the size of fixed "F" is True, which is not a number of bytes',
        ),
        (record({"type": "array"}), 'the field "f" of the record "x.R" is of type array, but has no "items"'),
        (record({"type": "map", "values": 1}), 'the values of the field "f" of the record "x.R" is 1'),
        ({"type": "record", "name": "R", "namespace": 1, "fields": []}, 'has the "namespace" 1, which is not text'),
        (record("x.Gone"), 'it names the type "x.Gone", which it does not define'),
        ({"type": "recrod", "name": "x"}, 'it names the type "recrod", which it does not define'),
        (
            {"protocol": "P", "types": [ID, record("x.Id", "Event")], "messages": {}},
            (
                "it is not an Avro schema: it is a protocol (.avpr); save the record of your events, one of its "
                '"types" (x.Id, Event), as a file of its own, with the types that it names'
            ),
        ),
        ({"protocol": "P", "types": 5}, "it is a protocol"),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}, "it is a JSON Schema"),
    ],
)
def test_what_is_no_schema_is_a_sentence_that_says_where(schema: Any, sentence: str) -> None:
    with pytest.raises(SchemaRefused) as refused:
        parse_schema_text(json.dumps(schema))
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('@namespace("x") protocol P { record R { int a; } }', "it looks like Avro IDL"),
        ("// c\nnamespace x;\nrecord R { int a; }", "it looks like Avro IDL"),
        ('syntax = "proto3";', "it looks like Protobuf"),
        ("{'type': 'int'}", "Expecting property name enclosed in double quotes: line 1 column 2"),
    ],
)
def test_what_is_no_json_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "a.avsc"
    path.write_text(text)
    with pytest.raises(SchemaRefused) as refused:
        read_schema_file(path)
    assert str(refused.value).startswith(f"schema file {path}: the schema is not JSON: ")
    assert sentence in str(refused.value)


KEYS = st.sampled_from(
    ["type", "name", "namespace", "fields", "items", "values", "symbols", "size", "logicalType", "precision", "scale"]
)
WORDS = st.sampled_from(
    ["record", "enum", "fixed", "array", "map", "int", "string", "R", "x.Id", "", "decimal", "uuid"]
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 40), st.floats(allow_nan=False), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=6)),
    max_leaves=15,
)


@settings(max_examples=400)
@given(JSON)
def test_no_json_is_answered_with_an_error_of_the_parser(schema: Any) -> None:
    try:
        parse_schema_json(schema).fingerprint()
    except SchemaRefused as refused:
        message = str(refused)
    else:
        message = ""
    assert not any(word in message for word in ("KeyError", "TypeError", "Traceback", "unhashable", "object is not"))
