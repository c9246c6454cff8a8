"""Client and schema book on a real registry: what is registered is read, and an outage loses nothing."""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from consumer.intake.intake import Decoded
from consumer.intake.rejects import Reject
from consumer.intake.schemas.access import RegistryAccess
from consumer.intake.schemas.builtin import builtin_schema_text
from consumer.intake.schemas.registry import Registry, RegistryUnavailable
from consumer.runtime.joined import joined
from consumer.settings.model import InputSettings
from tests.intake.payloads import NO_CLOCK_MS, confluent, join, schema_headers
from tests.intake.reference import Event, row
from tests.intake.schemas.in_place import intake_in_place
from tests.support.apicurio import Apicurio, NoJavaError, NoRegistryError
from tests.support.topics import unique
from tests.support.waiting import until
from tests.worker.rig import INTERVAL_S, Rig

OURS = builtin_schema_text("viewer_event")
NEVER_GIVEN = 2**31 - 1
WITHIN_S = 20.0
RETRY_S = 20.0
"""Later than a registry that was down is asked again."""


@pytest.fixture(scope="module")
def apicurio() -> Iterator[Apicurio]:
    """A real registry; skipped without Java 21, and in CI only then."""
    try:
        registry = Apicurio()
    except NoJavaError as reason:
        pytest.skip(f"no real registry: {reason}")
    except NoRegistryError as reason:
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail(f"CI needs a real registry where there is a Java for it: {reason}")
        pytest.skip(f"no real registry: {reason}")
    yield registry
    registry.close()


@pytest.fixture
def client(apicurio: Apicurio) -> Registry:
    return Registry(RegistryAccess(apicurio.url))


def registered(client: Registry, schema: Any) -> int:
    text = schema if isinstance(schema, str) else json.dumps(schema)
    return client.register(unique("subject"), text, WITHIN_S)


def decoded(apicurio: Apicurio, *records: bytes, **settings: Any) -> Decoded:
    source = InputSettings.model_validate(
        {"schema_registry_url": apicurio.url, "unknown_schema_wait_ms": 0, **settings}
    )
    intake = intake_in_place(source)
    found = intake.decode(joined(list(records)), np.full(len(records), -1), NO_CLOCK_MS)
    assert found.waiting == len(records), found.waiting_reason(found.waiting)
    return found


def test_what_was_registered_is_read(apicurio: Apicurio, client: Registry) -> None:
    schema_id = registered(client, OURS)
    assert registered(client, OURS) == schema_id, "the same schema has one id"
    events = decoded(apicurio, confluent(join(), schema_id), confluent(join(), NEVER_GIVEN))
    assert row(events.events, 0) == Event("s", "v", 1_000)
    assert events.explain(1).reason is Reject.UNKNOWN_SCHEMA


def test_what_is_no_viewer_event_is_refused_by_name(apicurio: Apicurio, client: Registry) -> None:
    order = {"type": "record", "name": "Order", "fields": [{"name": "price", "type": "int"}]}
    loop = {"type": "record", "name": "Loop", "fields": [{"name": "next", "type": ["null", "Loop"]}]}
    ids = [registered(client, schema) for schema in (order, loop)]
    found = decoded(apicurio, *(confluent(b"", schema_id) for schema_id in ids))
    messages = [found.explain(i).message for i in range(2)]
    assert 'schema "Order": stream_id: there is no field' in messages[0]
    assert 'it is recursive: record "Loop"' in messages[1]


def test_a_guid_that_it_cannot_look_up_is_a_reject_and_stops_nobody(apicurio: Apicurio) -> None:
    source = InputSettings.model_validate({"schema_registry_url": apicurio.url, "unknown_schema_wait_ms": 0})
    intake = intake_in_place(source)
    found = intake.decode(
        joined([join()]), [-1], NO_CLOCK_MS, schema_headers([[("__value_schema_id", b"\1" + bytes(16))]])
    )
    assert found.waiting == 1, found.waiting_reason(found.waiting)
    assert found.explain(0).reason is Reject.UNKNOWN_SCHEMA


