"""Check the shape of a schema's JSON values, and rewrite what people write and other parsers read.

fastavro expects well-formed schemas, and stumbles over others with a KeyError or a TypeError.
"""

from collections.abc import Callable
from typing import Any

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})

_MOST_SHOWN = 50


class MalformedSchemaError(Exception):
    """The JSON values are not a schema; the message is a sentence that says where."""


def normalized(schema: Any) -> Any:
    """The schema in the form that fastavro parses; call it with values whose depth is limited.

    A type that is wrapped, as in `{"type": {"type": "record", …}}`, is unwrapped, and `{"type": "Name"}` becomes the
    name. Attributes of the wrapping apply where the type inside has none of that name.

    Raises:
        MalformedSchemaError: it is not a schema.
    """
    if isinstance(schema, dict):
        _check_kind_of_file(schema)
    return _type(schema, "the schema")


def _check_kind_of_file(schema: dict[str, Any]) -> None:
    if "protocol" in schema and "type" not in schema:
        types = schema.get("types")
        names = [str(each.get("name", "?")) for each in types if isinstance(each, dict)] if type(types) is list else []
        raise MalformedSchemaError(
            f'it is a protocol (.avpr); save the record of your events, one of its "types" '
            f"({', '.join(names)[:200]}), as a file of its own, with the types that it names"
        )
    if "$schema" in schema or schema.get("type") == "object":
        raise MalformedSchemaError("it is a JSON Schema; only Avro is read")


def _type(schema: Any, place: str) -> Any:
    if isinstance(schema, str):
        return schema
    if isinstance(schema, list):
        return [_type(branch, f"branch {number} of {place}") for number, branch in enumerate(schema, 1)]
    if not isinstance(schema, dict):
        raise MalformedSchemaError(f"{place} is {_shown(schema)}, which is not a type")
    if "type" not in schema:
        raise MalformedSchemaError(f'{place} has no "type"')
    kind = schema["type"]
    if isinstance(kind, dict):
        return _type({**{key: value for key, value in schema.items() if key != "type"}, **kind}, place)
    if isinstance(kind, list):
        return _type(kind, place)
    if not isinstance(kind, str):
        raise MalformedSchemaError(f'{place} has the "type" {_shown(kind)}, which is not a type')
    check = _PARTS.get(kind)
    if check is not None:
        return check(schema, place)
    return schema if kind in PRIMITIVES else kind


def _record(schema: dict[str, Any], place: str) -> dict[str, Any]:
    named = _named(schema, place)
    fields = schema.get("fields")
    if not isinstance(fields, list):
        raise MalformedSchemaError(f'the record "{named["name"][:_MOST_SHOWN]}" has no list of "fields"')
    return {**named, "fields": [_field(field, named["name"]) for field in fields]}


def _field(field: Any, record: str) -> dict[str, Any]:
    if not isinstance(field, dict) or not isinstance(field.get("name"), str):
        raise MalformedSchemaError(f'the record "{record[:_MOST_SHOWN]}" has a field without a "name": {_shown(field)}')
    place = f'the field "{field["name"][:_MOST_SHOWN]}" of the record "{record[:_MOST_SHOWN]}"'
    if "type" not in field:
        raise MalformedSchemaError(f'{place} has no "type"')
    return {**field, "type": _type(field["type"], place)}


def _enum(schema: dict[str, Any], place: str) -> dict[str, Any]:
    named = _named(schema, place)
    symbols = schema.get("symbols")
    if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
        raise MalformedSchemaError(f'the enum "{named["name"][:_MOST_SHOWN]}" has no list of "symbols"')
    return named


def _fixed(schema: dict[str, Any], place: str) -> dict[str, Any]:
    named = _named(schema, place)
    size = schema.get("size")
    if type(size) is not int or size < 0:
        raise MalformedSchemaError(
            f'the size of fixed "{named["name"][:_MOST_SHOWN]}" is {_shown(size)}, which is not a number of bytes'
        )
    return named


def _named(schema: dict[str, Any], place: str) -> dict[str, Any]:
    if not isinstance(schema.get("name"), str) or not schema["name"]:
        raise MalformedSchemaError(f'{place} is of type {schema["type"]}, but has no "name"')
    namespace = schema.get("namespace")
    if namespace is not None and not isinstance(namespace, str):
        raise MalformedSchemaError(f'{place} has the "namespace" {_shown(namespace)}, which is not text')
    return {key: value for key, value in schema.items() if key != "namespace" or value is not None}


def _array(schema: dict[str, Any], place: str) -> dict[str, Any]:
    return _with_inner(schema, "items", place)


def _map(schema: dict[str, Any], place: str) -> dict[str, Any]:
    return _with_inner(schema, "values", place)


def _with_inner(schema: dict[str, Any], key: str, place: str) -> dict[str, Any]:
    if key not in schema:
        raise MalformedSchemaError(f'{place} is of type {schema["type"]}, but has no "{key}"')
    return {**schema, key: _type(schema[key], f"the {key} of {place}")}


def _shown(value: Any) -> str:
    return repr(value)[:_MOST_SHOWN]


_PARTS: dict[str, Callable[[dict[str, Any], str], Any]] = {
    "record": _record,
    "error": _record,
    "enum": _enum,
    "fixed": _fixed,
    "array": _array,
    "map": _map,
}
