"""A real broker for tests and benchmarks: a given one, one in Docker, or Kafka's own jars with Java.

`KAFKA_BOOTSTRAP_SERVERS` names one that runs. Else Docker's engine is asked; else Java 17 or newer starts Kafka from
jars that Maven fetches once into `.cache/`. Where there is none of these, `NoBrokerError` says what was missing.
"""

import base64
import contextlib
import fcntl
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

KAFKA_VERSION = "4.3.1"
CACHE = Path(__file__).parents[2] / ".cache"
START_TIMEOUT_S = 60.0
QUICK_START = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Options for a Java that shares a small machine: only the fast JIT compiler. A benchmark goes without."""

DOWNLOAD_TIMEOUT_S = 300.0

_JAVA_AT_LEAST = 17
_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion><groupId>jars</groupId><artifactId>jars</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>{KAFKA_VERSION}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"""


class NoBrokerError(Exception):
    """No real broker is available here; the message says why."""


@contextlib.contextmanager
def real_broker(environ: Mapping[str, str] = os.environ, java: Sequence[str] = ()) -> Iterator[str]:
    """Yield the bootstrap servers of a real broker; stop it at the end if it was started here.

    Args:
        environ: of the process.
        java: options for Java, if Kafka runs in it here.
    """
    if given := environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        wait_until_it_answers(given, within_s=15.0)
        yield given
        return
    reasons = ["KAFKA_BOOTSTRAP_SERVERS is not set"]
    with contextlib.ExitStack() as stack:
        for way in (_in_docker, partial(_in_java, java)):
            try:
                servers = stack.enter_context(way())
            except NoBrokerError as reason:
                reasons.append(str(reason))
                continue
            yield servers
            return
    raise NoBrokerError("; ".join(reasons))


@contextlib.contextmanager
def _in_java(options: Sequence[str]) -> Iterator[str]:
    with KafkaBroker(kafka_jars(), java=options) as broker:
        yield broker.bootstrap_servers


class Security(NamedTuple):
    """How clients connect to a broker, and its security configuration."""

    protocol: str = "PLAINTEXT"
    properties: Mapping[str, str] = MappingProxyType({})
    scram: tuple[str, ...] = ()
    """Users in the format of Kafka's storage tool."""
    admin: Mapping[str, str] = MappingProxyType({})
    """Configuration of a client with all rights."""


NO_SECURITY = Security()


class KafkaBroker:
    """One Kafka node, broker and controller, in its own process; its data directory is removed with it."""

    def __init__(
        self,
        jars: Path,
        security: Security = NO_SECURITY,
        *,
        java: Sequence[str] = QUICK_START,
    ) -> None:
        self._jars = jars
        self._java_options = java
        self._security = security
        self._directory = Path(tempfile.mkdtemp(prefix="kafka-"))
        self._log = self._directory / "broker.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.bootstrap_servers = ""

    def __enter__(self) -> "KafkaBroker":
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Kill it and remove its data; a second call does nothing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        shutil.rmtree(self._directory, ignore_errors=True)

    def freeze(self) -> None:
        """Stop the process where it is, as a machine that hangs."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process continue."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once; its data stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def start_again(self) -> None:
        """Start one that was killed, on its data and its port, and wait until it answers."""
        self._launch()
        self._wait()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _start(self) -> None:
        port, controller_port = lasting_ports(2)
        config = self._directory / "server.properties"
        config.write_text(_server_properties(port, controller_port, self._directory / "data", self._security))
        format_it = ["kafka.tools.StorageTool", "format", "-t", cluster_id(), "-c", str(config), "--standalone"]
        format_it += [part for user in self._security.scram for part in ("--add-scram", user)]
        formatted = subprocess.run(self._java(*format_it), capture_output=True, text=True, timeout=60, check=False)
        if formatted.returncode != 0:
            raise RuntimeError(f"Kafka's storage could not be formatted:\n{formatted.stdout}{formatted.stderr}")
        self.bootstrap_servers = f"localhost:{port}"
        self._launch()
        self._wait()

    def _launch(self) -> None:
        config = str(self._directory / "server.properties")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", config), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            if answers(self.bootstrap_servers, within_s=1.0, client=self._security.admin):
                return
        how = "ended" if self._process.poll() is not None else f"did not answer within {START_TIMEOUT_S:.0f} s"
        raise RuntimeError(f"Kafka {how}; the end of its log:\n" + self._log.read_text(errors="replace")[-4000:])

    def _java(self, *arguments: str) -> list[str]:
        logs = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        return ["java", "-Xmx1g", *self._java_options, logs, "-cp", f"{self._jars}/*", *arguments]


def kafka_jars() -> Path:
    """Return the directory with Kafka's jars; the first call on this machine fetches them."""
    _need_java()
    jars = CACHE / f"kafka-{KAFKA_VERSION}"
    with fetching():
        if not jars.is_dir():
            _fetch(jars)
    return jars


