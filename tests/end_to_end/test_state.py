"""State on a real broker: a worker is killed; the next one continues from the last commit, or says why it cannot.

```
    first      ──●checkpoint──●──●──✗ SIGKILL
    next                              └ rows ─ replay ─ live ──●──
```
"""

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType

from consumer.kafka.admin.state_topic import STATE_TOPIC_CONFIG
from consumer.settings.model import InputSettings, Settings
from consumer.windows.closing import CLOSE_REASONS
from consumer.worker.service import Service
from tests.end_to_end.events import SCHEMA_ID, SCHEMA_PATH, assert_same, encoded, judged, summary_of
from tests.end_to_end.stage import INPUT, Record, Stage, counted, running, stage
from tests.end_to_end.test_process import JOIN_TIMEOUT_S, START_TIMEOUT_S, start
from tests.intake.schemas.registry_server import RegistryServer
from tests.reference.events_counting import Event, Rules
from tests.support.topics import delete_records
from tests.support.waiting import until

RULES = Rules(window_duration_ms=5_000, bucket_ms=1_000, grace_ms=3_000, stream_idle_ms=4_000)
PARTITIONS = 2
STATIC = {"group.instance.id": "one"}
"""With this stable id the next worker gets the partitions at once, not after the session timeout."""
STOP_WITHIN_S = 4.0
"""Less than a look-up may take."""
ONE_CHECKPOINT = ("--set", "commit.checkpoint_interval_ms=86400000")


