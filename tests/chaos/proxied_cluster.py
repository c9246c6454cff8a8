"""Three brokers, and a proxy that workers reach them through."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.support.cluster import NODES, KafkaCluster, kafka_cluster
from tests.support.proxy import Proxy


@contextlib.contextmanager
def cluster_behind_proxy(directory: Path) -> Iterator[tuple[KafkaCluster, Proxy]]:
    """Both at work; data and logs are left in the directory.

    Raises:
        NoBrokerError: there is no Java, or no jars.
    """
    with kafka_cluster(directory) as cluster, Proxy([cluster.outside_ports[node] for node in NODES]) as proxy:
        cluster.lead_outside_through(dict(zip(NODES, proxy.ports, strict=True)))
        cluster.start_all()
        yield cluster, proxy


def through(proxy: Proxy) -> str:
    """Bootstrap servers for those who are to go through it."""
    return ",".join(f"localhost:{port}" for port in proxy.ports)
