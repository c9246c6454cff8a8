"""Notice while the worker runs that the input topic was deleted and created again: its id is another one then."""

import time
from concurrent.futures import Future

from confluent_kafka import KafkaException, TopicCollection, Uuid
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._topic import TopicDescription

from consumer.kafka.clients import LastClientError, make_admin
from consumer.kafka.config import ClientConfig
from consumer.kafka.deadline import Clock
from consumer.kafka.timeouts import TIMEOUTS

ASK_EVERY_S = 1.0
"""As long records of the new topic may be counted: the client library fetches them by the old offsets."""

NO_TOPIC_ID = Uuid(0, 0)
"""The id in answers of brokers that have no topic ids."""


class TopicWatch:
    """Asks for the id of a topic now and then; no call waits.

    Args:
        config: from `admin_config`.
        topic: the input topic.
        topic_id: its id at the start; empty if the cluster does not report one, and then nothing is asked.
        every_s: how often it is asked for.
        clock: monotonic seconds.

    Raises:
        UsageError: librdkafka doesn't take the configuration.
    """

    def __init__(
        self,
        config: ClientConfig,
        topic: str,
        topic_id: str,
        every_s: float = ASK_EVERY_S,
        clock: Clock = time.monotonic,
    ) -> None:
        self._topic = topic
        self._topic_id = topic_id
        self._every_s = every_s
        self._clock = clock
        self._next_s = clock() + every_s
        self._admin: AdminClient | None = make_admin(config, LastClientError()) if topic_id else None
        self._answer: Future[TopicDescription] | None = None

    def topic_id(self) -> str:
        """The newest known id; call once per turn of the loop."""
        if self._answer is not None and self._answer.done():
            self._topic_id = _id_of(self._answer) or self._topic_id
            self._answer = None
        elif self._answer is not None and self._clock() >= self._next_s + TIMEOUTS.call_s:
            self._answer = None  # the client library may try longer than its time-out
        if self._admin is not None and self._answer is None and self._clock() >= self._next_s:
            self._next_s = self._clock() + self._every_s
            self._admin.poll(0)  # what it reports piles up otherwise
            topics = TopicCollection([self._topic])
            asked = self._admin.describe_topics(topics, request_timeout=TIMEOUTS.call_s)
            self._answer = asked[self._topic]
        return self._topic_id


def _id_of(answer: Future[TopicDescription]) -> str:
    """The id in an answer; empty if there is none, as while the topic does not exist."""
    try:
        found = answer.result(0)
    except (KafkaException, TimeoutError):
        return ""
    return "" if found.topic_id == NO_TOPIC_ID else str(found.topic_id)
