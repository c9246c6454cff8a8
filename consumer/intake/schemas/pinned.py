"""Load the writer schemas named in the settings; errors are reported at start."""

from pathlib import Path
from typing import NamedTuple

from consumer.errors import UsageError
from consumer.intake.compiler.mapping import Mapping
from consumer.intake.compiler.program import compile_program
from consumer.intake.compiler.schema_json import ParsedSchema, SchemaRefused, parse_schema_text, read_schema_file
from consumer.intake.schemas.builtin import builtin_schema_text
from consumer.intake.vm.instructions import Program
from consumer.settings.model import InputSettings

BUILTIN_ID = 1
"""The id of the built-in schema if neither a registry nor files are set."""

EARLIER_FINGERPRINTS = (bytes.fromhex("da3c4d2aa511d900"),)
"""Of the built-in schema before branches were appended to its union; records of it have the same bytes."""


class Pinned(NamedTuple):
    """Programs known from the start."""

    programs: dict[int, Program]
    """Programs by reference."""
    any_id: Program | None = None
    """The program for any other reference."""


def load_pinned(source: InputSettings, mapping: Mapping) -> Pinned:
    """Read and compile the schemas of the settings.

    Confluent: those of `ids`; with only `schemas` its one file for every id; with neither, and no registry, the
    built-in schema as id 1. Single-object: those of `schemas` by fingerprint, or the built-in one. Raw: the one file,
    or the built-in one.

    Raises:
        ViewerConsumerError: one of them cannot be read, or not mapped.
        UsageError: the settings do not name a unique schema.
    """
    if source.format == "confluent":
        return _confluent(source, mapping)
    if not source.schemas:
        parsed, program = _builtin(mapping)
        known = [parsed.fingerprint(), *EARLIER_FINGERPRINTS]
        return Pinned({0: program} if source.format == "raw" else {_reference(each): program for each in known})
    programs = {}
    for parsed, program in _files(source, mapping):
        reference = _reference(parsed.fingerprint()) if source.format != "raw" else 0
        if reference in programs and source.format == "raw":
            raise UsageError('input.schemas: must be one file where input.format = "raw"')
        programs[reference] = program
    return Pinned(programs)


def _reference(fingerprint: bytes) -> int:
    return int.from_bytes(fingerprint, "little", signed=True)


def _confluent(source: InputSettings, mapping: Mapping) -> Pinned:
    programs = {schema_id: _compiled_file(path, mapping)[1] for schema_id, path in source.ids.items()}
    if programs or source.schema_registry_url:
        return Pinned(programs)
    if len(source.schemas) > 1:
        raise UsageError("input.schemas: with several files input.ids must name the file of each id")
    if source.schemas:
        return Pinned({}, any_id=_compiled_file(source.schemas[0], mapping)[1])
    return Pinned({BUILTIN_ID: _builtin(mapping)[1]})


def _files(source: InputSettings, mapping: Mapping) -> list[tuple[ParsedSchema, Program]]:
    return [_compiled_file(path, mapping) for path in source.schemas]


def _compiled_file(path: Path, mapping: Mapping) -> tuple[ParsedSchema, Program]:
    parsed = read_schema_file(path)
    try:
        return parsed, compile_program(parsed, mapping)
    except SchemaRefused as refusal:
        raise SchemaRefused(f"schema file {path}: {refusal}") from None


def _builtin(mapping: Mapping) -> tuple[ParsedSchema, Program]:
    parsed = parse_schema_text(builtin_schema_text("viewer_event"))
    return parsed, compile_program(parsed, mapping)
