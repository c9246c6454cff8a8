"""Schemas from a registry, over real HTTP: what is asked, what is remembered, and what a fault does."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from consumer.errors import UsageError, ViewerConsumerError
from consumer.intake.compiler.schema_json import SchemaRefused
from consumer.intake.intake import Decoded, Intake
from consumer.intake.rejects import WAITING, Reject
from consumer.intake.schemas.access import access_of
from consumer.intake.schemas.builtin import builtin_schema_text
from consumer.intake.schemas.cache import SchemaCache
from consumer.intake.schemas.lookups import (
    ASK_AGAIN_S,
    FAILED_LAST_S,
    MAX_SCHEMAS,
    MAX_UNKNOWN,
    REMEMBER_UNKNOWN_S,
    lookups_from,
)
from consumer.intake.schemas.registry import Registry
from consumer.runtime.joined import joined
from consumer.settings.model import InputSettings
from tests.intake.payloads import NO_CLOCK_MS, confluent, join, schema_headers
from tests.intake.reference import Event, row
from tests.intake.schemas.in_place import intake_in_place, lookups_in_place
from tests.intake.schemas.registry_server import Answer, RegistryServer

OURS = builtin_schema_text("viewer_event")
LONGEST_FIRST_PAUSE_S = ASK_AGAIN_S + FAILED_LAST_S


class Clock:
    """A monotonic clock that only tests move."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class Reader:
    """An intake with a registry, and a clock to move."""

    def __init__(self, url: str, **settings: Any) -> None:
        source = InputSettings.model_validate({"schema_registry_url": url, **settings})
        self.clock = Clock()
        self.lookups = lookups_in_place(
            Registry(access_of(source), self.clock), source.unknown_schema_wait_ms / 1000, self.clock
        )
        self.schema_cache = SchemaCache(source, self.lookups, self.clock)
        self._intake = Intake(source, self.schema_cache)

    def decode(self, *ids: int) -> Decoded:
        values = [confluent(join(), schema_id) for schema_id in ids]
        return self._intake.decode(joined(values), np.full(len(ids), -1), NO_CLOCK_MS)


def test_a_schema_is_asked_for_once(registry: RegistryServer) -> None:
    registry.add(7, OURS)
    reader = Reader(registry.url)
    for _ in range(3):
        decoded = reader.decode(7, 7)
        assert row(decoded.events, 1) == Event("s", "v", 1_000)
    assert registry.asked() == ["/schemas/ids/7"]


def test_a_base_path_is_kept(registry: RegistryServer) -> None:
    reader = Reader(registry.url + "/apis/ccompat/v7/")
    reader.decode(7)
    assert registry.asked() == ["/apis/ccompat/v7/schemas/ids/7"]


def test_an_unknown_id_waits_until_it_is_registered(registry: RegistryServer) -> None:
    registry.add(7, OURS)
    reader = Reader(registry.url)
    decoded = reader.decode(7, 8, 7)
    assert decoded.waiting == 1
    assert decoded.waiting_reason(decoded.waiting) == "the schema registry doesn't know id 8 yet"
    assert [int(one) for one in decoded.events.reject] == [0, WAITING, 0]
    assert len(decoded.rejects) == 0
    registry.add(8, OURS)
    reader.clock.now_s += ASK_AGAIN_S
    decoded = reader.decode(7, 8, 7)
    assert decoded.waiting == 3
    assert not decoded.events.reject.any()


def test_it_is_not_asked_for_with_every_batch(registry: RegistryServer) -> None:
    reader = Reader(registry.url)
    for _ in range(5):
        assert reader.decode(8).waiting == 0
    assert registry.asked() == ["/schemas/ids/8"]


