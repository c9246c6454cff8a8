"""A broker in this process for demonstrations: librdkafka's mock cluster, reachable over TCP.

It keeps topics in memory and trims them, does not store transactional offsets, and does not hide aborted records. It
shows the worker at work; it does not prove exactly-once.
"""

from collections.abc import Iterable

from confluent_kafka import KafkaError, KafkaException, Producer

from consumer.errors import ViewerConsumerError
from consumer.kafka.clients import LOGGER, LastClientError, explain, kafka_error, make_producer
from consumer.kafka.config import ClientConfig
from consumer.kafka.deadline import Deadline
from consumer.kafka.mock_cluster import MockCluster
from consumer.kafka.timeouts import TIMEOUTS

EMBEDDED_PARTITIONS = 4
"""Partitions of every topic: the mock cluster's default, so that demonstrations are the same everywhere."""

_ROOM_POLL_S = 0.05
_SERVE_EVERY = 1_000


class EmbeddedBroker:
    """One broker for the time of a `with` block, with the given topics."""

    def __init__(self, topics: Iterable[str]) -> None:
        self._topics = tuple(topics)
        self._cluster: MockCluster | None = None
        self._client: Producer | None = None
        self.bootstrap_servers = ""
        """The bootstrap address, inside the `with` block."""

    def __enter__(self) -> "EmbeddedBroker":
        try:
            self._cluster = MockCluster()
        except OSError:
            self._start_by_the_binding()
        else:
            self._start(self._cluster)
        return self

    def __exit__(self, *_: object) -> None:
        if self._cluster is not None:
            self._cluster.close()
        self._cluster = self._client = None

    def _start(self, cluster: MockCluster) -> None:
        for topic in self._topics:
            cluster.create_topic(topic, EMBEDDED_PARTITIONS)
        self.bootstrap_servers = cluster.bootstrap_servers

    def _start_by_the_binding(self) -> None:
        """The same without the C functions; a group's first assignment takes three seconds longer."""
        # The cluster lives as long as the client that created it.
        self._client = Producer({"test.mock.num.brokers": 1, "log_level": 2, "logger": LOGGER})
        for topic in self._topics:
            self._client.list_topics(topic, timeout=TIMEOUTS.embedded_s)  # a metadata request creates the topic
        brokers = self._client.list_topics(timeout=TIMEOUTS.embedded_s).brokers.values()
        self.bootstrap_servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)


class EventProducer:
    """Writes events to a topic without transactions, as their producers do; for simulations.

    Args:
        config: from `plain_producer_config`.
        topic: the topic to write to.

    Raises:
        UsageError: librdkafka doesn't take the configuration.
    """

    def __init__(self, config: ClientConfig, topic: str) -> None:
        self._servers = str(config["bootstrap.servers"])
        self._topic = topic
        self._last_error = LastClientError()
        self._producer = make_producer(config, self._last_error, self._on_delivery)
        self._since_served = 0
        self.failed = 0
        """Number of events that could not be written."""
        self._failure: KafkaError | None = None

    def produce(self, events: Iterable[tuple[bytes, bytes, int]], room_within_s: float = 30.0) -> None:
        """Queue events as (key, value, timestamp in ms); waits while the queue is full.

        Raises:
            ViewerConsumerError: no broker accepted records in time, or one refused.
        """
        for key, value, timestamp_ms in events:
            self._put(key, value, timestamp_ms, room_within_s)
            self._since_served += 1
            if self._since_served == _SERVE_EVERY:
                self._since_served = 0
                self._producer.poll(0)

    def flush(self, within_s: float = 30.0) -> int:
        """Wait until all are written; return the number still queued after the time-out.

        Raises:
            ViewerConsumerError: some could not be written.
        """
        waiting = self._producer.flush(within_s)
        if self._failure is not None:
            raise explain(
                f'{self.failed} events were not written to topic "{self._topic}"', self._servers, self._failure
            )
        return waiting

    def _put(self, key: bytes, value: bytes, timestamp_ms: int, room_within_s: float) -> None:
        deadline: Deadline | None = None
        while True:
            try:
                return self._producer.produce(self._topic, value, key, timestamp=timestamp_ms)
            except BufferError:
                deadline = deadline or Deadline.after(room_within_s)
                if deadline.passed:
                    full = KafkaError(KafkaError._QUEUE_FULL)  # noqa: SLF001  # the library's name
                    raise self._unwritten(self._last_error.error() or full) from None
                self._producer.poll(_ROOM_POLL_S)
            except KafkaException as error:
                raise self._unwritten(kafka_error(error)) from None

    def _unwritten(self, error: KafkaError) -> ViewerConsumerError:
        return explain(f'can\'t write to topic "{self._topic}"', self._servers, error, self._last_error.error())

    def _on_delivery(self, error: KafkaError | None, _message: object) -> None:
        if error is not None:
            self.failed += 1
            self._failure = self._failure or error
