"""Clusters whose brokers don't all know the same yet, or take their time."""

from collections import Counter
from collections.abc import Mapping

import pytest

from consumer.kafka import topics
from consumer.kafka.cluster import ClusterIdentity
from consumer.kafka.config import admin_config, restore_config
from consumer.kafka.deadline import Deadline
from consumer.kafka.restore_reader import KafkaRestoreReader
from consumer.settings import KafkaSettings, Settings

PARTITIONS = 4


class ForgetfulCluster:
    """Another process has made the dead-letter topic; every second broker that is asked has not heard of new topics."""

    def __init__(self, kafka: KafkaSettings, _answer_within_s: float) -> None:
        self._asked: Counter[str] = Counter()
        self._known = {kafka.input_topic}
        self._new = {kafka.dead_letter_topic}

    def partitions(self, topic: str) -> int | None:
        self._asked[topic] += 1
        seen = topic in self._new and self._asked[topic] % 2 == 1
        return PARTITIONS if topic in self._known or seen else None

    def create(self, wanted: Mapping[str, Mapping[str, str]], partitions: int) -> Mapping[str, int | None]:
        self._new.update(wanted)
        return dict.fromkeys(wanted, partitions)

    def identity(self, topic: str) -> ClusterIdentity:
        return ClusterIdentity("cluster", topic)

    def config(self, _topic: str) -> None: ...


def test_a_topic_that_was_seen_is_there_whatever_the_next_broker_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "Cluster", ForgetfulCluster)
    layout = topics.check_topics(KafkaSettings())
    assert {topic.role: topic.created for topic in layout.topics} == {
        "input": False,
        "output": True,
        "dead letter": False,
        "state": True,
    }
    assert {topic.partitions for topic in layout.topics} == {PARTITIONS}


def test_a_question_of_a_restore_that_takes_too_long_is_asked_again() -> None:
    settings = Settings()
    reader = KafkaRestoreReader(restore_config(settings), admin_config(settings.kafka), "events", "state")
    answers = iter([TimeoutError(), None])

    def ask() -> str:
        answer = next(answers)
        if answer is not None:
            raise answer
        return "answered"

    assert reader._asked(Deadline.after(30.0), ask) == "answered"
    reader.close()
