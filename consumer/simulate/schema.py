"""The schema in which events are written, and the bytes that precede a record of it."""

from typing import Any

import fastavro.schema

from consumer.intake.schemas.builtin import load_builtin_schema


def event_schema() -> dict[str, Any]:
    """Return the schema of our events as parsed JSON."""
    schema: dict[str, Any] = load_builtin_schema("viewer_event")
    return schema


def confluent_frame(schema_id: int) -> bytes:
    """Return the bytes that precede a record whose schema has this registry id."""
    return b"\0" + schema_id.to_bytes(4, "big")


def apicurio_frame(schema_id: int) -> bytes:
    """Return the bytes that precede a record whose schema has this id of eight bytes in Apicurio."""
    return b"\0" + schema_id.to_bytes(8, "big")


def single_object_frame(schema: dict[str, Any]) -> bytes:
    """Return the bytes that precede a single-object record of this schema: a marker and the schema's fingerprint."""
    canonical = fastavro.schema.to_parsing_canonical_form(schema)
    return b"\xc3\x01" + bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))
