"""Parse the text of a writer schema; refuse what is too large, too deep or not an Avro schema."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

from consumer.errors import ViewerConsumerError
from consumer.runtime.text import escaped

MAX_SCHEMA_CHARS = 2**20
MAX_JSON_DEPTH = 200
MAX_NAME_CHARS = 200
MAX_REASON_CHARS = 1_000
"""Limit of a refusal's text, which is stored, logged and written to dead letters."""

_LEFT_OUT = frozenset({"default", "__fastavro_parsed", "__named_schemas"})

_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})

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
        is_name = isinstance(schema, str) and schema not in _PRIMITIVES
        return self.named.get(schema, schema) if is_name else schema

    def fingerprint(self) -> bytes:
        """Its CRC-64-AVRO in the byte order of single-object encoding."""
        return bytes.fromhex(fingerprint(to_parsing_canonical_form(self.schema), "CRC-64-AVRO"))


def parse_schema_text(text: str, references: Sequence[str] = ()) -> ParsedSchema:
    """Parse a schema; `references` are the texts of referenced schemas, dependencies first.

    Raises:
        SchemaRefused: too large, or not an Avro schema.
    """
    named: dict[str, Schema] = {}
    for reference in references:
        _parse(_admitted(reference), named)
    return ParsedSchema(_parse(_admitted(text), named), named)


def parse_schema_json(schema: Schema) -> ParsedSchema:
    """Parse a schema given as JSON values, as in the header of a container file.

    Raises:
        SchemaRefused: too deep, or not an Avro schema.
    """
    named: dict[str, Schema] = {}
    return ParsedSchema(_parse(_without_defaults(schema), named), named)


def read_schema_file(path: Path) -> ParsedSchema:
    """Read and parse a schema file.

    Raises:
        ViewerConsumerError: it cannot be read, or is not a schema.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ViewerConsumerError(f"schema file {path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ViewerConsumerError(f"schema file {path}: is not UTF-8 text") from None
    try:
        return parse_schema_text(text)
    except SchemaRefused as error:
        raise SchemaRefused(f"schema file {path}: {error}") from None


def _admitted(text: str) -> Schema:
    if len(text) > MAX_SCHEMA_CHARS:
        raise SchemaRefused(f"the schema has {len(text)} characters, more than {MAX_SCHEMA_CHARS}")
    try:
        schema = json.loads(text)
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
    try:
        return parse_schema(schema, named)
    except Exception as error:  # noqa: BLE001  # whatever fastavro stumbles over, it is the schema's fault
        raise SchemaRefused(f"it is not an Avro schema: {type(error).__name__}: {error}") from None
