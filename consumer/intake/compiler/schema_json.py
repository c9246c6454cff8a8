"""Parse the text of a writer schema; refuse what is too large, too deep or not an Avro schema."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fastavro.schema import UnknownType, fingerprint, parse_schema, to_parsing_canonical_form

from consumer.errors import ViewerConsumerError
from consumer.intake.compiler.schema_shape import PRIMITIVES, MalformedSchemaError, normalized
from consumer.intake.compiler.schema_text import parse_json
from consumer.runtime.text import escaped

MAX_SCHEMA_CHARS = 2**20
MAX_JSON_DEPTH = 200
MAX_NAME_CHARS = 200
MAX_REASON_CHARS = 1_000
"""Limit of a refusal's text, which is stored, logged and written to dead letters."""

_LEFT_OUT = frozenset({"default", "doc", "__fastavro_parsed", "__named_schemas"})

_NAMED_KINDS = frozenset({"record", "error", "enum", "fixed"})

Schema = Any
"""A schema as fastavro parses it: a name, a list of branches, or a dict."""


class SchemaRefused(ViewerConsumerError):  # noqa: N818  # what is refused is no error of ours, but the answer to a schema
    """A writer schema cannot be mapped to our events; the message says which field, and why.

    Quoted parts of the schema are reduced to one line of encodable text, cut to `MAX_REASON_CHARS`.
    """

    def __init__(self, reason: str) -> None:
        # Cut before splitting, because the text may be very long.
        line = " ".join(reason[: 2 * MAX_REASON_CHARS].split())
        printable = escaped(line)
        whole = len(printable) <= MAX_REASON_CHARS
        super().__init__(printable if whole else printable[: MAX_REASON_CHARS - 1] + "…")


class MissingTypeRefused(SchemaRefused):
    """The schema names a type that is not defined; another schema may define it."""

    def __init__(self, name: str) -> None:
        super().__init__(f'it names the type "{name[:MAX_NAME_CHARS]}", which it does not define')
        self.name = name


class ParsedSchema(NamedTuple):
    """A parsed writer schema with its named types."""

    schema: Schema
    named: dict[str, Schema]

    @property
    def name(self) -> str:
        """The name of its record, for messages; long ones are cut."""
        if not isinstance(self.schema, dict) or "name" not in self.schema:
            return "(no record)"
        return str(self.schema["name"])[:MAX_NAME_CHARS]

    def resolve(self, schema: Schema) -> Schema:
        """The definition of a type that is referenced by name."""
        is_name = isinstance(schema, str) and schema not in PRIMITIVES
        return self.named.get(schema, schema) if is_name else schema

    def fingerprint(self) -> bytes:
        """Its CRC-64-AVRO in the byte order of single-object encoding."""
        return bytes.fromhex(fingerprint(to_parsing_canonical_form(self.inlined()), "CRC-64-AVRO"))

    def inlined(self) -> Schema:
        """The schema with each type defined where it is named first, as those who write by it need it."""
        return _inlined(self.schema, self.named, set())


def parse_schema_text(text: str, references: Sequence[str] = ()) -> ParsedSchema:
    """Parse a schema; `references` are the texts of referenced schemas, dependencies first.

    Raises:
        SchemaRefused: too large, or not an Avro schema; or two of them define a type differently.
    """
    named: dict[str, Schema] = {}
    for reference in references:
        _parse(_admitted(reference), named)
    return ParsedSchema(_parse(_admitted(text), named), named)


def parse_with(schema: Schema, others: Sequence[ParsedSchema]) -> ParsedSchema:
    """Parse a schema given as JSON values that may name types of these.

    Raises:
        MissingTypeRefused: it names a type that none of them defines.
        SchemaRefused: not an Avro schema, or two of them define a type differently.
    """
    named: dict[str, Schema] = {}
    for other in others:
        before = dict(named)
        named.update(other.named)
        _check_same(before, named)
    return ParsedSchema(_parse(schema, named), named)