def test_an_id_that_stays_unknown_becomes_a_reject(registry: RegistryServer) -> None:
    reader = Reader(registry.url, unknown_schema_wait_ms=30_000)
    assert reader.decode(8).waiting == 0
    reader.clock.now_s += 29.9
    assert reader.decode(8).waiting == 0
    reader.clock.now_s += 0.1
    decoded = reader.decode(8)
    assert decoded.waiting == 1
    assert decoded.explain(0) == (Reject.UNKNOWN_SCHEMA, Reject.UNKNOWN_SCHEMA.sentence, "id 8")


def test_a_registry_that_goes_down_stops_the_wait_from_ending(registry: RegistryServer) -> None:
    reader = Reader(registry.url, unknown_schema_wait_ms=30_000)
    assert reader.decode(8).waiting == 0
    registry.fault = Answer(500, b"")
    reader.clock.now_s += 100
    assert reader.decode(8).waiting == 0
    registry.fault = None
    registry.add(8, OURS)
    reader.clock.now_s += LONGEST_FIRST_PAUSE_S
    assert not reader.decode(8).events.reject.any()


def test_a_reject_is_remembered_then_asked_for_again(registry: RegistryServer) -> None:
    reader = Reader(registry.url, unknown_schema_wait_ms=0)
    assert reader.decode(8).rejects.tolist() == [0]
    reader.clock.now_s += REMEMBER_UNKNOWN_S - 1
    assert reader.decode(8).rejects.tolist() == [0]
    assert len(registry.asked()) == 1
    reader.clock.now_s += 1
    assert reader.decode(8).rejects.tolist() == [0], "still unknown: a reject at once, not another wait"
    assert len(registry.asked()) == 2
    registry.add(8, OURS)
    reader.clock.now_s += REMEMBER_UNKNOWN_S
    assert reader.decode(8).rejects.tolist() == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Answer(500, b"{}"), "answers with status 500"),
        (Answer(503, b""), "answers with status 503"),
        (Answer(429, b"{}"), "answers with status 429"),
        (Answer(401, b"{}"), "refuses us (401)"),
        (Answer(404, b"<html>nothing here</html>"), "not as a registry does"),
        (Answer(200, b"<html>hello</html>"), "not as a registry does"),
        (Answer(200, b"[" * 100_000), "not as a registry does"),
        (Answer(302, b"", {"Location": "http://127.0.0.1:1/schemas/ids/7"}), "answers with a redirect (302)"),
        (Answer(200, b" " * (2**22 + 1)), "answers with more than"),
    ],
)
def test_a_registry_in_trouble_rejects_nothing(registry: RegistryServer, fault: Answer, words: str) -> None:
    registry.add(7, OURS)
    registry.fault = fault
    reader = Reader(registry.url, unknown_schema_wait_ms=0)
    decoded = reader.decode(7)
    assert decoded.waiting == 0
    assert len(decoded.rejects) == 0
    assert words in decoded.waiting_reason(decoded.waiting)
    assert registry.url in decoded.waiting_reason(decoded.waiting)
    registry.fault = None
    assert reader.decode(7).waiting == 0, "not asked again so soon"
    reader.clock.now_s += LONGEST_FIRST_PAUSE_S
    assert not reader.decode(7).events.reject.any()


def test_a_redirect_leads_to_no_other_host(registry: RegistryServer) -> None:
    other = RegistryServer()
    try:
        other.add(7, OURS)
        registry.fault = Answer(307, b"", {"Location": f"{other.url}/schemas/ids/7"})
        assert Reader(registry.url).decode(7).waiting == 0
        assert other.asked() == []
    finally:
        other.close()


def test_one_fault_is_asked_away(registry: RegistryServer) -> None:
    registry.add(7, OURS)
    registry.fault = Answer(503, b"")
    registry.faults_left = 1
    assert not Reader(registry.url).decode(7).events.reject.any()
    assert len(registry.asked()) == 2


def test_a_registry_that_is_down_rejects_nothing(registry: RegistryServer) -> None:
    url = registry.url
    reader = Reader(url)
    registry.close()
    decoded = reader.decode(7)
    assert decoded.waiting == 0
    assert f"the schema registry at {url} gives no answer" in decoded.waiting_reason(decoded.waiting)


