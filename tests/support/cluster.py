"""Three real brokers on this machine that are stopped, killed and restarted while clients use them.

Each is broker and controller, so two of them are a quorum; topics have three replicas, of which two must have a record
before it is acknowledged. Clients may be led through proxies: the brokers then have a listener that advertises them.
"""

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.support.broker import KIP_848_SOON, QUICK_START, START_TIMEOUT_S, cluster_id, kafka_jars, lasting_ports
from tests.support.waiting import until

NODES = (1, 2, 3)
STOP_TIMEOUT_S = 60.0
IN_SYNC_TIMEOUT_S = 90.0

_HEAP = ("-Xms128m", "-Xmx512m")
"""Three brokers share a small machine with their clients."""

_SETTINGS = {
    "process.roles": "broker,controller",
    "listener.security.protocol.map": "INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "INSIDE",
    "controller.listener.names": "CONTROLLER",
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "offsets.topic.num.partitions": "6",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "transaction.state.log.num.partitions": "6",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "2000",
    **KIP_848_SOON,
    "group.consumer.session.timeout.ms": "6000",
    "auto.create.topics.enable": "false",
    # A killed broker is detected soon.
    "broker.session.timeout.ms": "4000",
    "broker.heartbeat.interval.ms": "500",
    "replica.lag.time.max.ms": "5000",
}


