"""Schema files of the settings that name each other's types."""

import json
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest

from consumer.errors import UsageError
from consumer.intake.compiler.schema_json import SchemaRefused
from consumer.intake.intake import Intake
from consumer.intake.schemas.cache import SchemaCache
from consumer.runtime.joined import joined
from consumer.settings.model import InputSettings
from tests.intake.payloads import NO_CLOCK_MS, confluent
from tests.intake.reference import Event, encode, row

TEXT = {"type": "record", "name": "x.Id", "fields": [{"name": "text", "type": "string"}]}
LONGER = {
    "type": "record",
    "name": "x.Id",
    "fields": [{"name": "region", "type": "int"}, {"name": "text", "type": "string"}],
}
IDS = {"type": "record", "name": "x.Ids", "fields": [{"name": name, "type": "Id"} for name in ("stream", "viewer")]}
FIELDS = {"stream_id": "ids.stream.text", "viewer_id": "ids.viewer.text"}
PLAIN = {"ids": {"stream": {"text": "s"}, "viewer": {"text": "v"}}, "timestamp_ms": 7, "type": "join"}
WITH_REGION = {"ids": {"stream": {"region": 3, "text": "s"}, "viewer": {"region": 4, "text": "v"}}} | {
    "timestamp_ms": 8,
    "type": "join",
}


def event(name: str = "x.Event") -> dict[str, Any]:
    fields = [("ids", "x.Ids"), ("timestamp_ms", "long"), ("type", "string")]
    return {"type": "record", "name": name, "fields": [{"name": name, "type": kind} for name, kind in fields]}


def whole(identity: dict[str, Any], name: str = "x.Event") -> dict[str, Any]:
    """The schema of events in one piece, as producers have it."""
    ids = {**IDS, "fields": [{"name": "stream", "type": identity}, {"name": "viewer", "type": "Id"}]}
    first, *others = event(name)["fields"]
    return {**event(name), "fields": [{**first, "type": ids}, *others]}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    schemas = {"id": TEXT, "longer": LONGER, "ids": IDS, "event": event(), "other": event("x.Other")}
    for name, schema in schemas.items():
        (tmp_path / f"{name}.avsc").write_text(json.dumps(schema))
    return {name: str(tmp_path / f"{name}.avsc") for name in schemas}


def read(values: list[bytes], **settings: Any) -> list[Event]:
    source = InputSettings.model_validate({"fields": FIELDS, **settings})
    decoded = Intake(source, SchemaCache(source)).decode(joined(values), np.full(len(values), -1), NO_CLOCK_MS)
    return [row(decoded.events, i) for i in range(len(values))]


@pytest.mark.parametrize("form", ["confluent", "apicurio", "raw"])
def test_a_file_may_name_types_of_the_files_before_it(form: str, files: dict[str, str]) -> None:
    head = {"confluent": b"\0\0\0\0\7", "apicurio": b"\0" + (9).to_bytes(8, "big"), "raw": b""}[form]
    listed = [files["id"], files["ids"], files["event"]]
    assert read([head + encode(whole(TEXT), PLAIN)], format=form, schemas=listed) == [Event("s", "v", 7)]


def test_of_several_with_that_type_the_nearest_before_it_counts(files: dict[str, str]) -> None:
    listed = [files["id"], files["longer"], files["ids"]]
    value = confluent(encode(whole(LONGER), WITH_REGION), 3)
    assert read([value], ids={3: files["event"]}, schemas=listed) == [Event("s", "v", 8)]


def test_files_of_ids_name_types_of_all_files(files: dict[str, str]) -> None:
    values = [confluent(encode(whole(TEXT), PLAIN), 3), confluent(encode(whole(TEXT, "x.Other"), PLAIN), 4)]
    pinned = {3: files["event"], 4: files["other"]}
    assert read(values, ids=pinned, schemas=[files["id"], files["ids"]]) == [Event("s", "v", 7)] * 2


def test_fingerprints_are_those_of_the_whole_schema_as_producers_have_it(files: dict[str, str]) -> None:
    listed = [files["id"], files["ids"], files["event"], files["other"]]
    values = []
    for schema in (whole(TEXT), whole(TEXT, "x.Other")):
        canonical = fastavro.schema.to_parsing_canonical_form(schema)
        values.append(
            b"\xc3\1" + bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO")) + encode(schema, PLAIN)
        )
    assert read(values, format="single-object", schemas=listed) == [Event("s", "v", 7)] * 2


def test_a_type_that_no_file_before_it_defines_is_named_with_what_to_do(files: dict[str, str]) -> None:
    for listed in ([files["event"]], [files["event"], files["ids"], files["id"]]):
        with pytest.raises(SchemaRefused) as refused:
            read([], schemas=listed)
        assert str(refused.value) == (
            f'schema file {files["event"]}: it names the type "x.Ids", which it does not define; '
            "list the file that defines it before this one in input.schemas"
        )


@pytest.mark.parametrize("form", ["confluent", "raw"])
def test_several_files_of_records_are_refused_with_their_names(form: str, files: dict[str, str]) -> None:
    with pytest.raises(UsageError) as refused:
        read([], format=form, schemas=[files["id"], files["ids"], files["event"], files["other"]])
    assert "must have one file that no other names types of" in str(refused.value)
    assert f"({files['event']}, {files['other']})" in str(refused.value)
