"""A worker's topics on a real broker, the service that works on them, and what can be observed from outside."""

import contextlib
import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from consumer.runtime.clocks import Clocks
from consumer.runtime.signals import StopRequest
from consumer.settings.model import HttpSettings, InputSettings, KafkaSettings, Settings, WindowSettings
from consumer.worker.service import Service
from tests.end_to_end.events import SCHEMA_ID, SCHEMA_PATH
from tests.reference.events_counting import Rules
from tests.support.topics import create_topic, delete_topics, read_committed, read_uncommitted
from tests.support.topics import unique as unique_name
from tests.support.waiting import until

INPUT = InputSettings(ids={SCHEMA_ID: SCHEMA_PATH})
STOP_TIMEOUT_S = 40.0
"""Longer than the initialization of a producer, which cannot be interrupted."""

COORDINATOR_TIMEOUT_S = 60.0
LEADER_UNKNOWN = frozenset(
    {
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._TIMED_OUT,  # also of offsets that an open transaction of the worker holds back
    }
)

BACK_SOON = {"reconnect.backoff.max.ms": 1_000, "socket.connection.setup.timeout.ms": 6_000}
"""As the worker's clients: else they may wait for a connection begun while a broker starts for longer than tests do."""

T = TypeVar("T")


class Record(NamedTuple):
    """A record to write; the client's partitioner places records of partition -1 by their key."""

    key: bytes | None
    value: bytes | None
    timestamp_ms: int = 0
    """0 is now."""
    partition: int = -1
    headers: tuple[tuple[str, bytes | None], ...] = ()


class Stage:
    """Topics and a group with unique names."""

    def __init__(
        self,
        bootstrap_servers: str,
        partitions: int,
        rules: Rules,
        by_viewer: Mapping[str, int] | None = None,
        replicas: Sequence[Sequence[int]] = (),
        input_config: Mapping[str, str] | None = None,
    ) -> None:
        self.partitions = partitions
        self.rules = rules
        self.by_viewer = dict(by_viewer or {})
        self.kafka = KafkaSettings(
            bootstrap_servers=bootstrap_servers,
            group_id=unique_name("group"),
            input_topic=unique_name("events"),
            output_topic=unique_name("summaries"),
            dead_letter_topic=unique_name("dead-letters"),
            state_topic=unique_name("state"),
        )
        config = {**({"min.insync.replicas": "1"} if replicas else {}), **(input_config or {})}
        create_topic(bootstrap_servers, self.kafka.input_topic, partitions, config, replicas=replicas)
        # Idempotent, since a batch that is sent again goes behind its successors else: a topic just made refuses some.
        client: dict[str, str | int] = {"bootstrap.servers": bootstrap_servers, **BACK_SOON}
        self._writer = Producer({**client, "linger.ms": 5, "enable.idempotence": True})
        # They use the group id but do not join the group: they only read committed offsets.
        group = {**client, "group.id": self.kafka.group_id}
        self._offsets_consumer = Consumer({**group, "isolation.level": "read_committed"})
        self._progress_consumer = Consumer({**group, "isolation.level": "read_uncommitted"})

    def settings(self, source: InputSettings = INPUT) -> Settings:
        """Return the settings of a worker on these topics."""
        windows = WindowSettings.model_validate(self._windows())
        return Settings(kafka=self.kafka, input=source, windows=windows, http=HttpSettings(host="127.0.0.1", port=0))

    def flags(self) -> list[str]:
        """Return the same settings as command-line flags."""
        kafka = self.kafka.model_dump(exclude_defaults=True)
        chosen = {f"kafka.{key}": value for key, value in kafka.items()}
        chosen |= {f"windows.{key}": value for key, value in self._windows().items()}
        chosen |= {f"input.ids.{SCHEMA_ID}": SCHEMA_PATH, "http.host": "127.0.0.1", "http.port": 0}
        return [part for key, value in chosen.items() for part in ("--set", f"{key}={value}")]

    def _windows(self) -> dict[str, Any]:
        counting = "sessions" if self.by_viewer else "events"
        return {**vars(self.rules), **self.by_viewer, "counting": counting}

    def write(self, records: Iterable[Record]) -> None:
        """Write records and wait until they are acknowledged."""
        for record in records:
            while True:
                try:
                    self._writer.produce(
                        self.kafka.input_topic,
                        record.value,
                        record.key,
                        record.partition,
                        timestamp=record.timestamp_ms,
                        headers=list(record.headers),
                    )
                    break
                except BufferError:
                    self._writer.poll(0.1)
        assert self._writer.flush(30) == 0

    def grow(self, partitions: int, replicas: Sequence[Sequence[int]] = ()) -> None:
        """Give the input more partitions, on these brokers if given, and wait until the clients here know of them."""
        topic = self.kafka.input_topic
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap_servers})
        placed = [list(nodes) for nodes in replicas]
        more = (
            NewPartitions(topic, partitions, replica_assignment=placed) if placed else NewPartitions(topic, partitions)
        )
        try:
            admin.create_partitions([more])[topic].result()
        except KafkaException as error:
            # It has them already if the answer to an earlier attempt was lost.
            if error.args[0].code() != KafkaError.INVALID_PARTITIONS:
                raise
        for client in (self._writer, self._offsets_consumer, self._progress_consumer):
            until(
                lambda client=client: len(client.list_topics(topic, 15).topics[topic].partitions) == partitions,  # type: ignore[misc]  # a default binds it now
                "the brokers know them",
            )
        self.partitions = partitions

    def records(self) -> Mapping[int, list[Message]]:
        """Return all records of the input by partition, ordered by offset."""
        found: dict[int, list[Message]] = defaultdict(list)
        for message in read_uncommitted(self.kafka.bootstrap_servers, self.kafka.input_topic):
            found[message.partition() or 0].append(message)
        return found

    def committed(self) -> dict[int, int]:
        """Return the group's offsets, without partitions that have none; waits while a transaction may change them."""
        return self._committed(self._offsets_consumer)

    def committed_so_far(self) -> dict[int, int]:
        """As `committed`, but without a wait for open transactions: workers that are busy nearly always have some."""
        return self._committed(self._progress_consumer)

    def _committed(self, consumer: Consumer) -> dict[int, int]:
        found = _once_brokers_know(lambda: consumer.committed(self._places(), timeout=15))
        return {each.partition: each.offset for each in found if each.offset >= 0}

    def ends(self) -> dict[int, int]:
        """Where each partition of the input ends."""
        return {partition: self.end_of(partition) for partition in range(self.partitions)}

    def end_of(self, partition: int) -> int:
        """Where one partition of the input ends."""
        place = TopicPartition(self.kafka.input_topic, partition)
        return _once_brokers_know(partial(self._offsets_consumer.get_watermark_offsets, place, 15))[1]

    def wait_until_all_is_committed(self, within_s: float = 30.0) -> None:
        """Wait until the group's offsets are at the end of the input."""
        written = {partition: end for partition, end in self.ends().items() if end}
        until(lambda: self.committed_so_far().items() >= written.items(), f"offsets {written} are committed", within_s)

    def _places(self) -> list[TopicPartition]:
        return [TopicPartition(self.kafka.input_topic, partition) for partition in range(self.partitions)]

    def summaries(self, within_s: float = 30.0) -> list[dict[str, Any]]:
        """Return what downstream reads, in order within a stream."""
        messages = read_committed(self.kafka.bootstrap_servers, self.kafka.output_topic, within_s)
        summaries = [json.loads(message.value() or b"") for message in messages]
        assert [message.key() for message in messages] == [each["stream_id"].encode() for each in summaries]
        return summaries

    def dead_letters(self) -> list[Message]:
        """Return the dead letters."""
        return read_committed(self.kafka.bootstrap_servers, self.kafka.dead_letter_topic)

    def close(self) -> None:
        """Delete the topics."""
        kafka = self.kafka
        self.leave()
        names = [kafka.input_topic, kafka.output_topic, kafka.dead_letter_topic, kafka.state_topic]
        delete_topics(kafka.bootstrap_servers, names)

    def leave(self) -> None:
        """Close the consumers, but keep the topics."""
        self._offsets_consumer.close()
        self._progress_consumer.close()


