"""A schema that is not available now holds only its partition, and no record is lost."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from structlog.testing import capture_logs

from consumer.intake.schemas import lookups as lookups_module
from consumer.intake.schemas.builtin import builtin_schema_text
from consumer.intake.schemas.lookups import LONGEST_PAUSE_S, SchemaLookups
from consumer.intake.schemas.registry import RegisteredSchema, Registry
from consumer.observe import catalogue
from consumer.settings.model import CommitSettings, EventNameSettings
from consumer.worker.clock_wait import HELD_MOST
from consumer.worker.loop import SHOW_EVERY_S
from consumer.worker.processing import HELD_RETRY_S
from tests.intake.payloads import join
from tests.intake.schemas.registry_server import Answer, RegistryServer
from tests.support.waiting import until
from tests.worker.rig import INTERVAL_S, Rig

NO_CHECKPOINTS = CommitSettings(checkpoint_interval_ms=86_400_000)
"""But the first of a partition."""
WITHIN_S = 20.0
STOP_WITHIN_S = 5.0
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


@pytest.mark.parametrize("in_turn", [False, True])
def test_a_partition_that_waits_keeps_few_records_and_reads_the_others_again(
    rig: Rig, registry: RegistryServer, monkeypatch: pytest.MonkeyPatch, in_turn: bool
) -> None:
    number, read = 3 * HELD_MOST + 7, rig.input._read
    if in_turn:  # a batch with many runs of each partition
        monkeypatch.setattr(rig.input, "_read", lambda most: sorted(read(most), key=lambda each: each.offset() or 0))
    registry.fault = DOWN
    for _ in range(number):
        known_in(rig, 0, 0)
        known_in(rig, 1, 0)
    rig.turn(RETRY_S, times=5)
    assert [len(rig.worker._tasks[partition].held) for partition in (0, 1)] == [HELD_MOST, HELD_MOST]
    registry.fault = None
    rig.turn(RETRY_S, times=5)
    assert rig.cluster.committed == {0: number, 1: number}
    assert rig.counted("events_total", type="join") == 2 * number
    assert rig.board.latest().health.reason == ""


def test_records_behind_two_waits_are_taken_once(rig: Rig, registry: RegistryServer) -> None:
    """The second schema is asked for while the records behind the first wait are still to be read again."""
    for schema_id in (11, 12):
        registry.faults[f"/schemas/ids/{schema_id}"] = DOWN
        rig.write(join("s", f"first-of-{schema_id}", 1), 0, schema_id=schema_id)
        for i in range(HELD_MOST):
            rig.write(join("s", f"behind-{schema_id}-{i}", 1), 0)
    rig.turn(RETRY_S, times=5)
    assert rig.counted("events_total", type="join") == 0
    for taken, schema_id in ((1 + HELD_MOST, 11), (2 + 2 * HELD_MOST, 12)):
        del registry.faults[f"/schemas/ids/{schema_id}"]
        registry.add(schema_id, builtin_schema_text("viewer_event"))
        rig.turn(2 * LONGEST_PAUSE_S, times=5)
        assert rig.counted("events_total", type="join") == taken
        assert len(rig.worker._tasks[0].held) <= HELD_MOST
    assert rig.cluster.committed[0] == 2 + 2 * HELD_MOST


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


def test_a_forbidden_schema_holds_its_partition_alone_and_is_told_once(rig: Rig, registry: RegistryServer) -> None:
    registry.faults["/schemas/ids/9"] = Answer(403, b'{"error_code": 40301, "message": "denied"}')
    registry.add(9, builtin_schema_text("viewer_event"))
    registry.add(10, builtin_schema_text("viewer_event"))
    with capture_logs() as lines:
        known_in(rig, 0, 0)
        rig.write(join(timestamp_ms=1_500), 0, schema_id=9)
        for bucket in range(3):
            rig.write(join(timestamp_ms=bucket * 1_000 + 1), 1, schema_id=10)
        rig.turn(RETRY_S, times=20)
    assert rig.buckets(1) == [0, 1], "schemas are looked up behind a forbidden one"
    assert rig.cluster.committed == {0: 1, 1: 3}
    assert rig.dead_letters() == [], "a missing right is not the fault of a record"
    health = rig.board.latest().health
    assert not health.ready
    assert "forbids /schemas/ids/9 to our credentials (403, denied)" in health.reason
    assert [line["event"] for line in lines] == ["partition waits"]
    del registry.faults["/schemas/ids/9"]
    rig.turn(2 * LONGEST_PAUSE_S)
    known_in(rig, 0, 2)
    rig.turn(RETRY_S, times=2)
    assert rig.buckets(0) == [0, 1]
    assert rig.board.latest().health.reason == ""


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


class BlackHole:
    """A registry that takes connections and answers nobody, and what a worker of four partitions does about it.

    Partitions 0 to 2 have to replay a record when the next worker begins, partition 3 does not.
    """

    def __init__(self, registry: RegistryServer) -> None:
        self.registry = registry
        self.rig = Rig(partitions=4, registry_url=registry.url, in_background=True, commit=NO_CHECKPOINTS).start()
        for partition in range(4):
            self.rig.join(0, partition)
        self.turn_until(lambda: len(self.rig.cluster.committed) == 4 and min(self.rig.cluster.committed.values()) == 1)
        for partition in range(3):
            self.rig.join(1, partition)
        self.turn_until(lambda: self.rig.cluster.committed == {0: 2, 1: 2, 2: 2, 3: 1})
        registry.hang.clear()
        self.rig.cluster.generation += 1
        self.rig.worker = self.rig._new_worker()
        self.rig.worker.start()
        self.turn_until(lambda: list(self.rig.worker._tasks) == [3])
        self.rig.join(1, 3)
        self.turn_until(lambda: bool(self.rig.worker._tasks[3].held))

    @property
    def lookups(self) -> SchemaLookups:
        assert self.rig.lookups is not None
        return self.rig.lookups

    def turn_until(self, holds: Callable[[], bool], after_s: float = INTERVAL_S) -> None:
        def turned() -> bool:
            self.rig.turn(after_s)
            return holds()

        until(turned, "the worker has got there", WITHIN_S)

    def until_it_has_failed(self, times: int) -> None:
        """Turns go on while a look-up fails, in the background."""
        self.turn_until(lambda: self.lookups.answered >= times, after_s=0.0)


@pytest.fixture
def asking_threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The thread of each look-up; and look-ups give up sooner."""
    threads: list[int] = []
    ask = Registry.schema_by_id

    def noted(self: Registry, schema_id: int, budget_s: float) -> RegisteredSchema | None:
        threads.append(threading.get_ident())
        return ask(self, schema_id, budget_s)

    monkeypatch.setattr(Registry, "schema_by_id", noted)
    monkeypatch.setattr(lookups_module, "LOOK_UP_TIMEOUT_S", 0.5)
    return threads


