"""Load the writer schemas named in the settings; errors are reported at start."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from consumer.errors import UsageError
from consumer.intake.compiler.mapping import Mapping
from consumer.intake.compiler.program import compile_program
from consumer.intake.compiler.schema_json import (
    MissingTypeRefused,
    ParsedSchema,
    Schema,
    SchemaRefused,
    parse_schema_text,
    parse_with,
    read_schema_file,
)
from consumer.intake.framing import NAMED_BY_ID
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


class _File(NamedTuple):
    """A schema file."""

    path: Path
    parsed: ParsedSchema
    uses: tuple["_File", ...]
    """The files whose types it names."""

    def defines(self, name: str) -> bool:
        """Whether it defines this type itself."""
        return name in self.parsed.named and not any(name in each.parsed.named for each in self.uses)


def load_pinned(source: InputSettings, mapping: Mapping) -> Pinned:
    """Read and compile the schemas of the settings.

    A file of `schemas` may name types of files before it; such files hold types only, and no records are read with
    them. Files of `ids` may name types of all of them.

    Ids: those of `ids`; with only `schemas` its one file of records for every id; with neither, and no registry, the
    built-in schema as id 1. Single-object: the files of records by fingerprint, or the built-in schema. Raw: the one
    file of records, or the built-in schema.

    Raises:
        ViewerConsumerError: one of them cannot be read, or not mapped.
        UsageError: the settings do not name a unique schema.
    """
    files = _read_in_order(source.schemas)
    if source.format in NAMED_BY_ID:
        return _by_id(source, mapping, files)
    if not files:
        parsed, program = _builtin(mapping)
        known = [parsed.fingerprint(), *EARLIER_FINGERPRINTS]
        return Pinned({0: program} if source.format == "raw" else {_reference(each): program for each in known})
    records = [(each.parsed, _compiled(each, mapping)) for each in _of_records(files)]
    if source.format == "raw":
        if len(records) > 1:
            raise UsageError(f'input.schemas: {_not_one(files)} where input.format = "raw"')
        return Pinned({0: records[0][1]})
    return Pinned({_reference(parsed.fingerprint()): program for parsed, program in records})


class SchemaFile(NamedTuple):
    """A schema file by itself, as `schema_file` finds it."""

    parsed: ParsedSchema
    files: tuple[Path, ...]
    """What `schemas` must name to read its records: the files whose types it needs, then the file."""


def schema_file(path: Path, source: InputSettings) -> SchemaFile:
    """Read a file, which may name types of the files of `schemas`: of those before it, if it is one of them.

    Raises:
        ViewerConsumerError: it, or one of the others, cannot be read or is not a schema.
    """
    places = [place.absolute() for place in source.schemas]
    before = source.schemas[: places.index(path.absolute())] if path.absolute() in places else source.schemas
    file = _parsed(path, read_schema_file(path), _read_in_order(before))
    return SchemaFile(file.parsed, tuple(dict.fromkeys(_with_needed(file))))


def _with_needed(file: _File) -> Iterator[Path]:
    for other in file.uses:
        yield from _with_needed(other)
    yield file.path


def _reference(fingerprint: bytes) -> int:
    return int.from_bytes(fingerprint, "little", signed=True)


def _by_id(source: InputSettings, mapping: Mapping, files: Sequence[_File]) -> Pinned:
    programs = {
        schema_id: _compiled(
            _parsed(path, read_schema_file(path), [each for each in files if each.path != path]), mapping
        )
        for schema_id, path in source.ids.items()
    }
    if programs or source.schema_registry_url:
        return Pinned(programs)
    records = _of_records(files)
    if len(records) > 1:
        raise UsageError(f"input.schemas: {_not_one(files)}, or input.ids must name the file of each id")
    if records:
        return Pinned({}, any_id=_compiled(records[0], mapping))
    return Pinned({BUILTIN_ID: _builtin(mapping)[1]})


def _of_records(files: Sequence[_File]) -> list[_File]:
    """The files that no other file takes types from."""
    used = {other.path for each in files for other in each.uses}
    return [each for each in files if each.path not in used]


def _not_one(files: Sequence[_File]) -> str:
    names = ", ".join(str(each.path) for each in _of_records(files))
    return f"must have one file that no other names types of, not several ({names})"


def _read_in_order(paths: Sequence[Path]) -> list[_File]:
    files: list[_File] = []
    for path in paths:
        files.append(_parsed(path, read_schema_file(path), files))
    return files


def _parsed(path: Path, schema: Schema, before: Sequence[_File]) -> _File:
    """Parse a file with those that it needs: of several with the type that it names, the nearest before it."""
    used: list[_File] = []
    while True:
        try:
            return _File(path, parse_with(schema, [each.parsed for each in used]), tuple(used))
        except MissingTypeRefused as missing:
            found = next((each for each in reversed(before) if each.defines(missing.name)), None)
            if found is None or found in used:
                raise SchemaRefused(
                    f"schema file {path}: {missing}; list the file that defines it before this one in input.schemas"
                ) from None
            used.append(found)
        except SchemaRefused as refusal:
            raise SchemaRefused(f"schema file {path}: {refusal}") from None


def _compiled(file: _File, mapping: Mapping) -> Program:
    try:
        return compile_program(file.parsed, mapping)
    except SchemaRefused as refusal:
        raise SchemaRefused(f"schema file {file.path}: {refusal}") from None


def _builtin(mapping: Mapping) -> tuple[ParsedSchema, Program]:
    parsed = parse_schema_text(builtin_schema_text("viewer_event"))
    return parsed, compile_program(parsed, mapping)
