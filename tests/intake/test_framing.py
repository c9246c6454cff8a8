"""What precedes a payload in each format, and in headers."""

import io
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import fastavro
import numpy as np
import pytest

from consumer.intake.compiler.schema_json import parse_schema_text
from consumer.intake.intake import Intake
from consumer.intake.schemas.builtin import builtin_schema_text, load_builtin_schema
from consumer.intake.schemas.cache import SchemaCache
from consumer.runtime.joined import joined
from consumer.settings.model import InputSettings, load_settings
from consumer.windows.events import BITRATE, BUFFER, HEARTBEAT, JOIN, LEAVE
from tests.intake.payloads import NO_CLOCK_MS, confluent, join, schema_headers
from tests.intake.reference import Event, encode, row
from tests.intake.schemas.in_place import intake_in_place
from tests.intake.schemas.registry_server import RegistryServer

# The fingerprint of `"int"` in the Avro project's own test data: 8247732601305521295 as a signed long.
INT_FINGERPRINT = (8247732601305521295).to_bytes(8, "little")
OTHER = {
    "type": "record",
    "name": "Other",
    "fields": [{"name": name, "type": "string"} for name in ("type", "viewer_id", "stream_id")]
    + [{"name": "timestamp_ms", "type": "long"}],
}
OTHER_JOIN = b"\x08join\x02v\x02s\x04"


def intake(**settings: Any) -> Intake:
    source = InputSettings.model_validate(settings)
    return intake_in_place(source) if source.schema_registry_url else Intake(source, SchemaCache(source))


def events(one: Intake, values: list[bytes | None], headers: Any = None) -> list[Event]:
    decoded = one.decode(joined(values), np.full(len(values), -1), NO_CLOCK_MS, schema_headers(headers))
    assert decoded.waiting == len(values)
    return [row(decoded.events, i) for i in range(len(values))]


@pytest.fixture
def schema_files(tmp_path: Path) -> list[str]:
    paths = [tmp_path / "viewer_event.avsc", tmp_path / "other.avsc"]
    paths[0].write_text(builtin_schema_text("viewer_event"))
    paths[1].write_text(json.dumps(OTHER))
    return [str(path) for path in paths]


def single_object(payload: bytes, fingerprint: bytes) -> bytes:
    return b"\xc3\x01" + fingerprint + payload


def test_fingerprints_equal_those_of_the_avro_project() -> None:
    assert parse_schema_text('"int"').fingerprint() == INT_FINGERPRINT
    assert parse_schema_text('{"type": "int", "logicalType": "date"}').fingerprint() == INT_FINGERPRINT


def test_confluent_ids_are_big_endian_and_unsigned(schema_files: list[str]) -> None:
    pinned = intake(ids={0x01020304: schema_files[0], 2**31 - 1: schema_files[1]})
    values: list[bytes | None] = [
        confluent(join(), 0x01020304),
        confluent(OTHER_JOIN, 2**31 - 1),
        confluent(join(), 2**32 - 1),
    ]
    assert events(pinned, values) == [Event("s", "v", 1_000), Event("s", "v", 2), Event(reject="unknown_schema")]


def test_one_batch_may_contain_several_schemas(schema_files: list[str]) -> None:
    pinned = intake(ids={7: schema_files[0], 3: schema_files[1]})
    values: list[bytes | None] = [confluent(join(), 7), confluent(OTHER_JOIN, 3), None] * 50
    assert events(pinned, values) == [Event("s", "v", 1_000), Event("s", "v", 2), Event(reject="null_value")] * 50


def test_without_registry_and_files_id_1_is_the_built_in_schema() -> None:
    assert events(intake(), [confluent(join(), 1)]) == [Event("s", "v", 1_000)]
    assert events(intake(), [confluent(join(), 0)]) == [Event(reject="unknown_schema")]


def test_with_one_schema_file_every_id_means_that_schema(schema_files: list[str]) -> None:
    one = intake(schemas=schema_files[1])
    values: list[bytes | None] = [confluent(OTHER_JOIN, 1), confluent(OTHER_JOIN, 2**32 - 1), b"\1" + OTHER_JOIN]
    assert events(one, values) == [Event("s", "v", 2), Event("s", "v", 2), Event(reject="bad_framing")]


def test_single_object_records_name_schemas_by_fingerprint(schema_files: list[str]) -> None:
    fingerprints = [parse_schema_text(Path(path).read_text()).fingerprint() for path in schema_files]
    one = intake(format="single-object", schemas=schema_files)
    values: list[bytes | None] = [
        single_object(join(), fingerprints[0]),
        single_object(OTHER_JOIN, fingerprints[1]),
        single_object(join(), INT_FINGERPRINT),
        single_object(join(), fingerprints[0])[:9],
        b"\xc3\x02" + fingerprints[0] + join(),
        confluent(join()),
    ]
    assert events(one, values) == [
        Event("s", "v", 1_000),
        Event("s", "v", 2),
        Event(reject="unknown_schema"),
        *[Event(reject="bad_framing")] * 3,
    ]
    decoded = one.decode(joined([single_object(join(), INT_FINGERPRINT)]), [-1], NO_CLOCK_MS)
    assert decoded.explain(0).schema == f"fingerprint {int.from_bytes(INT_FINGERPRINT, 'little'):016x}"


