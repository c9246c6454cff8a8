"""A partition without a leader stops only itself."""

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.errors import ViewerConsumerError
from consumer.kafka.admin.topics import check_topics
from consumer.settings.model import Settings
from tests.end_to_end.events import encoded
from tests.end_to_end.stage import Record, Stage, running
from tests.reference.events_counting import Event, Rules
from tests.support.broker import NoBrokerError
from tests.support.cluster import KafkaCluster, kafka_cluster
from tests.support.waiting import until

pytestmark = pytest.mark.slow

RULES = Rules(window_duration_ms=5_000, bucket_ms=1_000, grace_ms=0, stream_idle_ms=2_000)
WITHIN_S = 90.0


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[KafkaCluster]:
    try:
        with kafka_cluster(tmp_path) as cluster:
            cluster.start_all()
            yield cluster
    except NoBrokerError as reason:
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail(f"CI needs real brokers: {reason}")
        pytest.skip(f"no real brokers: {reason}")


def record(partition: int, bucket: int) -> Record:
    return Record(None, encoded(Event(f"s{partition}", "J", bucket * 1_000 + 1)), 0, partition)


def buckets(kafka: Stage, partition: int) -> list[int]:
    return [each["bucket_start_ms"] // 1_000 for each in kafka.summaries(60.0) if each["partition"] == partition]


def has_a_controller(settings: Settings) -> bool:
    """The third broker may have been the controller."""
    try:
        return bool(check_topics(settings.kafka).identity.topic_id)
    except ViewerConsumerError:
        return False


def ready(url: str) -> str:
    """Return what /readyz says; empty if it answers 200."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=10):  # noqa: S310  # the worker's own address
            return ""
    except urllib.error.HTTPError as error:
        return error.read().decode()


def test_other_partitions_commit_close_by_the_clock_and_restart(brokers: KafkaCluster) -> None:
    """
    ```
    partition 0   0 1 │               │ 2 ─ closed ── 3 ─ by the clock
    partition 1   0 1 │ no leader                                     │ back ── 2 ─ closed
    worker        ════╧═══ stopped ═══╧═ another, restores partition 0 ═══════════════════
    ```
    """
    # The brokers that stay are a quorum; partition 1 of the input is on the third alone.
    kafka = Stage(brokers.bootstrap_servers, 2, RULES, replicas=((1,), (3,)))
    settings = kafka.settings()
    settings = settings.model_copy(update={"windows": settings.windows.model_copy(update={"partition_idle_ms": 3_000})})
    with running(settings):
        kafka.write(record(partition, bucket) for bucket in (0, 1) for partition in (0, 1))
        until(lambda: kafka.committed() == {0: 2, 1: 2}, "both partitions are committed", WITHIN_S)
    brokers.kill(3)
    until(lambda: has_a_controller(settings), "the remaining brokers have a controller", WITHIN_S)
    with running(settings) as service:
        until(
            lambda: "partition 1: offsets are being looked up: " in ready(service.address),
            "the reason is reported",
            WITHIN_S,
        )
        kafka.write([record(0, 2)])
        until(lambda: kafka.committed()[0] == 3, "the other partition is committed", WITHIN_S)
        until(lambda: 2 in buckets(kafka, 0), "the clock closes its last bucket", WITHIN_S)
        assert buckets(kafka, 1) == [0]
        brokers.start(3)
        until(lambda: ready(service.address) == "", "the partition is restored", WITHIN_S)
        kafka.write([record(1, 2)])
        until(lambda: kafka.committed() == {0: 3, 1: 3}, "both partitions are committed", WITHIN_S)
    assert buckets(kafka, 0) == [0, 1, 2]
    assert buckets(kafka, 1)[:2] == [0, 1]