def parse_schema_json(schema: Schema) -> ParsedSchema:
    """Parse a schema given as JSON values, as in the header of a container file.

    Raises:
        SchemaRefused: too deep, or not an Avro schema.
    """
    named: dict[str, Schema] = {}
    return ParsedSchema(_parse(_without_defaults(schema), named), named)


def read_schema_file(path: Path) -> Schema:
    """The JSON values of a schema file, for `parse_with`.

    Raises:
        ViewerConsumerError: it cannot be read, or is not JSON.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ViewerConsumerError(f"schema file {path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ViewerConsumerError(f"schema file {path}: is not UTF-8 text") from None
    try:
        return _admitted(text)
    except SchemaRefused as error:
        raise SchemaRefused(f"schema file {path}: {error}") from None


def _admitted(text: str) -> Schema:
    if len(text) > MAX_SCHEMA_CHARS:
        raise SchemaRefused(f"the schema has {len(text)} characters, more than {MAX_SCHEMA_CHARS}")
    try:
        schema = parse_json(text)
    except RecursionError:
        raise SchemaRefused(f"the schema is nested more than {MAX_JSON_DEPTH} levels deep") from None
    except ValueError as error:
        raise SchemaRefused(f"the schema is not JSON: {error}") from None
    return _without_defaults(schema)


def _without_defaults(schema: Schema, depth: int = 0) -> Schema:
    """The schema without attributes that decoding does not need.

    Defaults matter only to readers, and a wrong one must not prevent decoding. fastavro's marks of parsed schemas must
    not come from outside.
    """
    if depth > MAX_JSON_DEPTH:
        raise SchemaRefused(f"the schema is nested more than {MAX_JSON_DEPTH} levels deep")
    if isinstance(schema, list):
        return [_without_defaults(part, depth + 1) for part in schema]
    if isinstance(schema, dict):
        return {key: _without_defaults(part, depth + 1) for key, part in schema.items() if key not in _LEFT_OUT}
    return schema


def _parse(schema: Schema, named: dict[str, Schema]) -> Schema:
    """Parse a schema and add its types to `named`."""
    before = dict(named)
    try:
        parsed = parse_schema(normalized(schema), named)
    except MalformedSchemaError as error:
        raise SchemaRefused(f"it is not an Avro schema: {error}") from None
    except UnknownType as error:
        raise MissingTypeRefused(str(error.name)) from None
    except Exception as error:  # noqa: BLE001  # whatever fastavro stumbles over, it is the schema's fault
        raise SchemaRefused(f"it is not an Avro schema: {error}") from None
    _check_same(before, named)
    return parsed


def _check_same(before: dict[str, Schema], named: dict[str, Schema]) -> None:
    """Check that no type was defined again in another way; Avro's Java library refuses that too."""
    for name, schema in before.items():
        if named[name] is not schema and _inlined(named[name], named, set()) != _inlined(schema, before, set()):
            raise SchemaRefused(
                f'the type "{name[:MAX_NAME_CHARS]}" is defined twice, and differently: in it or in schemas that it '
                f"refers to; all have to use one version"
            )


def _bare(schema: Schema) -> Schema:
    """The definition without fastavro's marks, which hold all named types."""
    return {key: value for key, value in schema.items() if key not in _LEFT_OUT}


def _inlined(schema: Schema, named: dict[str, Schema], seen: set[str]) -> Schema:
    """The schema with each type of another schema defined where it is named first."""
    if isinstance(schema, str) and schema in named and schema not in seen:
        schema = named[schema]
    if isinstance(schema, list):
        return [_inlined(branch, named, seen) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    seen.update([schema["name"]] if schema["type"] in _NAMED_KINDS else [])
    if "fields" in schema:
        fields = [{**field, "type": _inlined(field["type"], named, seen)} for field in schema["fields"]]
        return {**_bare(schema), "fields": fields}
    inner = {key: _inlined(schema[key], named, seen) for key in ("items", "values") if key in schema}
    return {**_bare(schema), **inner}
