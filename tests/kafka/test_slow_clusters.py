"""Clusters whose brokers do not have the same metadata yet, or answer slowly."""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, cast

import pytest
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, TopicPartition

from consumer.errors import ViewerConsumerError
from consumer.kafka.admin import topics
from consumer.kafka.admin.cluster import ClusterIdentity
from consumer.kafka.clients import LastClientError
from consumer.kafka.look_up import BoundsLookUp, Clients, Topics
from consumer.kafka.protocols import Bounds
from consumer.kafka.timeouts import TIMEOUTS
from consumer.settings.model import KafkaSettings
from tests.support.waiting import until

PARTITIONS = 4


class ForgetfulCluster:
    """Another process has created the dead-letter topic; every second broker does not know new topics yet."""

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


def test_a_topic_that_one_broker_knows_exists_whatever_the_next_broker_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "Cluster", ForgetfulCluster)
    layout = topics.check_topics(KafkaSettings())
    assert {topic.role: topic.created for topic in layout.topics} == {
        "input": False,
        "output": True,
        "dead letter": False,
        "state": True,
    }
    assert {topic.partitions for topic in layout.topics} == {PARTITIONS}


class Leaderless:
    """Clients of a cluster in which partition 1 has no leader until a test gives it one."""

    timeouts = TIMEOUTS._replace(retry_pause_s=0.01)

    def __init__(self) -> None:
        self.has_leader = threading.Event()
        self.has_coordinator = threading.Event()
        self.has_coordinator.set()

    def find_leaders(self, _topics: Topics) -> int | None:
        return 2

    def committed(self, _topic: str, partitions: Iterable[int]) -> Mapping[int, int | None]:
        if not self.has_coordinator.is_set():
            raise KafkaException(KafkaError(KafkaError.NOT_COORDINATOR))
        return dict.fromkeys(partitions, 5)

    def ends(self, _topic: str, partitions: Sequence[int], *, one_by_one: bool) -> Mapping[int, int | KafkaError]:
        if len(partitions) > 1 and not one_by_one and not self.has_leader.is_set():
            return dict.fromkeys(partitions, KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
        missing = KafkaError(KafkaError.LEADER_NOT_AVAILABLE)
        return {each: missing if each == 1 and not self.has_leader.is_set() else 70 for each in partitions}

    def watermarks(self, _topic: str, _partition: int) -> tuple[int, int]:
        return 3, 9

    def explained(self, doing: str, error: KafkaError) -> Exception:
        return ViewerConsumerError(f"{doing}: {error.str()}")


TOPICS = Topics(KafkaSettings(bootstrap_servers="broker:9092", input_topic="events", state_topic="state"))


@pytest.fixture
def clients() -> Leaderless:
    return Leaderless()


@pytest.fixture
def look_up(clients: Any) -> Iterator[BoundsLookUp]:
    closed = threading.Event()
    made = BoundsLookUp([0, 1], TOPICS, clients, closed, lambda: None)
    thread = threading.Thread(target=made.run)
    thread.start()
    yield made
    closed.set()
    thread.join()


def test_a_partition_without_a_leader_delays_no_other_and_is_asked_for_until_it_has_one(
    look_up: BoundsLookUp, clients: Leaderless
) -> None:
    until(lambda: look_up.bounds(0) == Bounds(5, 70, 3, 9), "partition 0 is known")
    until(lambda: look_up.reason(1) != "", "a reason is given")
    assert look_up.bounds(1) is None
    assert "leader" in look_up.reason(1).lower()
    clients.has_leader.set()
    until(lambda: look_up.bounds(1) == Bounds(5, 70, 3, 9), "partition 1 is known")


def test_a_refusal_ends_the_look_up() -> None:
    clients: Any = Leaderless()
    clients.ends = lambda _topic, partitions, **_: dict.fromkeys(
        partitions, KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    )
    made = BoundsLookUp([0], TOPICS, clients, threading.Event(), lambda: None)
    made.run()
    with pytest.raises(ViewerConsumerError, match="can't look up where a restore begins"):
        made.bounds(0)


def test_a_state_topic_with_too_few_partitions_is_reported_with_the_command_and_grown_if_allowed() -> None:
    clients: Any = Leaderless()
    closed = threading.Event()
    clients.ends = lambda _topic, partitions, **_: dict.fromkeys(
        partitions, KafkaError(KafkaError.LEADER_NOT_AVAILABLE)
    )
    made = BoundsLookUp([7], TOPICS, clients, closed, closed.set)
    made.run()
    assert made.reason(7) == (
        'state topic "state" has no partition 7: set kafka.create_topics = true, or run kafka-topics.sh '
        "--bootstrap-server broker:9092 --alter --topic state --partitions 8"
    )


class Answered(NamedTuple):
    offset: int


class HalfAnAnswer:
    """The answer of the client library if the leader of partition 1 is down and the other leader is up."""

    def list_offsets(self, wanted: Iterable[TopicPartition], **_: object) -> dict[TopicPartition, Future[Answered]]:
        answers: dict[TopicPartition, Future[Answered]] = {place: Future() for place in wanted}
        for place, future in answers.items():
            if place.partition == 2:
                future.set_exception(TimeoutError())
            else:
                future.set_result(Answered(OFFSET_INVALID if place.partition == 1 else 70))
        return answers


def test_state_with_an_unknown_end_is_not_empty() -> None:
    admin: Any = HalfAnAnswer()
    clients = Clients(cast("Consumer", None), admin, "broker:9092", LastClientError(), TIMEOUTS)
    ends = clients.ends("state", [0, 1, 2], one_by_one=False)
    assert ends[0] == 70
    assert [cast("KafkaError", ends[each]).name() for each in (1, 2)] == ["LEADER_NOT_AVAILABLE", "_TIMED_OUT"]
