"""Query and create topics, and query the group, before the worker starts: one deadline for all, errors that say why."""

import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import NamedTuple, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigEntry, ConfigResource
from confluent_kafka.admin._metadata import ClusterMetadata
from confluent_kafka.admin._topic import TopicDescription
from confluent_kafka.cimpl import NewPartitions, NewTopic

from consumer.kafka.clients import ACCESS_DENIED, TOO_OLD, LastClientError, answer_of, explain, kafka_error, make_admin
from consumer.kafka.config import admin_config
from consumer.kafka.deadline import Deadline
from consumer.kafka.retries import call_until
from consumer.kafka.timeouts import TIMEOUTS, Timeouts
from consumer.kafka.topic_watch import NO_TOPIC_ID
from consumer.settings.model import KafkaSettings

_POLL_S = 0.1
_ANSWER_MARGIN_S = 1.0
_NOT_YET = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.LEADER_NOT_AVAILABLE})
"""A topic that was created a moment ago has no leader yet, and not every broker knows it."""

_log = logging.getLogger(__name__)

Answer = TypeVar("Answer")


class ClusterIdentity(NamedTuple):
    """Ids of a topic and its cluster; empty where the cluster does not report them."""

    cluster_id: str
    topic_id: str
    """Changes when the topic is deleted and created again."""


