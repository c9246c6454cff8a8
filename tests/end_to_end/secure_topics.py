"""A worker's topics on a broker that asks who one is, and the error of a worker that it keeps out."""

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin._acl import AclOperation
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.cimpl import NewTopic

from consumer.errors import ViewerConsumerError
from consumer.kafka.timeouts import TIMEOUTS, Timeouts
from consumer.runtime.signals import StopRequest
from consumer.settings.model import HttpSettings, KafkaSettings, Settings, WindowSettings
from consumer.worker.service import Service
from tests.end_to_end.events import encoded
from tests.end_to_end.stage import INPUT, STOP_TIMEOUT_S, running
from tests.reference.events_counting import Event
from tests.support.broker import NoBrokerError
from tests.support.secure_broker import Acl, SecureBroker
from tests.support.topics import unique
from tests.support.waiting import until

WINDOWS = WindowSettings(window_duration_ms=5_000, bucket_ms=1_000, grace_ms=0)
REPORT_TIMEOUT_S = 60.0
SHORT = TIMEOUTS._replace(cluster_s=2.0)
"""For a client that never gets in: the error is reported once this time is up."""


class Topics:
    """Topics of one worker, created by an administrator, with an event and an invalid record in the input."""

    def __init__(self, secure: SecureBroker) -> None:
        self._secure = secure
        self.kafka = KafkaSettings(
            bootstrap_servers=secure.bootstrap_servers,
            group_id=unique("group"),
            input_topic=unique("events"),
            output_topic=unique("summaries"),
            state_topic=unique("state"),
            dead_letter_topic=unique("dead-letters"),
            create_topics=False,
        )
        kafka = self.kafka
        names = {kafka.input_topic: "delete", kafka.output_topic: "delete", kafka.dead_letter_topic: "delete"}
        made = [
            NewTopic(name, num_partitions=1, replication_factor=1, config={"cleanup.policy": policy})
            for name, policy in {**names, kafka.state_topic: "compact"}.items()
        ]
        for future in secure.admin.create_topics(made).values():
            future.result(15)
        self.write()

    def write(self) -> None:
        """Write events of now, and a record that will be rejected."""
        now_ms = time.time_ns() // 1_000_000 - 10_000
        producer = Producer({"bootstrap.servers": self._secure.bootstrap_servers, **self._secure.admin_client})
        for value in (encoded(Event("s", "J", now_ms)), b"\0\0\0\0", encoded(Event("s", "J", now_ms + 5_000))):
            producer.produce(self.kafka.input_topic, value, b"k")
        assert producer.flush(30) == 0

    def acls(self) -> dict[str, Acl]:
        """All rights that a worker needs if it creates no topics, as documented."""
        kafka, topic = self.kafka, ResourceType.TOPIC
        return {
            "read the input": Acl(topic, kafka.input_topic, AclOperation.READ),
            "write summaries": Acl(topic, kafka.output_topic, AclOperation.WRITE),
            "write dead letters": Acl(topic, kafka.dead_letter_topic, AclOperation.WRITE),
            "read state": Acl(topic, kafka.state_topic, AclOperation.READ),
            "write state": Acl(topic, kafka.state_topic, AclOperation.WRITE),
            "be of the group": Acl(ResourceType.GROUP, kafka.group_id, AclOperation.READ),
            "begin transactions": Acl(
                ResourceType.TRANSACTIONAL_ID, f"{kafka.group_id}-", AclOperation.WRITE, ResourcePatternType.PREFIXED
            ),
        }

    def settings(self, client: dict[str, str], **kafka: Any) -> Settings:
        return Settings(
            kafka=self.kafka.model_copy(update={"client": client, **kafka}),
            input=INPUT,
            windows=WINDOWS,
            http=HttpSettings(host="127.0.0.1", port=0),
        )

    def run_once(self) -> None:
        """Run a worker with all rights, so that there is state for the next one to restore."""
        self._secure.grant_only(list(self.acls().values()))
        with running(self.settings(self._secure.client())):
            until(lambda: len(self.published(self.kafka.state_topic)) > 0, "state is written")

    def dead_letters(self) -> int:
        """How many were written."""
        return len(self.published(self.kafka.dead_letter_topic))

    def published(self, topic: str) -> list[Message]:
        """Return what is committed in a topic of one partition now."""
        consumer = Consumer(
            {
                "bootstrap.servers": self._secure.bootstrap_servers,
                "group.id": unique("reader"),
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                **self._secure.admin_client,
            }
        )
        try:
            consumer.assign([TopicPartition(topic, 0, 0)])
            return consumer.consume(10, 1.0)
        finally:
            consumer.close()


@contextlib.contextmanager
def or_skipped(made: AbstractContextManager[SecureBroker]) -> Iterator[SecureBroker]:
    """A broker, or a test that is skipped where none can be had with its configuration."""
    with contextlib.ExitStack() as stack:
        try:
            broker = stack.enter_context(made)
        except NoBrokerError as reason:
            pytest.skip(f"no real broker with this configuration: {reason}")
        yield broker


def failure(settings: Settings, timeouts: Timeouts = TIMEOUTS) -> str:
    """Return the one-line error with which a worker ended; it must end by itself."""
    stop = StopRequest()
    timer = threading.Timer(REPORT_TIMEOUT_S, stop.set)
    timer.start()
    try:
        with pytest.raises(ViewerConsumerError) as error:
            Service(settings, timeouts=timeouts).run(stop)
    finally:
        timer.cancel()
        timer.join(STOP_TIMEOUT_S)
    assert "\n" not in str(error.value)
    return str(error.value)
