"""Query a parsed writer schema."""

from collections.abc import Iterator
from itertools import islice

from consumer.intake.compiler.schema_json import ParsedSchema, Schema, SchemaRefused

MAX_LEAVES = 1_000
"""Limit of the types that one field can have through all union branches."""


def type_of(schema: Schema) -> str:
    """The name of a type's kind: a primitive, record, enum, array, map, fixed or union."""
    if isinstance(schema, list):
        return "union"
    return str(schema["type"]) if isinstance(schema, dict) else str(schema)


def logical_type(schema: Schema) -> str:
    """The logical type; empty if there is none."""
    return str(schema.get("logicalType", "")) if isinstance(schema, dict) else ""


def connect_name(schema: Schema) -> str:
    """The name of a type in Kafka Connect, whose converters write it beside the type; empty if there is none."""
    return str(schema.get("connect.name", "")) if isinstance(schema, dict) else ""


def with_article(name: str) -> str:
    """A name with its indefinite article."""
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def described(schema: Schema) -> str:
    """A type for messages, as `a long (timestamp-micros)`."""
    logical = logical_type(schema) or connect_name(schema)
    return with_article(type_of(schema)) + (f" ({logical})" if logical else "")


def members(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Names and types of a record's fields, in order."""
    for field in schema["fields"]:
        yield field["name"], field["type"]


def branches(parsed: ParsedSchema, schema: Schema) -> list[Schema]:
    """The possible types of a value: a union's branches without null, or the type itself."""
    schema = parsed.resolve(schema)
    if type_of(schema) != "union":
        return [schema]
    resolved = (parsed.resolve(branch) for branch in schema)
    return [branch for branch in resolved if type_of(branch) != "null"]


def leaves(parsed: ParsedSchema, path: tuple[str, ...]) -> list[Schema]:
    """The types at the end of a path, through all union branches; empty if the path does not exist.

    Raises:
        SchemaRefused: there are more than `MAX_LEAVES`.
    """
    found = branches(parsed, parsed.schema)
    for step in path:
        found = list(islice(_below(parsed, found, step), MAX_LEAVES + 1))
        if len(found) > MAX_LEAVES:
            raise SchemaRefused(f'its field "{".".join(path)}" can have more than {MAX_LEAVES} types')
    return found


def _below(parsed: ParsedSchema, schemas: list[Schema], step: str) -> Iterator[Schema]:
    for schema in schemas:
        if type_of(schema) in {"record", "error"}:
            for name, member in members(schema):
                if name == step:
                    yield from branches(parsed, member)


def takes_bytes(parsed: ParsedSchema, schema: Schema, known: dict[str, bool] | None = None) -> bool:
    """Whether every value of a type is at least one byte long."""
    known = {} if known is None else known
    schema = parsed.resolve(schema)
    match type_of(schema):
        case "null":
            return False
        case "fixed":
            return bool(schema["size"])
        case "record" | "error":
            name = str(schema["name"])
            if name not in known:
                known[name] = True  # while it is being visited: recursive records are refused elsewhere
                known[name] = any(takes_bytes(parsed, member, known) for _, member in members(schema))
            return known[name]
        case _:
            return True