def test_raw_records_are_the_payload_alone(schema_files: list[str]) -> None:
    one = intake(format="raw", schemas=schema_files[1])
    assert events(one, [OTHER_JOIN, b"", None]) == [
        Event("s", "v", 2),
        Event(reject="truncated"),
        Event(reject="null_value"),
    ]
    assert one.decode(joined([b""]), [-1], 0).explain(0).schema == ""


KINDS_AND_VALUES = [
    ("ViewerJoin", {}, 0),
    ("ViewerLeave", {}, 0),
    ("BitrateReport", {"bitrate_bps": 2**41}, 2**41),
    ("BufferEvent", {"duration_ms": 2**32 - 1}, 2**32 - 1),
    ("ViewerHeartbeat", {}, 0),
    ("PlaybackReport", {"bitrate_bps": 2**41, "duration_ms": 2**32 - 1}, 2**41),
]
FACTS = [JOIN, LEAVE, BITRATE, BUFFER, HEARTBEAT, BITRATE | BUFFER]


def written_by_fastavro() -> list[bytes]:
    """Return a payload of each kind of event in our own schema."""
    schema = load_builtin_schema("viewer_event")
    return [
        encode(
            schema,
            {
                "stream_id": "Zürich",
                "viewer_id": f"v{kind}",
                "timestamp_ms": -1 - kind,
                "event": (f"viewer_consumer.{name}", event),
            },
        )
        for kind, (name, event, _) in enumerate(KINDS_AND_VALUES)
    ]


@pytest.mark.parametrize("form", ["confluent", "single-object", "raw"])
def test_without_registry_and_files_payloads_that_fastavro_writes_are_read_with_the_built_in_schema(form: str) -> None:
    fingerprint = fingerprint_by_fastavro(load_builtin_schema("viewer_event"))
    heads = {"confluent": b"\0\0\0\0\1", "single-object": b"\xc3\x01" + fingerprint, "raw": b""}
    source = load_settings(None, [f"input.format={form}"], {}).input
    values: list[bytes | None] = [heads[form] + payload for payload in written_by_fastavro()]
    assert events(Intake(source, SchemaCache(source)), values) == [
        Event("Zürich", f"v{kind}", -1 - kind, FACTS[kind], value, event["duration_ms"] if len(event) == 2 else 0)
        for kind, (_, event, value) in enumerate(KINDS_AND_VALUES)
    ]


def test_records_of_the_built_in_schema_of_earlier_releases_are_read() -> None:
    schema = load_builtin_schema("viewer_event")
    (event,) = [field for field in schema["fields"] if field["name"] == "event"]
    event["type"] = event["type"][:4]
    assert fastavro.schemaless_reader(io.BytesIO(join()), schema, load_builtin_schema("viewer_event"))
    head = b"\xc3\x01" + fingerprint_by_fastavro(schema)
    source = load_settings(None, ["input.format=single-object"], {}).input
    assert events(Intake(source, SchemaCache(source)), [head + join()]) == [Event("s", "v", 1_000)]


def fingerprint_by_fastavro(schema: Any) -> bytes:
    """Return CRC-64-AVRO of the parsing canonical form, in little-endian order as on the wire."""
    canonical = fastavro.schema.to_parsing_canonical_form(schema)
    return bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))


GUID = UUID("11111111-2222-3333-4444-555555555555")


def test_headers_name_schemas_by_guid_or_id(schema_files: list[str], registry: RegistryServer) -> None:
    registry.add(5, builtin_schema_text("viewer_event"))
    registry.add_guid(str(GUID), json.dumps(OTHER))
    one = intake(schema_registry_url=registry.url, ids={9: schema_files[1]})
    values: list[bytes | None] = [
        OTHER_JOIN,
        join(),
        confluent(join(), 5),
        confluent(join(), 5),
        OTHER_JOIN,
        None,
        join(),
    ]
    headers = [
        [("trace", b"x"), ("__value_schema_id", b"\1" + GUID.bytes)],
        [("__value_schema_id", b"\0\0\0\0\5")],
        None,
        [("__key_schema_id", b"\1" + GUID.bytes)],
        [("__value_schema_id", b"\0\0\0\0\x09")],
        [("__value_schema_id", b"\0\0\0\0\5")],
        [("__value_schema_id", b"\2" + GUID.bytes)],
    ]
    assert events(one, values, headers) == [
        Event("s", "v", 2),
        Event("s", "v", 1_000),
        Event("s", "v", 1_000),
        Event("s", "v", 1_000),
        Event("s", "v", 2),
        Event(reject="null_value"),
        Event(reject="bad_framing"),
    ]


def test_a_dead_letter_names_the_guid(registry: RegistryServer) -> None:
    one = intake(schema_registry_url=registry.url, unknown_schema_wait_ms=0)
    decoded = one.decode(
        joined([join()]), [-1], NO_CLOCK_MS, schema_headers([[("__value_schema_id", b"\1" + GUID.bytes)]])
    )
    assert decoded.explain(0).schema == f"guid {GUID}"
    assert decoded.explain(0).reason.label == "unknown_schema"
