"""A partition without a leader stops only itself; one that takes the output of all makes the worker wait."""

import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from consumer.errors import ViewerConsumerError
from consumer.kafka.admin.topics import check_topics
from consumer.settings.model import Settings
from consumer.worker.warm_up import warm_up
from tests.end_to_end.events import encoded
from tests.end_to_end.stage import Record, Stage, running
from tests.reference.events_counting import Event, Rules
from tests.support.broker import NoBrokerError
from tests.support.cluster import KafkaCluster, kafka_cluster
from tests.support.topics import create_topic
from tests.support.waiting import until

pytestmark = pytest.mark.slow

RULES = Rules(window_duration_ms=5_000, bucket_ms=1_000, grace_ms=0, stream_idle_ms=2_000)
WITHIN_S = 90.0


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[KafkaCluster]:
    warm_up()  # on a new machine the first worker compiles for longer than tests wait
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


def goes_without(settings: Settings, node: int) -> bool:
    """Whether the cluster has a controller, and has noticed the end of a broker: it is given out as controller else."""
    admin = AdminClient({"bootstrap.servers": settings.kafka.bootstrap_servers})
    try:
        return node not in admin.list_topics(timeout=5).brokers and bool(check_topics(settings.kafka).topics)
    except (KafkaException, ViewerConsumerError):
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
    until(lambda: goes_without(settings, 3), "the remaining brokers have a controller", WITHIN_S)
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


def test_a_live_partition_that_loses_its_leader_is_told_and_read_on(brokers: KafkaCluster) -> None:
    kafka = Stage(brokers.bootstrap_servers, 2, RULES, replicas=((1,), (3,)))
    with running(kafka.settings()) as service:
        kafka.write(record(partition, 0) for partition in (0, 1))
        until(lambda: kafka.committed() == {0: 1, 1: 1}, "both partitions are committed", WITHIN_S)
        brokers.kill(3)
        until(
            lambda: bool(re.search(r"partition 1: nothing .* its leader does not answer", ready(service.address))),
            "the reason is reported",
            WITHIN_S,
        )
        kafka.write([record(0, 1)])
        until(lambda: kafka.committed() == {0: 2, 1: 1}, "the other partition is committed", WITHIN_S)
        brokers.start(3)
        kafka.write([record(1, 1)])
        until(lambda: kafka.committed() == {0: 2, 1: 2}, "it is read on", WITHIN_S)
        until(lambda: ready(service.address) == "", "the worker is ready", WITHIN_S)


TRANSACTION_S = 5.2
"""As short as the worker allows: so long it tries to write a record."""

SEVERAL_TIMES_S = 10 * TRANSACTION_S
"""Records that brokers refuse so often would have ended the worker."""


def with_short_transactions(kafka: Stage) -> Settings:
    client = {"transaction.timeout.ms": int(TRANSACTION_S * 1_000), "session.timeout.ms": 6_000}
    return kafka.settings().model_copy(update={"kafka": kafka.kafka.model_copy(update={"client": client})})


def create(kafka: Stage, topic: str, replicas: Sequence[Sequence[int]], policy: str) -> None:
    config = {"min.insync.replicas": "1", "cleanup.policy": policy}
    create_topic(kafka.kafka.bootstrap_servers, topic, len(replicas), config, replicas=replicas)


def test_a_partition_whose_state_has_no_leader_waits_alone(brokers: KafkaCluster) -> None:
    kafka = Stage(brokers.bootstrap_servers, 2, RULES, replicas=((1,), (1,)))
    create(kafka, kafka.kafka.state_topic, ((1,), (3,)), "compact")
    with running(with_short_transactions(kafka)) as service:
        kafka.write([record(0, 0), record(1, 0)])
        kafka.wait_until_all_is_committed(WITHIN_S)
        brokers.kill(3)
        kafka.write([record(1, 1), record(0, 1)])
        until(lambda: kafka.committed()[0] == 2, "the other partition is committed", WITHIN_S)
        until(
            lambda: "partition 1: offsets are being looked up: " in service.board.latest().health.reason,
            "the reason is reported",
            WITHIN_S,
        )
        kafka.write([record(0, 2)])
        until(lambda: kafka.committed() == {0: 3, 1: 1}, "the other partition continues", WITHIN_S)
        brokers.start(3)
        kafka.wait_until_all_is_committed(WITHIN_S)
    assert [buckets(kafka, partition) for partition in (0, 1)] == [[0, 1], [0]]


def test_without_a_leader_of_the_output_the_worker_waits_unready_and_continues(brokers: KafkaCluster) -> None:
    kafka = Stage(brokers.bootstrap_servers, 1, RULES, replicas=((1,),))
    create(kafka, kafka.kafka.output_topic, ((3,),), "delete")
    with running(with_short_transactions(kafka)) as service:
        kafka.write([record(0, 0)])
        kafka.wait_until_all_is_committed(WITHIN_S)
        brokers.kill(3)
        since_s = time.monotonic()
        kafka.write([record(0, 1)])
        topics = f"not all records to {kafka.kafka.state_topic}, {kafka.kafka.output_topic} could be written"
        until(lambda: topics in service.board.latest().health.reason, "the reason is reported", WITHIN_S)
        until(lambda: time.monotonic() - since_s > SEVERAL_TIMES_S, "several transactions have failed", WITHIN_S)
        assert kafka.committed() == {0: 1}
        brokers.start(3)
        kafka.wait_until_all_is_committed(WITHIN_S)
        until(lambda: service.board.latest().health.ready, "it is ready", WITHIN_S)
    assert buckets(kafka, 0) == [0]