def test_a_refused_schema_rejects_its_records_alone(registry: RegistryServer) -> None:
    registry.add(7, OURS)
    registry.add(8, '{"type": "record", "name": "Order", "fields": [{"name": "price", "type": "int"}]}')
    registry.add(9, "syntax = 'proto3';", schemaType="PROTOBUF")
    registry.add(10, "{")
    reader = Reader(registry.url)
    decoded = reader.decode(7, 8, 9, 10)
    assert decoded.rejects.tolist() == [1, 2, 3]
    messages = [decoded.explain(i).message for i in (1, 2, 3)]
    assert messages[0].startswith('id 8: schema "Order": stream_id: there is no field "stream_id"')
    assert messages[1] == "id 9: it is a schema of type PROTOBUF; only AVRO is read"
    assert messages[2].startswith("id 10: the schema is not JSON")
    assert {decoded.explain(i).reason for i in (1, 2, 3)} == {Reject.SCHEMA_REFUSED}
    reader.decode(8, 9, 10)
    assert len(registry.asked()) == 4, "refusals are remembered"


ID = {"type": "record", "name": "x.Id", "fields": [{"name": "t", "type": "string"}]}
ID_2 = {"type": "record", "name": "x.Id", "fields": [{"name": "n", "type": "int"}, {"name": "t", "type": "string"}]}
IDS = {"type": "record", "name": "x.Ids", "fields": [{"name": n, "type": "x.Id"} for n in ("stream", "viewer")]}
EVENT = {
    "type": "record",
    "name": "x.Event",
    "fields": [
        {"name": "ids", "type": "x.Ids"},
        {"name": "timestamp_ms", "type": "long"},
        {"name": "id", "type": "x.Id"},
    ],
}
OF_EVENT = {"fields": {"stream_id": "ids.stream.t", "viewer_id": "ids.viewer.t", "type": "id.t"}}
WITH_ID = b"\x02s\x02v\x04\x08join"


def test_references_are_resolved(registry: RegistryServer) -> None:
    to_id = {"name": "x.Id", "subject": "id", "version": 1}
    to_ids = {"name": "x.Ids", "subject": "ids value", "version": 2}
    registry.add(7, json.dumps(EVENT), references=[to_ids, to_id])
    registry.add_version("ids%20value", 2, json.dumps(IDS), references=[to_id])
    registry.add_version("id", 1, json.dumps(ID))
    reader = Reader(registry.url, **OF_EVENT)
    intake = Intake(InputSettings.model_validate(OF_EVENT), reader.schema_cache)
    decoded = intake.decode(joined([confluent(WITH_ID, 7)]), [-1], NO_CLOCK_MS)
    assert row(decoded.events, 0) == Event("s", "v", 2)


@pytest.mark.parametrize(
    "references",
    [
        [{"subject": "gone", "version": 1}],
        [{"subject": "x"}],
        [17],
        17,
        {"subject": "x", "version": 1},
        [{"subject": "\ud800", "version": 1}],
        [{"subject": "x", "version": float("inf")}],
        [{"subject": "x", "version": 10**4_000}],
        [{"subject": "x", "version": -1}],
    ],
)
def test_references_that_lead_nowhere_are_refused(registry: RegistryServer, references: Any) -> None:
    registry.add(7, OURS, references=references)
    decoded = Reader(registry.url).decode(7)
    assert decoded.explain(0).reason is Reject.SCHEMA_REFUSED
    assert "refers to" in decoded.explain(0).message or "reference" in decoded.explain(0).message


WITH_ID_2 = b"\x0e\x02s\x0e\x02v\x04\x0e\x08join"


def reference(subject: str, version: int, name: str = "x.Id") -> dict[str, Any]:
    return {"name": name, "subject": subject, "version": version}