def _once_brokers_know(ask: Callable[[], T]) -> T:
    """Retry while the brokers do not know the leader or coordinator yet."""
    deadline = time.monotonic() + COORDINATOR_TIMEOUT_S
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in LEADER_UNKNOWN or time.monotonic() > deadline:
                raise
        time.sleep(0.05)


@contextlib.contextmanager
def stage(
    bootstrap_servers: str,
    partitions: int,
    rules: Rules,
    input_config: Mapping[str, str] | None = None,
    /,
    **by_viewer: int,
) -> Iterator[Stage]:
    """Topics of a worker, deleted at the end; with sessions settings the windows count by viewer."""
    made = Stage(bootstrap_servers, partitions, rules, by_viewer, input_config=input_config)
    try:
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def running(settings: Settings, clocks: Clocks | None = None) -> Iterator[Service]:
    """Run a service in a thread; stop it at the end, and raise the error that ended it earlier."""
    service, stop = Service(settings, clocks), StopRequest()
    failures: list[Exception] = []
    thread = threading.Thread(target=_run, args=(service, stop, failures), name="service")
    thread.start()
    try:
        yield service
    finally:
        stop.set()
        thread.join(STOP_TIMEOUT_S)
        if failures:
            raise failures[0]
        assert not thread.is_alive(), f"the service did not stop within {STOP_TIMEOUT_S:.0f} s"


def _run(service: Service, stop: StopRequest, failures: list[Exception]) -> None:
    try:
        service.run(stop)
    except Exception as error:  # noqa: BLE001  # raised in the thread that started the service
        failures.append(error)


def counted(service: Service, name: str, **labels: str) -> float:
    """Return a value of the service's metrics; 0 if there is no such series."""
    return service.metrics.registry.get_sample_value(f"viewer_consumer_{name}", labels) or 0.0
