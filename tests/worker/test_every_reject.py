"""Every reason on the closed list, from bytes to a dead letter, on one worker; valid records beside it count."""

import json
from collections.abc import Iterator

import pytest

from consumer.intake.rejects import Reject
from consumer.intake.schemas.builtin import builtin_schema_text
from consumer.settings.field_sources import FieldSettings
from tests.intake.payloads import bitrate, confluent, double, join, number, text
from tests.intake.schemas.registry_server import RegistryServer
from tests.worker.rig import INTERVAL_S, Rig

OURS, FLAT, REFUSED, UNKNOWN, TEXT = 1, 2, 3, 4, 5
SOME = number(1)
NULL = number(0)
NOW_MS = 1_000_000
"""Start time of a rig's clock."""

FLAT_SCHEMA = {
    "type": "record",
    "name": "Flat",
    "fields": [
        {"name": "stream_id", "type": "string"},
        {"name": "viewer_id", "type": "string"},
        {"name": "timestamp_ms", "type": "double"},
        {"name": "type", "type": ["null", "string"]},
    ],
}

TEXT_SCHEMA = {
    "type": "record",
    "name": "Text",
    "fields": [{"name": name, "type": "string"} for name in ("stream_id", "viewer_id", "timestamp_ms", "type")],
}

KEYS = {Reject.BAD_KEY: b"not framed"}
"""Keys of the records of which the key is the viewer."""


def timed(time: str) -> bytes:
    return confluent(text("s") + text("v") + text(time) + text("join"), TEXT)


def flat(kind: bytes, timestamp_ms: float = 1.0) -> bytes:
    return confluent(text("s") + text("v") + double(timestamp_ms) + kind, FLAT)


RECORDS: dict[Reject, bytes | None] = {
    Reject.NULL_VALUE: None,
    Reject.OVERSIZED: confluent(join("s" * 70_000)),
    Reject.BAD_FRAMING: b"\1" + confluent(join())[1:],
    Reject.UNKNOWN_SCHEMA: confluent(join(), UNKNOWN),
    Reject.SCHEMA_REFUSED: confluent(join(), REFUSED),
    Reject.TRUNCATED: confluent(join()[:-1]),
    Reject.TRAILING_BYTES: confluent(join() + b"\0"),
    Reject.BAD_NUMBER: confluent(b"\x80" * 11 + join()),
    Reject.BAD_LENGTH: confluent(number(-1) + join()),
    Reject.UNKNOWN_BRANCH: confluent(join()[:-1] + number(6)),
    Reject.BAD_TEXT: confluent(join("s", b"\xff")),
    Reject.EMPTY_ID: confluent(join("")),
    Reject.ID_TOO_LONG: confluent(join("s" * 1_025)),
    Reject.MISSING_VALUE: flat(NULL),
    Reject.UNKNOWN_EVENT_TYPE: flat(SOME + text("dance")),
    Reject.OUT_OF_RANGE: confluent(bitrate(2**41 + 1)),
    Reject.NOT_FINITE: flat(SOME + text("join"), float("nan")),
    Reject.BAD_KEY: confluent(join()),
    Reject.BAD_TIME: timed("yesterday"),
    Reject.TIME_WITHOUT_OFFSET: timed("1970-01-01T00:16:40"),
    Reject.TIMESTAMP_OUT_OF_RANGE: confluent(join(timestamp_ms=2**52 + 1)),
    Reject.FUTURE: confluent(join(timestamp_ms=NOW_MS + 3_600_000)),
    Reject.STREAM_LIMIT: confluent(join("another")),
}


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    server = RegistryServer()
    server.add(OURS, builtin_schema_text("viewer_event"))
    server.add(FLAT, json.dumps(FLAT_SCHEMA))
    server.add(TEXT, json.dumps(TEXT_SCHEMA))
    server.add(REFUSED, '{"type": "record", "name": "Order", "fields": []}')
    try:
        yield server
    finally:
        server.close()


def test_the_list_of_cases_has_every_reason() -> None:
    assert set(RECORDS) == set(Reject) - {Reject.MALFORMED}, "only files of JSON lines have this reason"


@pytest.mark.parametrize("reason", RECORDS, ids=lambda reason: reason.label)
def test_each_reason_leads_from_bytes_to_a_dead_letter(reason: Reject, registry: RegistryServer) -> None:
    of_key = FieldSettings.model_validate({"viewer_id": {"first": ["@key", "viewer_id"]}})
    fields = of_key if reason in KEYS else FieldSettings()
    rig = Rig(registry_url=registry.url, max_streams=1, fields=fields, framed_keys=reason in KEYS).start()
    rig.join(0)
    rig.cluster.write(0, RECORDS[reason], rig.clock.now_ms(), key=KEYS.get(reason))
    rig.join(1)
    rig.turn(INTERVAL_S)
    rig.turn(1.5, times=25)  # an unknown id is asked for during 30 s
    (dead_letter,) = [each for each in rig.cluster.published if each.topic == rig.settings.kafka.dead_letter_topic]
    assert dead_letter.value == RECORDS[reason]
    headers = dict(dead_letter.headers)
    assert headers["__streams.errors.exception"] == reason.label.encode()
    assert headers["__streams.errors.message"]
    assert headers["__streams.errors.offset"] == b"1"
    assert rig.counted("rejects_total", reason=reason.label) == 1
    assert rig.buckets() == [0], "the events before and after it count"
    assert rig.cluster.committed == {0: 3}