def decode_event(registry: RegistryServer, payload: bytes) -> Decoded:
    source = InputSettings.model_validate({"schema_registry_url": registry.url, **OF_EVENT})
    return intake_in_place(source).decode(joined([confluent(payload, 7)]), [-1], NO_CLOCK_MS)


def test_a_reference_that_was_deleted_is_read_as_both_clients_of_confluent_do(registry: RegistryServer) -> None:
    registry.add(7, json.dumps(EVENT), references=[reference("ids", 2, "x.Ids"), reference("id", 1)])
    registry.add_version("ids", 2, json.dumps(IDS), deleted=True, references=[reference("id", 1)])
    registry.add_version("id", 1, json.dumps(ID), deleted=True)
    assert row(decode_event(registry, WITH_ID).events, 0) == Event("s", "v", 2)


@pytest.mark.parametrize(
    ("references", "payload"),
    [
        ([reference("id", 1), reference("ids", 2, "x.Ids")], WITH_ID),
        ([reference("ids", 2, "x.Ids"), reference("id", 1)], WITH_ID_2),
    ],
    ids=["its own reference is first", "that of its first reference is first"],
)
def test_of_two_versions_under_one_name_the_first_counts_as_in_java(
    registry: RegistryServer, references: list[dict[str, Any]], payload: bytes
) -> None:
    registry.add(7, json.dumps(EVENT), references=references)
    registry.add_version("ids", 2, json.dumps(IDS), references=[reference("id", 2)])
    registry.add_version("id", 1, json.dumps(ID))
    registry.add_version("id", 2, json.dumps(ID_2))
    assert row(decode_event(registry, payload).events, 0) == Event("s", "v", 2)


def test_two_definitions_of_one_type_under_different_names_are_refused_as_in_java(registry: RegistryServer) -> None:
    registry.add(7, json.dumps(EVENT), references=[reference("ids", 1, "ids"), reference("id", 1, "mine")])
    registry.add_version("ids", 1, json.dumps(IDS), references=[reference("id", 2, "theirs")])
    registry.add_version("id", 1, json.dumps(ID))
    registry.add_version("id", 2, json.dumps(ID_2))
    decoded = decode_event(registry, WITH_ID)
    assert decoded.explain(0) == (
        Reject.SCHEMA_REFUSED,
        (
            'id 7: the type "x.Id" is defined twice, and differently: in it or in schemas that it refers to; '
            "all have to use one version"
        ),
        "id 7",
    )


def test_a_type_that_is_defined_twice_in_the_same_way_is_no_reason_to_refuse(registry: RegistryServer) -> None:
    with_docs = {**ID, "doc": "of a stream or viewer"}
    inlined = {**IDS, "fields": [{"name": "stream", "type": with_docs}, {"name": "viewer", "type": "x.Id"}]}
    registry.add(7, json.dumps(EVENT), references=[reference("ids", 1, "ids"), reference("id", 1, "mine")])
    registry.add_version("ids", 1, json.dumps(inlined))
    registry.add_version("id", 1, json.dumps(ID))
    assert row(decode_event(registry, WITH_ID).events, 0) == Event("s", "v", 2)


FORBIDDEN = Answer(403, b'{"error_code": 40301, "message": "User is denied operation Read on Subject: orders"}')


@pytest.mark.parametrize("path", ["/schemas/ids/8", "/subjects/id/versions/1"], ids=["id", "reference"])
def test_a_schema_that_may_not_be_read_holds_up_its_own_records_alone(registry: RegistryServer, path: str) -> None:
    registry.add(7, OURS)
    registry.add(9, OURS)
    registry.add(8, OURS, references=[reference("id", 1)])
    registry.add_version("id", 1, json.dumps(ID))
    registry.faults[path] = FORBIDDEN
    reader = Reader(registry.url, unknown_schema_wait_ms=0)
    decoded = reader.decode(8, 7, 9)
    assert decoded.events.reject.tolist() == [WAITING, 0, 0]
    assert decoded.waiting_reason(0) == (
        f"the schema registry at {registry.url} forbids {path} to our credentials (403, User is denied operation Read "
        "on Subject: orders); set input.schema_registry_user and input.schema_registry_password, or "
        "input.schema_registry_token"
    )
    assert decoded.waiting_reason(1) == ""
    asked = len(registry.asked())
    reader.decode(8)
    assert len(registry.asked()) == asked, "not asked again so soon"
    del registry.faults[path]
    reader.clock.now_s += ASK_AGAIN_S
    assert not reader.decode(8, 7).events.reject.any()