@contextlib.contextmanager
def fetching(lock_name: str = "fetching.lock") -> Iterator[None]:
    """Hold a lock during a fetch: tests run in several processes, and Maven's repository allows one."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / lock_name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _need_java() -> None:
    if shutil.which("java") is None:
        raise NoBrokerError("java is not on the PATH")
    output = subprocess.run(["java", "-version"], capture_output=True, text=True, timeout=30, check=False).stderr
    version = re.search(r'version "(?:1\.)?(\d+)', output)
    if version is None or int(version[1]) < _JAVA_AT_LEAST:
        raise NoBrokerError(f"Kafka {KAFKA_VERSION} needs {_JAVA_AT_LEAST} or newer, not: {output.splitlines()[:1]}")


def _fetch(jars: Path) -> None:
    """Fetch to a temporary place and rename, so that a partial download never counts."""
    if shutil.which("mvn") is None:
        raise NoBrokerError(f"mvn, which fetches Kafka's jars into {jars}, is not on the PATH")
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=f"{jars.name}-") as unfinished:
        pom = Path(unfinished) / "pom.xml"
        pom.write_text(_POM)
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={unfinished}/jars"]
        try:
            subprocess.run(
                ["mvn", "-q", "-B", "-f", str(pom), *goal],
                check=True,
                capture_output=True,
                text=True,
                timeout=DOWNLOAD_TIMEOUT_S,
            )
        except subprocess.CalledProcessError as error:
            raise NoBrokerError(
                f"mvn could not fetch Kafka's jars: {error.stdout[-500:]}{error.stderr[-500:]}"
            ) from None
        except subprocess.TimeoutExpired:
            raise NoBrokerError(f"mvn did not fetch Kafka's jars within {DOWNLOAD_TIMEOUT_S:.0f} s") from None
        (Path(unfinished) / "jars").rename(jars)


@contextlib.contextmanager
def _in_docker() -> Iterator[str]:
    _need_docker()
    (port,) = free_ports(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of its libraries are not ours to fix
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415  # slow to import, only needed here

        try:
            container = DockerContainer(f"apache/kafka:{KAFKA_VERSION}").with_bind_ports(port, port)
            # The container's own method needs a started one where the tests run in a container themselves.
            servers = f"{container.get_docker_client().host()}:{port}"
            for key, value in _docker_environment(servers, port).items():
                container.with_env(key, value)
            container.start()
        except Exception as error:  # noqa: BLE001  # whatever it is, such as an image that cannot be pulled: no broker this way
            raise NoBrokerError(f"Docker could not start Kafka ({' '.join(str(error).split())[:300]})") from None
    try:
        wait_until_it_answers(servers, START_TIMEOUT_S)
        yield servers
    finally:
        container.stop()


def _need_docker() -> None:
    if shutil.which("docker") is None:
        raise NoBrokerError("docker is not on the PATH")
    try:
        asked = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, timeout=5, check=False
        )
    except subprocess.TimeoutExpired:
        raise NoBrokerError("no Docker engine answers") from None
    if asked.returncode != 0:
        raise NoBrokerError("no Docker engine answers")


def _server_properties(port: int, controller_port: int, data: Path, security: Security) -> str:
    protocol = security.protocol
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.bootstrap.servers": f"localhost:{controller_port}",
        "listeners": f"{protocol}://localhost:{port},CONTROLLER://localhost:{controller_port}",
        "advertised.listeners": f"{protocol}://localhost:{port}",
        "listener.security.protocol.map": f"{protocol}:{protocol},CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": protocol,
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(data),
        **_ONE_NODE,
        **security.properties,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def _docker_environment(servers: str, port: int) -> dict[str, str]:
    settings = {
        "node.id": "1",
        "process.roles": "broker,controller",
        "controller.quorum.voters": "1@localhost:29093",
        "listeners": f"PLAINTEXT://:{port},CONTROLLER://:29093",
        "advertised.listeners": f"PLAINTEXT://{servers}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        **_ONE_NODE,
    }
    return {"KAFKA_" + key.upper().replace(".", "_"): value for key, value in settings.items()}


KIP_848_SOON = {
    "group.consumer.heartbeat.interval.ms": "2500",
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.min.session.timeout.ms": "6000",
}
"""Members by `group.protocol=consumer` hear of a rebalance sooner than by the default of 5 s.

Not much sooner: the client library waits for the answer to a heartbeat as long as for the next one, then it connects
anew. With 1 s a busy machine may never get through.
"""

_ONE_NODE = {
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    **KIP_848_SOON,
    "auto.create.topics.enable": "false",
}


def cluster_id() -> str:
    """Return a cluster id for a data directory to be formatted."""
    while (name := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass  # Kafka would read it as an option
    return name


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


_EPHEMERAL = 32_768
_LOWEST = 20_000


def lasting_ports(count: int) -> list[int]:
    """Ports that are free, and that no outgoing connection is given while their owner starts or is down."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(_LOWEST, _EPHEMERAL)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in found:
                found.append(port)
    return found


def answers(bootstrap_servers: str, within_s: float, client: Mapping[str, str] = MappingProxyType({})) -> bool:
    """Return whether a Kafka broker answers there."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 2, **client})
    try:
        admin.list_topics(timeout=within_s)
    except KafkaException:
        return False
    return True


def wait_until_it_answers(bootstrap_servers: str, within_s: float) -> None:
    """Wait for a broker.

    Raises:
        RuntimeError: it doesn't answer in time.
    """
    deadline = time.monotonic() + within_s
    while not answers(bootstrap_servers, within_s=1.0):
        if time.monotonic() > deadline:
            raise RuntimeError(f"no Kafka answered on {bootstrap_servers} within {within_s:.0f} s")
