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
    """One of our fields."""

    field: str
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
    any_text: bool
    """The event type is text, so that the schema does not list the event types."""
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
    any_text = any(each.startswith("a string") for each in notes.read.get(TYPE, []))
    return SchemaReport(
        name=parsed.name,
        fields=[_field_report(field, mapping, notes) for field in range(len(FIELDS))],
        types=[_type_report(name, facts, parsed, mapping, notes) for name, facts in notes.type_names.items()],
        any_text=any_text,
        skipped=_skipped(parsed, set(notes.paths.values())),
        unused=[] if any_text or not notes.type_names else _unused(source, notes),
        refusal=refusal,
    )


def _field_report(field: int, mapping: Mapping, notes: Notes) -> FieldReport:
    if field == TIMESTAMP_MS and mapping.kafka_time:
        return FieldReport(FIELDS[field], "", 'the Kafka timestamp of the record (input.time = "kafka")')
    path = notes.paths.get(field, mapping.places[field].paths[0])
    parts = list(dict.fromkeys(notes.read.get(field, [])))
    if field in notes.null:
        parts.append(f"null: {_unread(field)}")
    parts += [f"{what}: {_unread(field)}" for what in dict.fromkeys(notes.unfit.get(field, []))]
    if not parts:
        tried = " or ".join(f'"{_text(each)}"' for each in mapping.places[field].paths if each)
        return FieldReport(FIELDS[field], "", f"missing: there is no field {tried}")
    return FieldReport(FIELDS[field], _text(path) if path else "(the record)", "; ".join(parts))


def _unread(field: int) -> str:
    return "skipped" if field in _SAMPLES.values() else "rejected (missing_value)"


def _type_report(name: str, facts: int, parsed: ParsedSchema, mapping: Mapping, notes: Notes) -> TypeReport:
    if facts == IGNORE_KIND:
        return TypeReport(name, "ignored")
    if facts == UNKNOWN_KIND:
        return TypeReport(name, "unknown: its records are rejected (unknown_event_type)")
    kinds = " and ".join(kind for kind, fact in KINDS.items() if fact & facts) or "heartbeat"
    without = [
        f"{FIELDS[field]} is not in it, so it is skipped"
        for fact, field in _SAMPLES.items()
        if fact & facts and not _has(name, field, parsed, mapping, notes)
    ]
    return TypeReport(name, "; ".join([kinds, *without]))


def _has(name: str, field: int, parsed: ParsedSchema, mapping: Mapping, notes: Notes) -> bool:
    """Whether records of an event type have a field; types that are branches of a union differ in that."""
    if field not in notes.read:
        return False
    place, path = notes.paths[TYPE], notes.paths.get(field, mapping.places[field].paths[0])
    found = leaves(parsed, place)
    branch = next((each for each in found if type_of(each) in _RECORDS and each["name"] == name), None)
    if branch is None or path[: len(place)] != place:
        return True
    return bool(leaves(ParsedSchema(branch, parsed.named), path[len(place) :]))


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