def ask(apicurio: Apicurio, method: str, path: str, body: Any = None) -> Any:
    """One request of its Confluent API that the worker has no need of."""
    request = urllib.request.Request(  # noqa: S310  # the address is ours
        apicurio.url + path,
        None if body is None else json.dumps(body).encode(),
        {"Content-Type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=WITHIN_S) as answer:  # noqa: S310  # as above
        return json.load(answer)


def test_a_reference_that_was_deleted_is_still_read(apicurio: Apicurio) -> None:
    identity, event = unique("id"), unique("event")
    text: dict[str, Any] = {"type": "record", "name": "x.Id", "fields": [{"name": "t", "type": "string"}]}
    fields = [("stream", "x.Id"), ("viewer", "x.Id"), ("timestamp_ms", "long"), ("kind", "x.Id")]
    record = {"type": "record", "name": "x.E", "fields": [{"name": name, "type": kind} for name, kind in fields]}
    references = [{"name": "x.Id", "subject": identity, "version": 1}]
    later = {**text, "fields": [*text["fields"], {"name": "n", "type": "int", "default": 0}]}
    for version in (text, later):  # of a subject without any version left it gives nothing at all
        ask(apicurio, "POST", f"/subjects/{identity}/versions", {"schema": json.dumps(version)})
    body = {"schema": json.dumps(record), "references": references}
    schema_id = ask(apicurio, "POST", f"/subjects/{event}/versions", body)["id"]
    ask(apicurio, "DELETE", f"/subjects/{event}")  # while it is there, what it refers to cannot be deleted
    ask(apicurio, "DELETE", f"/subjects/{identity}/versions/1")
    with pytest.raises(urllib.error.HTTPError):
        ask(apicurio, "GET", f"/subjects/{identity}/versions/1")
    mapped = {"stream_id": "stream.t", "viewer_id": "viewer.t", "type": "kind.t"}
    found = decoded(apicurio, confluent(b"\x02s\x02v\x04\x08join", schema_id), fields=mapped)
    assert row(found.events, 0) == Event("s", "v", 2), found.explain(0).message


def test_its_ids_of_eight_bytes_are_read(apicurio: Apicurio, client: Registry) -> None:
    schema_id = registered(client, OURS)
    values = [b"\0" + each.to_bytes(8, "big") + join() for each in (schema_id, NEVER_GIVEN)]
    found = decoded(apicurio, *values, format="apicurio")
    assert row(found.events, 0) == Event("s", "v", 1_000)
    assert found.explain(1) == (Reject.UNKNOWN_SCHEMA, Reject.UNKNOWN_SCHEMA.sentence, f"id {NEVER_GIVEN}")
    (message,) = {decoded(apicurio, value).explain(0).message for value in values}
    assert message.endswith('it looks like an eight-byte id of Apicurio; set input.format = "apicurio"')


def test_a_schema_that_it_does_not_take_is_told(client: Registry) -> None:
    with pytest.raises(RegistryUnavailable, match=r"doesn't register the schema of .*: status 422, "):
        client.register(unique("subject"), "{", WITHIN_S)


@pytest.mark.slow
def test_while_it_says_nothing_the_partition_waits_and_nothing_is_lost(apicurio: Apicurio, client: Registry) -> None:
    schema_id = registered(client, OURS)
    rig = Rig(registry_url=apicurio.url).start()
    for bucket in range(3):
        rig.write(join(timestamp_ms=bucket * 1_000 + 1), schema_id=schema_id)
    apicurio.freeze()
    try:
        rig.turn(INTERVAL_S)
        rig.turn(0.5)
        assert "gives no answer" in rig.board.latest().health.reason
        assert (rig.buckets(), rig.dead_letters(), rig.cluster.committed.get(0, 0)) == ([], [], 0)
    finally:
        apicurio.thaw()

    def has_caught_up() -> bool:
        rig.turn(RETRY_S)
        return rig.buckets() == [0, 1]

    until(has_caught_up, "the registry is asked again", WITHIN_S)
    rig.turn(1.0)
    assert rig.dead_letters() == []
    assert rig.cluster.committed == {0: 3}
    assert rig.board.latest().health.ready
