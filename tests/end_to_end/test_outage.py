"""A broker that stops answering, or is killed and comes back: the worker is alive, says so, and continues soon."""

import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
from confluent_kafka import KafkaException, Producer

from consumer.worker.service import Service
from tests.end_to_end.events import encoded
from tests.end_to_end.stage import Record, Stage, running
from tests.reference.events_counting import Event, Rules
from tests.support.broker import KafkaBroker, kafka_jars
from tests.support.topics import unique
from tests.support.waiting import until

pytestmark = pytest.mark.slow

RULES = Rules(window_duration_ms=5_000, bucket_ms=1_000, grace_ms=0)
PARTITIONS = 2
HANGS_S = 120.0
"""Longer than a worker waits for one call, a transaction lives, and the session of a member."""

DOWN_S = 15.0
"""A coordinator that is down for longer than a session still has the old member when it is back, and waits for it."""

UNREADY_WITHIN_S = 15.0
COMMIT_WITHIN_S = 10.0
"""After a transaction of another producer went through."""


class Seen(NamedTuple):
    """What a probe was answered, so many seconds after the broker went away."""

    at_s: float
    alive: int
    ready: int
    reason: str


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  # of the service under test
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Probes:
    """Asks for health twice a second from a thread of its own."""

    def __init__(self, service: Service) -> None:
        self.seen: list[Seen] = []
        self._service = service
        self._began_s = time.monotonic()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Probes":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(0.5):
            alive, _ = get(f"{self._service.address}/healthz")
            ready, reason = get(f"{self._service.address}/readyz")
            at_s = time.monotonic() - self._began_s
            self.seen.append(Seen(at_s, alive, ready, reason))

    def unready_after_s(self) -> float:
        return next((each.at_s for each in self.seen if each.ready == 503), float("inf"))


@pytest.fixture
def broker(bootstrap_servers: str) -> Iterator[KafkaBroker]:
    """One of its own, since it is hurt; the session's says whether there can be one."""
    del bootstrap_servers
    with KafkaBroker(kafka_jars()) as broker:
        yield broker


@contextmanager
def at_work(broker: KafkaBroker) -> Iterator[tuple[Stage, Service]]:
    """A worker that has committed what there is."""
    kafka = Stage(broker.bootstrap_servers, PARTITIONS, RULES)
    settings = kafka.settings()
    # A member without a name that outlives its session comes back as another one, and the group waits for the first.
    named = settings.kafka.model_copy(update={"client": {"group.instance.id": "one"}})
    with running(settings.model_copy(update={"kafka": named})) as service:
        kafka.write(record(bucket) for bucket in range(3))
        kafka.wait_until_all_is_committed()
        yield kafka, service
    kafka.leave()


def record(bucket: int) -> Record:
    return Record(None, encoded(Event("s", "J", bucket * 1_000 + 1)), 0, bucket % PARTITIONS)


def wait_until_a_transaction_goes_through(kafka: Stage) -> None:
    """One record of another producer, as soon as the broker takes it."""

    def goes_through() -> bool:
        producer = Producer(
            {"bootstrap.servers": kafka.kafka.bootstrap_servers, "transactional.id": unique("probe"), "log_level": 0}
        )
        try:
            producer.init_transactions(5)
            producer.begin_transaction()
            producer.produce(kafka.kafka.dead_letter_topic, b"probe")
            producer.commit_transaction(5)
        except KafkaException:
            return False
        return True

    until(goes_through, "a transaction goes through", 60.0)


def hurt(broker: KafkaBroker, away: Callable[[], None], away_s: float, back: Callable[[], None]) -> None:
    with at_work(broker) as (kafka, service):
        kafka.write(record(bucket) for bucket in range(3, 6))
        away()
        with Probes(service) as probes:
            until(lambda: bool(probes.seen) and probes.seen[-1].at_s >= away_s, "the outage is over", 2 * away_s)
            assert service.board.latest().partitions == () or get_lags(service) == [], "no end is known"
            back()
            wait_until_a_transaction_goes_through(kafka)
            went_through_s = time.monotonic()
            kafka.write(record(bucket) for bucket in range(6, 9))
            kafka.wait_until_all_is_committed(60.0)
            committed_s = time.monotonic() - went_through_s
            until(lambda: probes.seen[-1].ready == 200, "it is ready again", 30.0)
        seen = probes.seen
        summaries = kafka.summaries()
    assert {each.alive for each in seen} == {200}
    assert probes.unready_after_s() <= UNREADY_WITHIN_S
    meanwhile = [each for each in seen if UNREADY_WITHIN_S <= each.at_s < away_s]
    assert {each.ready for each in meanwhile} <= {503}
    unnamed = {
        (round(each.at_s), each.reason)
        for each in meanwhile
        if not re.search("Kafka does not answer|waits for Kafka", each.reason)
    }
    assert unnamed == set()
    assert committed_s <= COMMIT_WITHIN_S
    buckets = sorted(each["bucket_start_ms"] for each in summaries)
    assert buckets == sorted(set(buckets)), "each once"
    assert len(buckets) == 9 - PARTITIONS


def get_lags(service: Service) -> list[str]:
    _, text = get(f"{service.address}/metrics")
    return [line for line in text.splitlines() if line.startswith("viewer_consumer_lag_records{")]


def test_a_broker_that_hangs_for_long(broker: KafkaBroker) -> None:
    hurt(broker, broker.freeze, HANGS_S, broker.thaw)


def test_a_broker_that_is_killed_and_comes_back(broker: KafkaBroker) -> None:
    hurt(broker, broker.kill, DOWN_S, broker.start_again)
