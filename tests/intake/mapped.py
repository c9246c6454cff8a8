"""Records of schemas written by hand, read under the given settings of `input`."""

from typing import Any

from consumer.intake.compiler.mapping import mapping_from
from consumer.intake.compiler.program import compile_program
from consumer.intake.compiler.schema_json import parse_schema_json
from consumer.intake.vm.columns import decode_block
from consumer.intake.vm.instructions import Program
from consumer.settings.model import InputSettings
from tests.intake.reference import Event, encode, row

EVENT = {"stream_id": "s", "viewer_id": "v", "timestamp_ms": 7, "type": "join"}
TYPES: dict[str, Any] = {"stream_id": "string", "viewer_id": "string", "timestamp_ms": "long", "type": "string"}


def record_of(types: dict[str, Any], name: str = "E") -> dict[str, Any]:
    """Return a record with these fields."""
    return {"type": "record", "name": name, "fields": [{"name": key, "type": each} for key, each in types.items()]}


def schema_with(**types: Any) -> dict[str, Any]:
    """Return the schema of a flat event in which these fields have other types."""
    return record_of({**TYPES, **types})


def compiled(schema: Any, **settings: Any) -> Program:
    return compile_program(parse_schema_json(schema), mapping_from(InputSettings.model_validate(settings)))


def read_all(schema: Any, values: list[dict[str, Any]], **settings: Any) -> list[Event]:
    """Read events, of which only what differs from `EVENT` is given."""
    payload = b"".join(encode(schema, {**EVENT, **value}) for value in values)
    events = decode_block(compiled(schema, **settings), payload, len(values))
    return [row(events, i) for i in range(len(values))]


def read_one(schema: Any, value: dict[str, Any], **settings: Any) -> Event:
    (event,) = read_all(schema, [value], **settings)
    return event
