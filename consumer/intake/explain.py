"""Say what the settings find in a writer schema: field by field, and event type by event type."""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from consumer.intake.compiler.mapping import (
    BITRATE_BPS,
    DURATION_MS,
    FIELDS,
    IGNORE_KIND,
    TIMESTAMP_MS,
    TYPE,
    UNKNOWN_KIND,
    FieldPart,
    Mapping,
    Path,
    mapping_from,
)
from consumer.intake.compiler.notes import Notes
from consumer.intake.compiler.program import MAX_TYPES, compile_program
from consumer.intake.compiler.schema_json import ParsedSchema, Schema, SchemaRefused
from consumer.intake.compiler.schema_walk import branches, leaves, logical_type, members, type_of
from consumer.settings.model import InputSettings
from consumer.windows.events import BITRATE, BUFFER, KINDS

MAX_SKIPPED = 50
"""Limit of the fields that are listed as skipped."""

_SAMPLES = {BITRATE: BITRATE_BPS, BUFFER: DURATION_MS}
_RECORDS = frozenset({"record", "error"})


class FieldReport(NamedTuple):
    """One of our fields, or a further place of it."""

    field: str
    """Empty for a further place."""
    path: str
    """Where it is, or was looked for."""
    read: str
    """Its types and how they are read, or what is wrong."""


class TypeReport(NamedTuple):
    """An event type that the schema names."""

    name: str
    read: str
    """Its kinds, and which of its samples are skipped."""


class SchemaReport(NamedTuple):
    """What the settings find in a writer schema."""

    name: str
    fields: list[FieldReport]
    types: list[TypeReport]
    unlisted: str
    """What event types are, as "text", if the schema does not list them; else empty."""
    skipped: list[str]
    """Fields of the schema that nothing reads, with their types."""
    unused: list[str]
    """Settings of `input.events` that name no event type of the schema."""
    refusal: str
    """Why the settings cannot read it; empty if they can."""


def explain_schema(parsed: ParsedSchema, source: InputSettings) -> SchemaReport:
    """Compile a writer schema by the settings and report what was found, also if it is refused."""
    mapping, notes, refusal = mapping_from(source), Notes(), ""
    try:
        compile_program(parsed, mapping, notes)
    except SchemaRefused as refused:
        refusal = str(refused)
    unlisted = _unlisted(notes)
    return SchemaReport(
        name=parsed.name,
        fields=[row for field in range(len(FIELDS)) for row in _field_reports(field, mapping, notes)],
        types=[_type_report(name, facts, parsed, notes) for name, facts in notes.type_names.items()],
        unlisted=unlisted,
        skipped=_skipped(parsed, {path for _, path in notes.wanted}),
        unused=[] if unlisted or not notes.type_names else _unused(source, notes),
        refusal=refusal,
    )


def _unlisted(notes: Notes) -> str:
    read = [each for (field, _), types in notes.read.items() if field == TYPE for each in types]
    if any(each.startswith("a string") for each in read):
        return "text"
    return "numbers" if any(each.endswith("by its number") for each in read) else ""


def _field_reports(field: int, mapping: Mapping, notes: Notes) -> Iterator[FieldReport]:
    """One row for each place of a field: parts that are joined, and what is taken where another is missing."""
    if field == TIMESTAMP_MS and mapping.kafka_time:
        yield FieldReport(FIELDS[field], "", 'the Kafka timestamp of the record (input.time = "kafka")')
        return
    for number, part in enumerate(mapping.places[field].parts):
        for i, source in enumerate(part.sources):
            path = next((each for each in source.paths if (field, each) in notes.wanted), source.paths[0])
            name = "" if number or i else FIELDS[field]
            sign = "else " if i else "and " if number else ""
            is_last = i + 1 == len(part.sources)
            otherwise = _otherwise(field, part, is_last=is_last)
            if source.is_key:
                yield FieldReport(name, f"{sign}{_text(path)}", f"the key of the record; none: {otherwise}")
            elif read := _read(field, path, notes, otherwise):
                yield FieldReport(name, f"{sign}{_text(path) or '(the record)'}", read)
            else:
                tried = " or ".join(f'"{_text(each)}"' for each in source.paths if each)
                yield FieldReport(name, "", f"{sign}missing: there is no field {tried}")


