"""Clusters whose brokers don't all know the same yet, or take their time."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

import pytest
from confluent_kafka import OFFSET_INVALID, KafkaException, TopicPartition

from consumer.kafka.admin import topics
from consumer.kafka.admin.cluster import ClusterIdentity
from consumer.kafka.config import admin_config, restore_config
from consumer.kafka.deadline import Deadline
from consumer.kafka.restore_reader import KafkaRestoreReader
from consumer.settings.model import KafkaSettings, Settings

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


@pytest.fixture
def reader() -> Iterator[KafkaRestoreReader]:
    settings = Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    made = KafkaRestoreReader(restore_config(settings), admin_config(settings.kafka), "events", "state")
    yield made
    made.close()


class Answered(NamedTuple):
    offset: int


class HalfAnAnswer:
    """As the client library gives it where the leader of partition 1 is down and another's is not."""

    def list_offsets(self, wanted: Iterable[TopicPartition], **_: object) -> dict[TopicPartition, Future[Answered]]:
        answers: dict[TopicPartition, Future[Answered]] = {place: Future() for place in wanted}
        for place, future in answers.items():
            future.set_result(Answered(OFFSET_INVALID if place.partition == 1 else 70))
        return answers


def test_a_state_is_not_empty_because_its_end_is_not_known(reader: KafkaRestoreReader) -> None:
    made: Any = reader
    made._admin = HalfAnAnswer()
    assert made._state_ends([0, 2]) == {0: 70, 2: 70}
    with pytest.raises(KafkaException, match="LEADER_NOT_AVAILABLE"):
        made._state_ends([0, 1])


def test_a_question_of_a_restore_that_takes_too_long_is_asked_again_of_others(
    reader: KafkaRestoreReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([TimeoutError(), None])
    heard: list[str] = []
    monkeypatch.setattr(reader, "_find_leaders", lambda: heard.append("leaders are looked up"))

    def ask() -> str:
        heard.append("asked")
        answer = next(answers)
        if answer is not None:
            raise answer
        return "answered"

    assert reader._asked(Deadline.after(30.0), ask) == "answered"
    assert heard == ["asked", "leaders are looked up", "asked"]