class Cluster:
    """Describes topics and creates them.

    Raises:
        UsageError: librdkafka doesn't take `kafka.client`.
    """

    def __init__(self, kafka: KafkaSettings, timeouts: Timeouts = TIMEOUTS) -> None:
        self._servers = kafka.bootstrap_servers
        self._deadline = Deadline.after(timeouts.cluster_s)
        self._last_error = LastClientError()
        self._admin: AdminClient = make_admin(admin_config(kafka), self._last_error)

    def partitions(self, topic: str) -> int | None:
        """The number of partitions of a topic; None if it does not exist.

        Raises:
            ViewerConsumerError: the cluster doesn't answer in time, or refuses.
        """

        def ask() -> int | None:
            found = self._look_up(topic).topics[topic]
            if found.error is None:
                return len(found.partitions)
            if found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return None
            raise KafkaException(found.error)

        try:
            return call_until(self._deadline, ask, self._pause, _is_retriable)
        except KafkaException as error:
            raise explain(f'can\'t look up topic "{topic}"', self._servers, kafka_error(error)) from None

    def identity(self, topic: str) -> ClusterIdentity:
        """The ids that distinguish a topic from a later one of the same name.

        Raises:
            ViewerConsumerError: the cluster doesn't answer in time, or the topic is gone.
        """
        cluster_id = self._look_up(topic).cluster_id or ""
        described = self._asked(topic, "id", lambda: self._describe(topic))
        topic_id = NO_TOPIC_ID if described is None else described.topic_id
        return ClusterIdentity(cluster_id, "" if topic_id == NO_TOPIC_ID else str(topic_id))

    def config(self, topic: str) -> Mapping[str, str] | None:
        """A topic's effective configuration; None where the cluster does not report it.

        Raises:
            ViewerConsumerError: the cluster doesn't answer in time, or the topic is gone.
        """
        entries = self._asked(topic, "configuration", lambda: self._describe_config(topic))
        if entries is None:
            return None
        return {key: entry.value for key, entry in entries.items() if entry.value is not None}

    def group_config(self, group: str) -> Mapping[str, str]:
        """A group's effective configuration; empty where the cluster does not report it, for whatever reason."""
        try:
            entries = answer_of(self._config_of(ConfigResource(ConfigResource.Type.GROUP, group)), self._answer_s())
        except (KafkaException, TimeoutError) as error:
            reason = kafka_error(error).str()
            _log.info("the cluster does not report the configuration of group %s: %s", group, reason)
            return {}
        return {key: entry.value for key, entry in entries.items() if entry.value is not None}

    def create(self, topics: Mapping[str, Mapping[str, str]], partitions: int) -> Mapping[str, int | None]:
        """Create topics and wait until they are visible; topics that exist by then are accepted.

        Returns their numbers of partitions, None for one that was not visible in time.

        Args:
            topics: configurations, by name.
            partitions: of each.

        Raises:
            ViewerConsumerError: the cluster doesn't answer in time, or refuses.
        """
        wanted = [
            NewTopic(name, num_partitions=partitions, replication_factor=-1, config=dict(config))
            for name, config in topics.items()
        ]
        futures = self._admin.create_topics(wanted, operation_timeout=self._deadline.left_s())
        for name, future in futures.items():
            try:
                answer_of(future, self._answer_s())
            except (KafkaException, TimeoutError) as error:
                if kafka_error(error).code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise explain(f'can\'t create topic "{name}"', self._servers, kafka_error(error)) from None
        return {name: self._partitions_once_seen(name) for name in topics}

    def grow(self, topics: Iterable[str], partitions: int) -> None:
        """Give topics more partitions; one that has as many by then is accepted.

        Raises:
            ViewerConsumerError: the cluster doesn't answer in time, or refuses.
        """
        wanted = [NewPartitions(name, partitions) for name in topics]
        futures = self._admin.create_partitions(wanted, operation_timeout=self._deadline.left_s())
        for name, future in futures.items():
            try:
                answer_of(future, self._answer_s())
            except (KafkaException, TimeoutError) as error:
                if kafka_error(error).code() != KafkaError.INVALID_PARTITIONS:
                    doing = f'can\'t give topic "{name}" {partitions} partitions'
                    raise explain(doing, self._servers, kafka_error(error)) from None

    def _partitions_once_seen(self, topic: str) -> int | None:
        while (found := self.partitions(topic)) is None and not self._deadline.passed:
            self._admin.poll(_POLL_S)
        return found

    def _look_up(self, topic: str) -> ClusterMetadata:
        try:
            return self._admin.list_topics(topic, timeout=self._patience_s())
        except KafkaException as error:
            self._admin.poll(0)  # serves error callbacks
            silence = self._last_error.reason_of_silence()
            raise explain("can't reach Kafka", self._servers, kafka_error(error), silence) from None

    def _describe(self, topic: str) -> Future[TopicDescription]:
        topics = TopicCollection([topic])
        return self._admin.describe_topics(topics, request_timeout=self._patience_s())[topic]

    def _describe_config(self, topic: str) -> Future[Mapping[str, ConfigEntry]]:
        return self._config_of(ConfigResource(ConfigResource.Type.TOPIC, topic))

    def _config_of(self, resource: ConfigResource) -> Future[Mapping[str, ConfigEntry]]:
        return self._admin.describe_configs([resource], request_timeout=self._patience_s())[resource]

    def _asked(self, topic: str, what: str, ask: Callable[[], Future[Answer]]) -> Answer | None:
        """Run a query that a cluster may not support or allow; None if it does not."""
        metadata = self._look_up(topic)
        if metadata.controller_id not in metadata.brokers:
            # The client library's mock cluster has none: such requests would wait until they time out.
            _log.debug("the cluster names no controller to ask for the %s of topic %s", what, topic)
            return None
        try:
            return call_until(self._deadline, lambda: answer_of(ask(), self._answer_s()), self._pause, _is_retriable)
        except KafkaException as error:
            reason = kafka_error(error)
        if reason.code() in ACCESS_DENIED | TOO_OLD:
            _log.debug("the cluster does not report the %s of topic %s: %s", what, topic, reason.str())
            return None
        raise explain(f'can\'t look up the {what} of topic "{topic}"', self._servers, reason)

    def _pause(self) -> None:
        self._admin.poll(min(_POLL_S, self._deadline.left_s()))

    def _patience_s(self) -> float:
        return max(_POLL_S, self._deadline.left_s())

    def _answer_s(self) -> float:
        """How long to wait for a future: the client library's own time-out comes first, with a better reason."""
        return self._patience_s() + _ANSWER_MARGIN_S


def _is_retriable(error: KafkaError) -> bool:
    return error.retriable() or error.code() in _NOT_YET