def test_a_schema_that_stays_forbidden_is_asked_for_ever_less_often(registry: RegistryServer) -> None:
    registry.faults["/schemas/ids/8"] = FORBIDDEN
    reader = Reader(registry.url)
    for _ in range(240):
        assert reader.decode(8).waiting == 0
        reader.clock.now_s += 0.5
    assert 5 <= len(registry.asked()) <= 4 + 120 / 16 + 2


def test_with_credentials_the_right_has_to_be_granted(registry: RegistryServer) -> None:
    registry.faults["/schemas/ids/8"] = Answer(403, b"")
    decoded = Reader(registry.url, schema_registry_token="abc").decode(8)
    assert decoded.waiting_reason(0).endswith("forbids /schemas/ids/8 to our credentials (403); grant it to them")


def test_id_0_which_no_registry_gives_is_a_reject_without_a_wait(registry: RegistryServer) -> None:
    decoded = Reader(registry.url, unknown_schema_wait_ms=30_000).decode(0)
    assert decoded.explain(0).reason is Reject.UNKNOWN_SCHEMA


def test_references_in_a_circle_end(registry: RegistryServer) -> None:
    loop = [{"name": "a", "subject": "a", "version": 1}]
    registry.add(7, OURS, references=loop)
    registry.add_version("a", 1, '{"type": "enum", "name": "A", "symbols": ["x"]}', references=loop)
    assert not Reader(registry.url).decode(7).events.reject.any()


def test_user_and_password_are_sent_and_never_shown(registry: RegistryServer) -> None:
    host = registry.url.removeprefix("http://")
    registry.fault = Answer(401, b"{}")
    decoded = Reader(f"http://worker:s3cr%40t@{host}").decode(7)
    assert registry.credentials() == {"Basic d29ya2VyOnMzY3JAdA=="}
    assert "s3cr" not in decoded.waiting_reason(decoded.waiting)
    assert host in decoded.waiting_reason(decoded.waiting)


def test_a_flood_of_schemas_stays_bounded(registry: RegistryServer) -> None:
    more = MAX_SCHEMAS + 5
    for schema_id in range(more):
        registry.add(schema_id, '{"type": "record", "name": "Order", "fields": []}')
    reader = Reader(registry.url)
    reader.clock.now_s = 0
    decoded = reader.decode(*range(more))
    assert decoded.waiting <= more
    assert len(reader.schema_cache.known) <= MAX_SCHEMAS


def test_pinned_ids_are_not_asked_for(registry: RegistryServer, tmp_path: Path) -> None:
    path = tmp_path / "ours.avsc"
    path.write_text(OURS)
    assert not Reader(registry.url, ids={3: str(path)}).decode(3).events.reject.any()
    assert registry.asked() == []


@pytest.mark.parametrize("name", ["ids", "schemas"])
def test_a_schema_file_that_cannot_be_used_is_told_at_once(tmp_path: Path, name: str) -> None:
    path = tmp_path / "bad.avsc"

    def load() -> SchemaCache:
        return SchemaCache(InputSettings.model_validate({name: {1: str(path)} if name == "ids" else str(path)}))

    with pytest.raises(ViewerConsumerError, match=r"bad\.avsc: cannot be read: No such file"):
        load()
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ViewerConsumerError, match=r"bad\.avsc: is not UTF-8"):
        load()
    path.write_text("{")
    with pytest.raises(SchemaRefused, match=r"bad\.avsc: the schema is not JSON"):
        load()
    path.write_text('{"type": "record", "name": "Order", "fields": []}')
    with pytest.raises(SchemaRefused, match=r'bad\.avsc: schema "Order": stream_id: there is no field'):
        load()


