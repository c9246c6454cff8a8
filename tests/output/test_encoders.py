"""Which encoder the settings choose, and how it uses the registry, over real HTTP."""

import io
import json
from collections.abc import Iterator

import fastavro
import numpy as np
import pytest

from consumer.errors import ViewerConsumerError
from consumer.intake.schemas.access import HOW_TO_LOG_IN
from consumer.intake.schemas.builtin import load_builtin_schema
from consumer.intake.schemas.registry import RegistryUnavailable
from consumer.output.encoders import encoder_from
from consumer.output.summary import Origin, summary_dicts
from consumer.output.summary_encoding import Encoder
from consumer.settings.model import Settings, load_settings
from consumer.windows.layout import CLOSED
from consumer.windows.partition import ClosedBuckets
from tests.intake.schemas.registry_server import Answer, RegistryServer

SUBJECT = "summaries-of.mine-value"
ORIGIN = Origin(bucket_ms=10_000, counting="sessions", topic="viewer-events", partition=3)


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    server = RegistryServer()
    yield server
    server.close()


def settings(url: str) -> Settings:
    return load_settings(
        None,
        ["output.format=confluent", f"input.schema_registry_url={url}", "kafka.output_topic=summaries-of.mine"],
        {},
    )


def closed_buckets() -> ClosedBuckets:
    rows = np.zeros(2, CLOSED)
    rows["bucket"]["start_ms"] = [20_000, -10_000]
    rows["bucket"]["peak"] = [7, 0]
    rows["bucket"]["bitrate_samples"], rows["bucket"]["bitrate_sum_low"] = 3, 10
    rows["offset"] = [41, -1]
    return ClosedBuckets([b"channel-1", "Zürich".encode()], rows)


def encoded(encode: Encoder) -> list[tuple[bytes, bytes]]:
    columns = encode(closed_buckets(), np.full(2, ORIGIN.partition))
    return [(key or b"", value or b"") for key, value, _ in columns.records()]


def ids(encode: Encoder) -> set[int]:
    records = encoded(encode)
    assert {value[0] for _, value in records} == {0}
    return {int.from_bytes(value[1:5], "big") for _, value in records}


def test_json_needs_no_registry() -> None:
    records = encoded(encoder_from(Settings()))
    assert [json.loads(value) for _, value in records] == summary_dicts(closed_buckets(), ORIGIN)


def test_summaries_are_written_with_the_registered_schema(registry: RegistryServer) -> None:
    encode = encoder_from(settings(registry.url))
    assert registry.asked() == [f"/subjects/{SUBJECT}/versions"]
    registered = registry.registered()[SUBJECT]
    assert json.loads(registered) == load_builtin_schema("bucket_summary")
    schema = fastavro.parse_schema(json.loads(registered.replace("timestamp-millis", "none")))
    records = encoded(encode)
    read = [fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None) for _, value in records]
    assert read == summary_dicts(closed_buckets(), ORIGIN)
    assert [key for key, _ in records] == closed_buckets().stream_ids
    assert registry.asked() == [f"/subjects/{SUBJECT}/versions"], "registered once, not with each batch"


def test_the_registrys_id_precedes_each_summary(registry: RegistryServer) -> None:
    registry.fault, registry.faults_left = Answer(200, b'{"id": 2147483647}'), 1
    assert ids(encoder_from(settings(registry.url))) == {2**31 - 1}
    assert ids(encoder_from(settings(registry.url))) == ids(encoder_from(settings(registry.url)))


def test_a_registry_that_fails_once_is_asked_again(registry: RegistryServer) -> None:
    registry.fault, registry.faults_left = Answer(503, b""), 1
    assert len(ids(encoder_from(settings(registry.url)))) == 1
    assert registry.asked() == [f"/subjects/{SUBJECT}/versions"] * 2


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (
            Answer(409, b'{"error_code": 409, "message": "Schema is incompatible\\nwith version 3"}'),
            f"doesn't register the schema of {SUBJECT}: status 409, Schema is incompatible with version 3",
        ),
        (Answer(404, b"<html>"), f"doesn't register the schema of {SUBJECT}: status 404"),
        (Answer(200, b"{}"), f"doesn't register the schema of {SUBJECT}: status 200"),
        (Answer(200, b'{"id": 4294967296}'), f"doesn't register the schema of {SUBJECT}: status 200"),
        (
            Answer(401, b""),
            f"refuses us (401); set {HOW_TO_LOG_IN}",
        ),
        (
            Answer(301, b"", {"Location": "http://127.0.0.1:1/"}),
            "answers with a redirect (301), which is not followed; set the address itself",
        ),
    ],
)
def test_a_refusal_of_the_registry_is_a_one_line_error_with_the_reason(
    registry: RegistryServer, fault: Answer, why: str
) -> None:
    registry.fault = fault
    with pytest.raises(RegistryUnavailable) as caught:
        encoder_from(settings(registry.url.replace("//", "//me:hunter2@")))
    assert str(caught.value) == f"the schema registry at {registry.url} {why}"
    assert caught.value.exit_code == 1


def test_credentials_are_sent(registry: RegistryServer) -> None:
    encoder_from(settings(registry.url.replace("//", "//me:hunter2@")))
    assert registry.credentials() == {"Basic bWU6aHVudGVyMg=="}


def test_a_registry_that_is_down_is_a_one_line_error(registry: RegistryServer) -> None:
    url = registry.url
    registry.close()
    with pytest.raises(ViewerConsumerError, match=rf"^the schema registry at {url} gives no answer \(\w+\)$"):
        encoder_from(settings(url))