def _otherwise(field: int, part: FieldPart, *, is_last: bool) -> str:
    """What happens where nothing is read from a place."""
    if not is_last:
        return "the next"
    if part.default is not None:
        return f'"{part.default}"'
    return "skipped" if field in _SAMPLES.values() else "rejected (missing_value)"


def _read(field: int, path: Path, notes: Notes, otherwise: str) -> str:
    """The types at a place; empty if there are none."""
    place = field, path
    parts = list(dict.fromkeys(notes.read.get(place, [])))
    parts += [f"null: {otherwise}"] * (place in notes.null)
    parts += [f"{what}: {otherwise}" for what in dict.fromkeys(notes.unfit.get(place, []))]
    return "; ".join(parts)


def _type_report(name: str, facts: int, parsed: ParsedSchema, notes: Notes) -> TypeReport:
    if facts == IGNORE_KIND:
        return TypeReport(name, "ignored")
    if facts == UNKNOWN_KIND:
        return TypeReport(name, "unknown: its records are rejected (unknown_event_type)")
    kinds = " and ".join(kind for kind, fact in KINDS.items() if fact & facts) or "heartbeat"
    without = [
        f"{FIELDS[field]} is not in it, so it is skipped"
        for fact, field in _SAMPLES.items()
        if fact & facts and not _has(name, field, parsed, notes)
    ]
    return TypeReport(name, "; ".join([kinds, *without]))


def _has(name: str, field: int, parsed: ParsedSchema, notes: Notes) -> bool:
    """Whether records of an event type have a field; types that are branches of a union differ in that."""
    of_type = next(path for each, path in notes.wanted if each == TYPE)
    branch = next(
        (each for each in leaves(parsed, of_type) if type_of(each) in _RECORDS and each["name"] == name), None
    )
    for path in (path for each, path in notes.read if each == field):
        if branch is None or path[: len(of_type)] != of_type:
            return True
        if leaves(ParsedSchema(branch, parsed.named), path[len(of_type) :]):
            return True
    return False


def _unused(source: InputSettings, notes: Notes) -> list[str]:
    there = {short for name in notes.type_names for short in (name, name.rsplit(".", 1)[-1])}
    return [
        f'input.events.{kind}: "{name}"'
        for kind in type(source.events).model_fields
        for name in getattr(source.events, kind)
        if name not in there
    ]


def _skipped(parsed: ParsedSchema, read: set[Path]) -> list[str]:
    """Fields that nothing reads, the first of them."""
    found: dict[str, str] = {}
    for path, schema in islice(_fields(parsed, parsed.schema, (), ()), MAX_TYPES):
        if not any(each[: len(path)] == path for each in read):
            logical = logical_type(schema)
            found.setdefault(_text(path), type_of(schema) + (f", {logical}" if logical else ""))
    return [f"{path} ({what})" for path, what in islice(found.items(), MAX_SKIPPED)]


def _fields(parsed: ParsedSchema, schema: Schema, path: Path, inside: tuple[str, ...]) -> Iterator[tuple[Path, Schema]]:
    """The innermost fields of records, with their types; arrays and maps are fields as a whole."""
    for branch in branches(parsed, schema):
        if type_of(branch) not in _RECORDS or str(branch["name"]) in inside:
            continue
        for name, member in members(branch):
            is_innermost = True
            for below in _fields(parsed, member, (*path, name), (*inside, str(branch["name"]))):
                is_innermost = False
                yield below
            if is_innermost:
                yield (*path, name), next(iter(branches(parsed, member)), "null")


def _text(path: Path) -> str:
    return ".".join(path)