class KafkaCluster:
    """Brokers 1, 2 and 3, each a process with a data directory below `directory`.

    Args:
        jars: where Kafka's jars are.
        directory: for data, configuration and logs; it is left as it is.
    """

    def __init__(self, jars: Path, directory: Path) -> None:
        self._jars = jars
        self._directory = directory
        self._inside, self._controllers, self._listening = (
            dict(zip(NODES, ports, strict=True)) for ports in _three_by_three(lasting_ports(9))
        )
        self._advertised = self._listening
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.bootstrap_servers = ",".join(f"localhost:{self._inside[node]}" for node in NODES)
        """Addresses that bypass any proxy."""

    @property
    def outside_ports(self) -> Mapping[int, int]:
        """Return the port of each broker's outside listener."""
        return self._listening

    def lead_outside_through(self, ports: Mapping[int, int]) -> None:
        """Let the outside listeners advertise these ports; call before the first start."""
        self._advertised = dict(ports)

    def start_all(self) -> None:
        """Format and start all three, and wait until they form one cluster."""
        identity = cluster_id()
        for node in NODES:
            self._format(node, identity)
        for node in NODES:
            self._launch(node)
        self.wait_until_in_sync()

    def start(self, node: int) -> None:
        """Start one that was stopped or killed, with its data, and wait until every replica is in sync again."""
        self._launch(node)
        self.wait_until_in_sync()

    def stop(self, node: int) -> None:
        """Let it hand over its leaderships, and end."""
        self._processes[node].send_signal(signal.SIGTERM)
        self._processes.pop(node).wait(STOP_TIMEOUT_S)

    def kill(self, node: int) -> None:
        """Kill it without warning."""
        self._processes[node].kill()
        self._processes.pop(node).wait()

    def freeze(self, node: int) -> None:
        """Stop its process where it is: connections stay open, and nothing is answered."""
        self._processes[node].send_signal(signal.SIGSTOP)

    def thaw(self, node: int) -> None:
        """Let a frozen one continue, and wait until every replica is in sync again."""
        self._processes[node].send_signal(signal.SIGCONT)
        self.wait_until_in_sync()

    def kill_all(self) -> None:
        """Kill all that run."""
        for node in list(self._processes):
            self.kill(node)

    def wait_until_in_sync(self, within_s: float = IN_SYNC_TIMEOUT_S) -> None:
        """Wait until all brokers are up, every partition has a leader, and all its replicas are in sync."""
        deadline = time.monotonic() + within_s
        until(
            lambda: self._complain_of_the_dead() or self._in_sync(max(1.0, deadline - time.monotonic())),
            "all replicas are in sync",
            within_s,
        )

    def _in_sync(self, within_s: float) -> bool:
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 2})
        try:
            metadata = admin.list_topics(timeout=min(within_s, 5.0))
        except KafkaException:
            return False
        partitions = [each for topic in metadata.topics.values() for each in topic.partitions.values()]
        return len(metadata.brokers) == len(NODES) and all(
            each.leader >= 0 and set(each.isrs) == set(each.replicas) for each in partitions
        )

    def leader_of(self, topic: str, partition: int) -> int:
        """The broker that leads a partition now, -1 if none does."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 2})
        return int(admin.list_topics(topic, timeout=15).topics[topic].partitions[partition].leader)

    def move(self, topic: str, partition: int, nodes: Sequence[int]) -> None:
        """Have a partition's replicas on these brokers only; wait until they are."""
        plan = self._directory / "reassignment.json"
        moved = {"topic": topic, "partition": partition, "replicas": list(nodes)}
        plan.write_text(json.dumps({"version": 1, "partitions": [moved]}))
        tool = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
        about = ("--bootstrap-server", self.bootstrap_servers, "--reassignment-json-file", str(plan), "--execute")
        done = subprocess.run(
            self._java(tool, *about), capture_output=True, text=True, timeout=START_TIMEOUT_S, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{topic}-{partition} could not be moved:\n{done.stdout}{done.stderr}")
        until(lambda: self._replicas(topic, partition) == list(nodes), f"{topic}-{partition} is on {nodes}")

    def _replicas(self, topic: str, partition: int) -> list[int]:
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 2})
        return list(admin.list_topics(topic, timeout=15).topics[topic].partitions[partition].replicas)

    def coordinator_of_group(self, group: str) -> int:
        """Return the broker that coordinates a group now."""
        return self._leader_for(group, "__consumer_offsets")

    def coordinator_of_transactions(self, transactional_id: str) -> int:
        """Return the broker that coordinates the transactions of that id now."""
        return self._leader_for(transactional_id, "__transaction_state")

    def _leader_for(self, name: str, topic: str) -> int:
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 2})
        partitions = admin.list_topics(topic, timeout=15).topics[topic].partitions
        return int(partitions[abs(_java_hash(name)) % len(partitions)].leader)

    def _complain_of_the_dead(self) -> bool:
        """Raise if a broker has ended by itself; False otherwise."""
        for node, process in self._processes.items():
            if process.poll() is not None:
                raise RuntimeError(f"broker {node} ended by itself; the end of its log:\n" + self._tail(node))
        return False

    def _tail(self, node: int) -> str:
        return (self._directory / f"broker-{node}.log").read_text(errors="replace")[-4000:]

    def _format(self, node: int, identity: str) -> None:
        config = self._config(node)
        config.write_text("".join(f"{key}={value}\n" for key, value in self._properties(node).items()))
        command = self._java("kafka.tools.StorageTool", "format", "-t", identity, "-c", str(config))
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_TIMEOUT_S, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"Kafka's storage could not be formatted:\n{done.stdout}{done.stderr}")

    def _properties(self, node: int) -> dict[str, str]:
        inside, outside, controller = self._inside[node], self._listening[node], self._controllers[node]
        voters = ",".join(f"{each}@localhost:{self._controllers[each]}" for each in NODES)
        return _SETTINGS | {
            "node.id": str(node),
            "controller.quorum.voters": voters,
            "listeners": f"INSIDE://localhost:{inside},OUTSIDE://localhost:{outside},CONTROLLER://localhost:{controller}",
            "advertised.listeners": f"INSIDE://localhost:{inside},OUTSIDE://localhost:{self._advertised[node]}",
            "log.dirs": str(self._directory / f"data-{node}"),
        }

    def _launch(self, node: int) -> None:
        with (self._directory / f"broker-{node}.log").open("ab") as log:
            self._processes[node] = subprocess.Popen(
                self._java("kafka.Kafka", str(self._config(node))), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def _config(self, node: int) -> Path:
        return self._directory / f"broker-{node}.properties"

    def _java(self, *arguments: str) -> list[str]:
        logs = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        return ["java", *_HEAP, *QUICK_START, logs, "-cp", f"{self._jars}/*", *arguments]


@contextlib.contextmanager
def kafka_cluster(directory: Path) -> Iterator[KafkaCluster]:
    """Yield a cluster that is not started yet; at the end its processes are killed, and its data stays.

    Raises:
        NoBrokerError: there is no Java, or no jars.
    """
    cluster = KafkaCluster(kafka_jars(), directory)
    try:
        yield cluster
    finally:
        cluster.kill_all()


def _java_hash(text: str) -> int:
    """Return the value of `String.hashCode`, by which Kafka chooses coordinators."""
    total = 0
    for character in text:
        total = (31 * total + ord(character)) & 0xFFFF_FFFF
    return total - 2**32 if total >= 2**31 else total


def _three_by_three(ports: Sequence[int]) -> tuple[Sequence[int], ...]:
    return ports[:3], ports[3:6], ports[6:]
