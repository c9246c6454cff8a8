"""A schema that is not available now holds only its partition, and no record is lost."""

from collections.abc import Iterator

import pytest

from consumer.intake.schemas.builtin import builtin_schema_text
from consumer.observe import catalogue
from consumer.settings.model import EventNameSettings
from tests.intake.schemas.registry_server import Answer, RegistryServer
from tests.worker.rig import INTERVAL_S, Rig

DOWN = Answer(503, b"")
RETRY_S = 1.5
"""Longer than the interval at which the registry is asked again."""


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    server = RegistryServer()
    server.add(1, builtin_schema_text("viewer_event"))
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def rig(registry: RegistryServer) -> Rig:
    return Rig(partitions=2, registry_url=registry.url).start()


def known_in(rig: Rig, partition: int, *buckets: int) -> None:
    for bucket in buckets:
        rig.join(bucket, partition)


def test_a_registry_that_is_down_holds_the_partition_and_loses_nothing(rig: Rig, registry: RegistryServer) -> None:
    registry.fault = DOWN
    known_in(rig, 0, 0, 1, 2)
    rig.turn(INTERVAL_S)
    assert rig.cluster.committed.get(0, 0) == 0
    known_in(rig, 0, 3)
    rig.turn(RETRY_S)
    assert rig.buckets() == []
    assert "registry" in rig.board.latest().health.reason
    registry.fault = None
    rig.turn(RETRY_S)
    rig.turn(RETRY_S, times=2)
    assert rig.buckets() == [0, 1, 2]
    assert rig.cluster.committed[0] == 4
    assert rig.dead_letters() == []
    assert rig.board.latest().health.reason == ""


def test_other_partitions_continue_and_earlier_records_are_committed(rig: Rig, registry: RegistryServer) -> None:
    known_in(rig, 0, 0, 1)
    known_in(rig, 1, 0, 1)
    rig.turn(INTERVAL_S)
    assert rig.buckets(0) == rig.buckets(1) == [0]
    registry.fault = DOWN
    known_in(rig, 0, 2)
    rig.write(b"", 0, schema_id=9)
    known_in(rig, 0, 3)
    known_in(rig, 1, 2)
    rig.turn(INTERVAL_S)
    assert rig.buckets(0) == rig.buckets(1) == [0, 1]
    assert rig.cluster.committed == {0: 3, 1: 3}, "up to the waiting record"
    known_in(rig, 1, 3)
    rig.turn(INTERVAL_S)
    assert rig.buckets(1) == [0, 1, 2]
    assert rig.buckets(0) == [0, 1]


def test_an_unknown_id_is_a_reject_after_its_wait(rig: Rig) -> None:
    known_in(rig, 0, 0)
    rig.write(b"", 0, schema_id=9)
    known_in(rig, 0, 1)
    rig.turn(RETRY_S, times=15)
    assert rig.dead_letters() == [], "less than 30 s"
    rig.turn(RETRY_S, times=10)
    assert len(rig.dead_letters()) == 1
    assert rig.buckets() == [0]
    assert rig.cluster.committed[0] == 3


def test_a_waiting_partition_is_read_again_after_memory_was_dropped(rig: Rig, registry: RegistryServer) -> None:
    registry.fault = DOWN
    known_in(rig, 0, 0, 1)
    known_in(rig, 1, 0)
    rig.turn(INTERVAL_S)
    rig.worker._publisher.outcome_unknown = True
    rig.turn(RETRY_S)
    registry.fault = None
    rig.turn(RETRY_S, times=3)
    assert rig.buckets() == [0]
    assert rig.cluster.committed == {0: 2, 1: 1}


def test_a_waiting_partition_that_is_revoked_is_forgotten(rig: Rig, registry: RegistryServer) -> None:
    registry.fault = DOWN
    known_in(rig, 0, 0, 1)
    rig.turn(INTERVAL_S)
    rig.input.revoke(0)
    rig.turn(RETRY_S)
    registry.fault = None
    rig.turn(RETRY_S, times=3)
    assert rig.buckets() == []
    assert rig.cluster.committed.get(0, 0) == 0
    assert rig.board.latest().health.reason == "", "no partition waits any more"


def test_ignored_events_behind_a_waiting_record_are_counted_once(registry: RegistryServer) -> None:
    names = EventNameSettings(leave=("Goodbye",), ignore=("ViewerLeave",))
    rig = Rig(registry_url=registry.url, names=names).start()
    rig.write(b"", schema_id=9)
    rig.leave(0)
    rig.turn(RETRY_S, times=5)
    assert ignored(rig) == 0, "not processed yet, however often it was decoded"
    rig.turn(RETRY_S, times=20)
    assert len(rig.dead_letters()) == 1
    assert ignored(rig) == 1


def ignored(rig: Rig) -> float | None:
    return rig.metrics.registry.get_sample_value(catalogue.IGNORED_EVENTS.name)
