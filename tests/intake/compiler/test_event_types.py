"""The type of an event as text, enum, number, boolean or record, and names that are not clear."""

from typing import Any

import pytest

from consumer.intake.compiler.mapping import mapping_from
from consumer.intake.compiler.program import compile_program
from consumer.intake.compiler.schema_json import SchemaRefused, parse_schema_json
from consumer.settings.model import InputSettings
from consumer.windows.events import BITRATE, JOIN, LEAVE
from tests.intake.mapped import compiled, read_all, record_of, schema_with

NUMBERS = {"events": {"join": [1, "2"], "leave": "-3", "ignore": [9]}}


@pytest.mark.parametrize("kind", ["int", "long", ["null", "int"], ["int", "string"]])
def test_a_type_may_be_a_whole_number(kind: Any) -> None:
    events = read_all(schema_with(type=kind), [{"type": each} for each in (1, 2, -3, 9, 4)], **NUMBERS)
    assert [event.facts for event in events[:3]] == [JOIN, JOIN, LEAVE]
    assert [event.reject for event in events] == ["", "", "", "ignored", "unknown_event_type"]


def test_numbers_are_compared_by_their_text() -> None:
    settings = {"events": {"join": ["01", "+1", "1.0", " 1", "1"], "leave": str(2**63)}}
    (event,) = read_all(schema_with(type="long"), [{"type": 1}], **settings)
    assert event.facts == JOIN


def test_a_type_may_be_a_boolean() -> None:
    for names in ({"join": True, "leave": False}, {"join": "true", "leave": "false"}):
        events = read_all(schema_with(type="boolean"), [{"type": True}, {"type": False}], events=names)
        assert [event.facts for event in events] == [JOIN, LEAVE]
    events = read_all(schema_with(type="boolean"), [{"type": False}], events={"join": True})
    assert events[0].reject == "unknown_event_type"


def test_a_branch_may_be_of_any_kind() -> None:
    schema = schema_with(type=["boolean", "long", "string", record_of({"x": "int"}, "ViewerLeave")])
    names = {"bitrate": ["true", "join"], "join": 5}
    values: list[dict[str, Any]] = [{"type": each} for each in (True, 5, "join", ("ViewerLeave", {"x": 1}))]
    schema["fields"].append({"name": "bitrate_bps", "type": "int"})
    events = read_all(schema, [{**value, "bitrate_bps": 3} for value in values], events=names)
    assert [event.facts for event in events] == [BITRATE, JOIN, BITRATE, LEAVE]


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("int", r'type: the field "type" holds an int \(input.events names no number\), but must hold an enum'),
        ("boolean", r"none of its event types \(false, true\) is known; list them in input.events"),
        ("double", 'type: the field "type" holds a double'),
    ],
)
def test_types_of_which_the_settings_name_none_are_refused(kind: str, sentence: str) -> None:
    with pytest.raises(SchemaRefused, match=sentence):
        compiled(schema_with(type=kind))


def with_records(*names: str) -> dict[str, Any]:
    return record_of(
        {
            "stream_id": "string",
            "viewer_id": "string",
            "timestamp_ms": "long",
            "event": [record_of({"n": "int"}, name) for name in names],
        }
    )


def test_a_short_name_of_two_records_is_refused_with_both_full_names() -> None:
    schema = with_records("web.Started", "tv.Started", "tv.Stopped")
    with pytest.raises(SchemaRefused, match=r'"Started" is short for web.Started and tv.Started; name them in full'):
        compiled(schema, events={"join": "Started", "leave": "Stopped"})
    compiled(schema, events={"join": ["web.Started", "tv.Started"], "leave": "Stopped"})
    compiled(schema, events={"join": ["web.Started", "Started"], "leave": "Stopped"})
    compiled(schema, events={"leave": "Stopped"})


def test_a_replay_under_earlier_rules_takes_unclear_names_as_they_were_taken() -> None:
    source = InputSettings.model_validate({"events": {"join": "Started"}})
    parsed = parse_schema_json(with_records("web.Started", "tv.Started"))
    assert compile_program(parsed, mapping_from(source, takes_unclear=True)).name == "E"


def test_a_field_that_earlier_releases_read_is_still_the_type() -> None:
    schema = schema_with(event="int")
    (event,) = read_all(schema, [{"event": 1, "type": "leave"}], events={"join": "1"})
    assert event.facts == LEAVE


def test_built_in_names_are_no_exception() -> None:
    with pytest.raises(SchemaRefused, match=r'"ViewerJoin" is short for a.ViewerJoin and b.ViewerJoin'):
        compiled(with_records("a.ViewerJoin", "b.ViewerJoin"))
    compiled(with_records("a.ViewerJoin", "b.ViewerJoin"), events={"join": ["a.ViewerJoin", "b.ViewerJoin"]})