def test_a_registry_in_a_black_hole_is_asked_in_the_background_once_for_all(
    registry: RegistryServer, asking_threads: list[int]
) -> None:
    hole = BlackHole(registry)
    rig = hole.rig
    with capture_logs() as lines:
        hole.until_it_has_failed(times=1)
        for _ in range(100):
            rig.worker.turn()
        rig.turn(HELD_RETRY_S)
    gone = f"the schema registry at {registry.url} gives no answer (timed out)"
    assert {each["event"] for each in lines} == {"partition waits"}
    reasons = [each["reason"] for each in lines]
    assert reasons.count(gone) == 2, "one for the replays, one for the live partition"
    assert len(reasons) <= 4, "and what they waited for before it was known"
    assert len(asking_threads) == 1 + 1, "the first worker's, and one for four partitions"
    assert hole.lookups.answered == 1
    rig.turn(SHOW_EVERY_S)
    assert gone in rig.board.latest().health.reason
    rig.turn(RETRY_S)
    hole.until_it_has_failed(times=2)
    for _ in range(100):
        rig.worker.turn()
    assert len(asking_threads) == 1 + 2, "once more behind the pause"
    assert threading.get_ident() not in asking_threads

    registry.hang.set()
    hole.turn_until(lambda: rig.cluster.committed == dict.fromkeys(range(4), 2))
    assert len(asking_threads) == 1 + 3
    assert rig.worker._restoring.done
    assert [rig.buckets(partition) for partition in range(4)] == [[0]] * 4
    rig.turn(SHOW_EVERY_S)
    assert rig.board.latest().health.reason == ""


def test_an_id_that_nobody_knows_is_asked_for_once_a_second_until_it_is_a_reject(registry: RegistryServer) -> None:
    rig = Rig(registry_url=registry.url, in_background=True).start()
    rig.write(b"", schema_id=9)
    began_s = rig.clock.now_s
    waits: list[str] = []

    def is_rejected() -> bool:
        rig.turn(0.25)
        waits.append(rig.board.latest().health.reason)
        return bool(rig.dead_letters())

    until(is_rejected, "its wait is over", WITHIN_S)
    waited_s = rig.clock.now_s - began_s
    assert waited_s >= 30.0
    assert len(registry.asked()) <= waited_s + 2
    assert "the schema registry doesn't know id 9 yet" in waits


def test_a_replay_that_waits_reads_nothing_until_its_schema_is_there(
    registry: RegistryServer, asking_threads: list[int]
) -> None:
    hole = BlackHole(registry)
    hole.until_it_has_failed(times=1)
    for _ in range(20):
        hole.rig.turn(0.3)
        assert not hole.rig.reader._positions
    assert asking_threads
    registry.hang.set()
    hole.turn_until(lambda: hole.rig.worker._restoring.done)


@pytest.mark.usefixtures("asking_threads")
def test_a_look_up_under_way_holds_up_no_stop(registry: RegistryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hole = BlackHole(registry)
    monkeypatch.setattr(lookups_module, "LOOK_UP_TIMEOUT_S", 60.0)
    hole.rig.turn(RETRY_S)
    began_s = time.monotonic()
    hole.rig.worker.stop()
    hole.lookups.close()
    assert time.monotonic() - began_s < STOP_WITHIN_S
    assert hole.rig.cluster.committed == {0: 2, 1: 2, 2: 2, 3: 1}, "nothing that waits is committed"


def test_a_schema_that_comes_at_once_is_no_reason_to_report(registry: RegistryServer) -> None:
    rig = Rig(registry_url=registry.url, in_background=True).start()
    registry.hang.clear()
    known_in(rig, 0, 0, 1)
    with capture_logs() as lines:
        rig.turn(SHOW_EVERY_S)
        assert rig.worker._tasks[0].held
        assert rig.board.latest().health.reason == ""
        registry.hang.set()
        until(lambda: rig.lookups is not None and rig.lookups.answered == 1, "it is answered", WITHIN_S)
        rig.worker.turn()
        assert not rig.worker._tasks[0].held, "tried again at once, though no time has passed"
    assert lines == []