def test_several_files_need_ids(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.avsc", "b.avsc")]
    for path in paths:
        path.write_text(OURS)
    with pytest.raises(UsageError, match=r"input\.ids must name the file of each id"):
        SchemaCache(InputSettings.model_validate({"schemas": [str(path) for path in paths]}))


def test_a_registry_that_has_no_guids_rejects_them_and_one_that_is_none_does_not(registry: RegistryServer) -> None:
    source = InputSettings.model_validate({"schema_registry_url": registry.url, "unknown_schema_wait_ms": 0})
    headers = [[("__value_schema_id", b"\1" + bytes(16))]]
    registry.faults[f"/schemas/guids/{UUID(int=0)}"] = Answer(404, b"")
    decoded = intake_in_place(source).decode(joined([join()]), [-1], NO_CLOCK_MS, schema_headers(headers))
    assert decoded.explain(0).reason is Reject.UNKNOWN_SCHEMA
    registry.faults["/schemas/ids/1"] = Answer(404, b"<html>")
    decoded = intake_in_place(source).decode(joined([join()]), [-1], NO_CLOCK_MS, schema_headers(headers))
    assert (decoded.waiting, len(decoded.rejects)) == (0, 0), "the address is wrong: that is no record's fault"


def test_ids_that_no_registry_gives_are_rejects_at_once(registry: RegistryServer) -> None:
    reader = Reader(registry.url, unknown_schema_wait_ms=30_000)
    decoded = reader.decode(2**31, 2**32 - 1)
    assert [decoded.explain(i).reason for i in range(2)] == [Reject.UNKNOWN_SCHEMA] * 2
    assert registry.asked() == []


def test_large_schemas_are_bounded_by_what_they_take_together(
    registry: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.intake.schemas.cache.MAX_STEPS", 1_000)
    for schema_id in range(20):
        fields = [{"name": f"f{i}", "type": "string"} for i in range(200)]
        fields += [{"name": name, "type": "string"} for name in ("stream_id", "viewer_id", "type")]
        fields.append({"name": "timestamp_ms", "type": "long"})
        registry.add(schema_id, json.dumps({"type": "record", "name": f"R{schema_id}", "fields": fields}))
    reader = Reader(registry.url)
    for schema_id in range(20):
        decoded = reader.decode(schema_id)
        assert decoded.events.reject.tolist() == [Reject.TRUNCATED] or decoded.waiting == 1
        assert len(reader.schema_cache.program_code.instructions) <= 1_000
    reader.decode(19)
    assert len(registry.asked()) == 20, "the newest are kept"


def test_floods_of_ids_and_guids_that_nobody_knows_stay_bounded(registry: RegistryServer) -> None:
    source = InputSettings.model_validate({"schema_registry_url": registry.url, "unknown_schema_wait_ms": 0})
    schema_cache = SchemaCache(source, lookups_from(source))
    intake = Intake(source, schema_cache)
    for begin in range(0, 2 * MAX_UNKNOWN, 1_000):
        values = [confluent(join(), 2**31 + begin + i) for i in range(1_000)]
        assert len(intake.decode(joined(values), np.full(1_000, -1), NO_CLOCK_MS).rejects) == 1_000
        schema_cache.guid_reference(UUID(int=begin))
    assert len(schema_cache.known) <= MAX_UNKNOWN
    for number in range(MAX_SCHEMAS + 2 * MAX_UNKNOWN):
        schema_cache.guid_reference(UUID(int=number))
    assert len(schema_cache._guids) <= MAX_SCHEMAS + MAX_UNKNOWN