def events(from_ms: int, to_ms: int) -> list[Record]:
    return [
        Record(
            f"stream {number}".encode(),
            encoded(
                Event(f"stream {number}", "JBLS"[(time_ms // 100 + number) % 4], time_ms - number % 7 * 400, number)
            ),
        )
        for time_ms in range(from_ms, to_ms, 100)
        for number in range(20)
        for late_ms in (number % 7 * 400,)
    ]


@contextmanager
def killed_worker(kafka: Stage, tmp_path: Path, *flags: str) -> Iterator[None]:
    """A worker that is killed in the end; all but the first commits of its partitions are in journals."""
    log = tmp_path / "killed_worker.log"
    name = [f"kafka.client.{key}={value}" for key, value in STATIC.items()]
    worker = start(kafka, log, *ONE_CHECKPOINT, "--set", *name, *flags)
    try:
        kafka.write(events(0, 1_000))
        until(
            lambda: worker.poll() is not None or sum(kafka.committed_so_far().values()) >= 200,
            "the worker commits",
            START_TIMEOUT_S,
        )
        assert worker.poll() is None, log.read_text()
        yield
        kafka.wait_until_all_is_committed()
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()


def work_and_be_killed(kafka: Stage, tmp_path: Path) -> None:
    """Let a worker that is dead now process ten seconds of events."""
    with killed_worker(kafka, tmp_path):
        kafka.write(events(1_000, 10_000))


def settings(kafka: Stage, source: InputSettings = INPUT, **windows: int) -> Settings:
    """Settings of the next worker with the same instance id."""
    made = kafka.settings(source)
    return made.model_copy(
        update={
            "kafka": made.kafka.model_copy(update={"client": STATIC}),
            "windows": made.windows.model_copy(update=windows),
        }
    )


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    server = RegistryServer()
    yield server
    server.close()


def expected(kafka: Stage) -> list[dict[str, Any]]:
    return expected_of(kafka, kafka.records())


def expected_of(kafka: Stage, by_partition: Mapping[int, list[Message]]) -> list[dict[str, Any]]:
    return [
        summary_of(each, RULES, kafka.kafka.input_topic, partition)
        for partition, records in by_partition.items()
        for each in judged(records, RULES).closed
    ]


def test_the_next_worker_continues_as_if_nothing_had_happened(bootstrap_servers: str, tmp_path: Path) -> None:
    with stage(bootstrap_servers, PARTITIONS, RULES) as kafka:
        work_and_be_killed(kafka, tmp_path)
        with running(settings(kafka)) as service:
            kafka.write(events(10_000, 20_000))
            kafka.wait_until_all_is_committed(within_s=JOIN_TIMEOUT_S)
            assert counted(service, "replayed_records_total") > 1_000
            assert counted(service, "events_total", type="join") == 500, "a replay increments no counter"
        assert assert_same(kafka.summaries(), expected(kafka)) > 200


def test_after_a_clean_stop_nothing_is_replayed(bootstrap_servers: str) -> None:
    with stage(bootstrap_servers, PARTITIONS, RULES) as kafka:
        for begin_ms in (0, 5_000):
            with running(settings(kafka)) as service:
                kafka.write(events(begin_ms, begin_ms + 5_000))
                kafka.wait_until_all_is_committed(within_s=JOIN_TIMEOUT_S)
                assert counted(service, "replayed_records_total") == 0
        assert counted(service, "restored_rows_total") > 0
        assert assert_same(kafka.summaries(), expected(kafka)) > 50


def stopped(kafka: Stage, made: Settings) -> str:
    """Return why the partitions of the next worker are stopped; the worker itself is up."""
    before = len(kafka.summaries())
    with running(made) as service:
        until(lambda: service.board.latest().stopped == PARTITIONS, "both are stopped", JOIN_TIMEOUT_S)
        assert not service.board.latest().health.ready
        reason = service.board.latest().health.reason
    assert len(kafka.summaries()) == before
    return reason


@pytest.mark.slow
def test_state_that_disagrees_with_kafka_stops_the_partition_with_the_reason(
    bootstrap_servers: str, tmp_path: Path
) -> None:
    with stage(bootstrap_servers, PARTITIONS, RULES) as kafka:
        work_and_be_killed(kafka, tmp_path)
        reason = stopped(kafka, settings(kafka, bucket_ms=500))
        assert "was counted with windows.bucket_ms = 1000, which can't change while there is state" in reason

        other = settings(kafka)
        other = other.model_copy(update={"kafka": other.kafka.model_copy(update={"group_id": "another"})})
        reason = stopped(kafka, other)
        assert f'its state is that of group "{kafka.kafka.group_id}", and this worker is of group "another"' in reason

        for partition, end in kafka.ends().items():
            delete_records(bootstrap_servers, kafka.kafka.input_topic, partition, end - 1)
        reason = stopped(kafka, settings(kafka))
        assert "are needed, but the input begins at" in reason
        assert "viewer-consumer state reset --partition" in reason


def test_changed_settings_take_effect_after_a_replay_under_the_old_ones(bootstrap_servers: str, tmp_path: Path) -> None:
    """Grace shrinks from 3 s to 0: the replay uses 3 s; then buckets that are finished without grace close."""
    with stage(bootstrap_servers, PARTITIONS, RULES) as kafka:
        work_and_be_killed(kafka, tmp_path)
        expected = []
        for partition, records in kafka.records().items():
            reference = judged(records, RULES)
            reference.change_rules(replace(RULES, grace_ms=0), len(records))
            expected += [summary_of(each, RULES, kafka.kafka.input_topic, partition) for each in reference.closed]
        closing = sum(each["close_reason"] == "SETTINGS" for each in expected)
        assert closing > 20
        with running(settings(kafka, grace_ms=0)) as service:
            until(lambda: counted(service, "summaries_total", close_reason="SETTINGS") == closing, "the buckets close")
            assert counted(service, "replayed_records_total") > 1_000
        assert_same(kafka.summaries(), expected)


def test_a_reject_stays_a_reject_if_its_schema_is_registered_before_the_replay(
    bootstrap_servers: str, tmp_path: Path, registry: RegistryServer
) -> None:
    later = b"\0" + (8).to_bytes(4, "big") + encoded(Event("stream 0", "J", 1_000))[5:]
    flags = ("--set", f"input.schema_registry_url={registry.url}", "--set", "input.unknown_schema_wait_ms=0")
    with stage(bootstrap_servers, PARTITIONS, RULES) as kafka:
        with killed_worker(kafka, tmp_path, *flags):
            kafka.write([Record(b"stream 0", later), *events(1_000, 5_000)])
        (dead_letter,) = kafka.dead_letters()
        assert dead_letter.value() == later
        registry.add(8, SCHEMA_PATH.read_text(encoding="utf-8"))
        source = INPUT.model_copy(update={"schema_registry_url": registry.url})
        with running(settings(kafka, source)) as service:
            kafka.write(events(5_000, 10_000))
            kafka.wait_until_all_is_committed(within_s=JOIN_TIMEOUT_S)
            assert counted(service, "replayed_records_total") > 500
        counted_records = {
            partition: [each for each in records if each.value() != later]
            for partition, records in kafka.records().items()
        }
        assert_same(kafka.summaries(), expected_of(kafka, counted_records))
        assert len(kafka.dead_letters()) == 1


@pytest.mark.slow
def test_a_registry_that_answers_nobody_holds_up_no_stop_and_is_asked_once_for_all_replays(
    bootstrap_servers: str, tmp_path: Path, registry: RegistryServer
) -> None:
    registry.add(SCHEMA_ID, SCHEMA_PATH.read_text(encoding="utf-8"))
    source = InputSettings(schema_registry_url=registry.url)
    with stage(bootstrap_servers, PARTITIONS, RULES) as kafka:
        work_and_be_killed(kafka, tmp_path)
        registry.hang.clear()
        with running(settings(kafka, source)) as service:
            until(lambda: "gives no answer" in service.board.latest().health.reason, "it says so", START_TIMEOUT_S)
            assert service.board.latest().restoring == PARTITIONS
            asked = len(registry.asked())
            until(lambda: len(registry.asked()) > asked, "a look-up is under way")
            began_s = time.monotonic()
        assert time.monotonic() - began_s < STOP_WITHIN_S
        registry.hang.set()
        before = len(registry.asked())
        with running(settings(kafka, source)) as service:
            kafka.write(events(10_000, 12_000))
            kafka.wait_until_all_is_committed(within_s=JOIN_TIMEOUT_S)
            assert counted(service, "replayed_records_total") > 1_000
        assert registry.asked()[before:] == [f"/schemas/ids/{SCHEMA_ID}"]
        assert_same(kafka.summaries(), expected(kafka))


def test_the_last_buckets_of_a_quiet_topic_are_published(bootstrap_servers: str) -> None:
    rules = replace(RULES, grace_ms=500, stream_idle_ms=1_000)  # the clock needs the sum of all waits
    with stage(bootstrap_servers, PARTITIONS, rules) as kafka:
        kafka.write(events(0, 3_000))  # before the worker starts, so that a slow writer is not a quiet partition
        expected = all_buckets(kafka, rules)
        with running(settings(kafka, partition_idle_ms=2_000)) as service:
            kafka.wait_until_all_is_committed(within_s=JOIN_TIMEOUT_S)
            until(lambda: published(service) == len(expected), "all buckets are published", within_s=40)
        summaries = kafka.summaries()
        assert {(each["partition"], each["stream_id"], each["bucket_start_ms"]) for each in summaries} == expected
        assert len(summaries) == len(expected)
        assert "PARTITION_IDLE" in {each["close_reason"] for each in summaries}


def published(service: Service) -> float:
    return sum(counted(service, "summaries_total", close_reason=reason) for reason in CLOSE_REASONS)


def all_buckets(kafka: Stage, rules: Rules) -> set[tuple[int, str, int]]:
    """Return all buckets that have an accepted event."""
    found = set()
    for partition, records in kafka.records().items():
        reference = judged(records, rules)
        found |= {(partition, each.stream_id, each.bucket.start_ms) for each in reference.closed}
        for stream_id, stream in reference.streams.items():
            found |= {(partition, stream_id, start_ms) for start_ms in stream.buckets}
    return found


def test_the_state_topic_is_configured_to_stay_small(bootstrap_servers: str) -> None:
    with stage(bootstrap_servers, PARTITIONS, RULES) as kafka, running(settings(kafka)):
        until(lambda: len(kafka.committed_so_far()) == PARTITIONS, "the worker commits", JOIN_TIMEOUT_S)
        resource = ConfigResource(ResourceType.TOPIC, kafka.kafka.state_topic)
        admin = AdminClient({"bootstrap.servers": bootstrap_servers})
        found = admin.describe_configs([resource])[resource].result(15)
        assert {key: found[key].value for key in STATE_TOPIC_CONFIG} == STATE_TOPIC_CONFIG
