"""Restarted brokers and broken connections delay the workers, but lose and repeat nothing."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.deployment import deployment
from tests.chaos.proxied_cluster import cluster_behind_proxy, through
from tests.support.broker import NoBrokerError
from tests.support.cluster import KafkaCluster
from tests.support.proxy import Proxy

pytestmark = pytest.mark.slow

PARTITIONS = 4
SEED = 12
WITHIN_S = 90.0


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[tuple[KafkaCluster, Proxy]]:
    try:
        with cluster_behind_proxy(tmp_path) as both:
            yield both
    except NoBrokerError as reason:
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail(f"CI needs real brokers: {reason}")
        pytest.skip(f"no real brokers: {reason}")


def test_restarted_brokers_and_broken_connections_lose_and_repeat_nothing(
    brokers: tuple[KafkaCluster, Proxy], tmp_path: Path
) -> None:
    """One fault after the other, under two workers.

    ```
    network                  cut · slow ────┐
    the group's coordinator                 └ stopped ── back ┐
    the transactions' coordinator                             └ killed ── back ┐
    workers           ═══════ go on ══ go on ════ go on ═══════════ go on ═════╧═ stop
    ```
    """
    cluster, proxy = brokers
    workers = {"one": "one", "other": "other"}
    with deployment(
        cluster.bootstrap_servers,
        tmp_path,
        counting="sessions",
        seed=SEED,
        partitions=PARTITIONS,
        workers=workers,
        through=through(proxy),
        keep=True,  # they go with the brokers
    ) as deployed:
        deployed.start_missing()
        deployed.wait_for_progress(20, WITHIN_S)

        proxy.cut()
        proxy.slow(delay_s=0.1)
        deployed.wait_for_progress(20, WITHIN_S)
        proxy.resume()

        group = deployed.kafka.kafka.group_id
        node = cluster.coordinator_of_group(group)
        cluster.stop(node)
        deployed.wait_for_progress(20, WITHIN_S)
        cluster.start(node)

        node = cluster.coordinator_of_transactions(f"{group}-one-3")
        cluster.kill(node)
        deployed.wait_for_progress(20, WITHIN_S)
        cluster.start(node)

        deployed.wait_for_progress(20, WITHIN_S)
        deployed.settle(WITHIN_S)
        # A broker that answers late may take one with a name for another of that name; that one says so, and ends.
        assert {ending.how for ending in deployed.endings} <= {"stopped", "gave up"}
        verdict = deployed.verdict()
    assert verdict.clean, "\n".join([str(verdict), *verdict.examples])
