"""What is asked of the cluster before anything runs: topics, under one deadline, with errors that say where and why."""

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._metadata import TopicMetadata
from confluent_kafka.cimpl import NewTopic

from consumer.kafka.clients import LastWords, explain, kafka_error, make_admin
from consumer.kafka.config import admin_config
from consumer.kafka.deadline import Deadline
from consumer.settings import KafkaSettings

ANSWER_WITHIN_S = 8.0
"""How long the cluster may take to answer before its address is taken to be wrong."""

_POLL_S = 0.1


class Cluster:
    """Looks up and creates topics.

    Raises:
        UsageError: librdkafka doesn't take `kafka.client`.
    """

    def __init__(self, kafka: KafkaSettings, answer_within_s: float = ANSWER_WITHIN_S) -> None:
        self._servers = kafka.bootstrap_servers
        self._deadline = Deadline.after(answer_within_s)
        self._last_words = LastWords()
        self._admin: AdminClient = make_admin(admin_config(kafka), self._last_words)

    def partitions(self, topic: str) -> int | None:
        """How many a topic has; None if there is no such topic.

        Raises:
            ViewerConsumerError: the cluster doesn't answer in time, or refuses.
        """
        while True:
            found = self._look_up(topic)
            if found.error is None:
                return len(found.partitions)
            if found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return None
            # A topic that was created a moment ago has no leader yet.
            if not found.error.retriable() and found.error.code() != KafkaError.LEADER_NOT_AVAILABLE:
                raise explain(f'can\'t look up topic "{topic}"', self._servers, found.error)
            if self._deadline.passed:
                raise explain(f'can\'t look up topic "{topic}"', self._servers, found.error)
            self._admin.poll(min(_POLL_S, self._deadline.left_s()))

    def create(self, names: list[str], partitions: int) -> None:
        """Create topics and wait until they are seen; another process may be faster, which is as well.

        Raises:
            ViewerConsumerError: the cluster doesn't answer in time, or refuses.
        """
        topics = [NewTopic(name, num_partitions=partitions, replication_factor=-1) for name in names]
        futures = self._admin.create_topics(topics, operation_timeout=self._deadline.left_s())
        for name, future in futures.items():
            try:
                future.result()
            except KafkaException as error:
                if kafka_error(error).code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise explain(f'can\'t create topic "{name}"', self._servers, kafka_error(error)) from None
        while any(self.partitions(name) is None for name in names) and not self._deadline.passed:
            self._admin.poll(_POLL_S)

    def _look_up(self, topic: str) -> TopicMetadata:
        try:
            return self._admin.list_topics(topic, timeout=max(_POLL_S, self._deadline.left_s())).topics[topic]
        except KafkaException as error:
            self._admin.poll(0)  # serves what the client has to say
            raise explain("can't reach Kafka", self._servers, kafka_error(error), self._last_words.error()) from None
