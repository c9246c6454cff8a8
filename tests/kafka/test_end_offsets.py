"""End offsets from real brokers, and queries while brokers are unavailable."""

import ctypes
import logging
import socket
from collections.abc import Iterator
from typing import NoReturn

import pytest

from consumer.errors import ViewerConsumerError
from consumer.kafka.config import admin_config
from consumer.kafka.end_offsets import EndOffsets
from consumer.kafka.mock_cluster import MockCluster
from consumer.settings.model import KafkaSettings
from tests.kafka.stage import KafkaStage
from tests.kafka.test_end_query_contract import answer
from tests.support.topics import ends
from tests.support.waiting import until


def test_records_of_an_open_transaction_count(kafka_stage: KafkaStage) -> None:
    kafka_stage.write(0, b"a")
    open_one = kafka_stage.owner()
    open_one.produce(kafka_stage.topic, None, b"b", partition=0)
    until(
        lambda: ends(kafka_stage.bootstrap_servers, kafka_stage.topic)[0] == 2,
        "the broker has the record of the open transaction",
    )
    query = kafka_stage.end_query()
    query.ask([0])
    assert answer(query) == {0: 2}
    assert ends(kafka_stage.bootstrap_servers, kafka_stage.topic, "read_committed")[0] == 1


def test_a_query_to_unavailable_brokers_fails_with_a_one_line_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    query = EndOffsets(admin_config(KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}")), "viewer-events", 0.5)
    for _ in range(2):
        assert query.ask([0, 1])
        assert query.answers() is None
        until(query.failed, "the query fails", within_s=10.0)
    complaints = [record for record in caplog.records if record.name == "consumer.kafka.end_offsets"]
    assert [record.levelno for record in complaints] == [logging.WARNING]
    assert f"can't look up where viewer-events ends on 127.0.0.1:{port}: " in complaints[0].getMessage()
    assert "Connection refused" in complaints[0].getMessage()


def test_without_a_token_for_another_client_the_reason_is_logged_and_the_old_one_asks_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise ViewerConsumerError("no token from the role")

    query = EndOffsets(admin_config(KafkaSettings(bootstrap_servers="127.0.0.1:1")), "viewer-events", 0.5)
    monkeypatch.setattr("consumer.kafka.end_offsets.make_admin", refuse)
    for _ in range(2):
        assert query.ask([0])
        until(query.failed, "the query fails", within_s=10.0)
    until(lambda: "with another client: no token from the role" in caplog.text, "the reason is logged")


class ManualClock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_query_to_a_silent_broker_never_blocks_and_fails_after_its_time_limit() -> None:
    #  0 s          4.9 s        5 s
    #  query ────── nothing ──── failed, another may start
    clock = ManualClock()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        kafka = KafkaSettings(bootstrap_servers=f"127.0.0.1:{silent.getsockname()[1]}")
        query = EndOffsets(admin_config(kafka), "viewer-events", 5.0, clock)
        assert query.ask([0])
        clock.now_s = 4.9
        assert query.answers() is None
        assert not query.failed()
        assert not query.ask([0])
        clock.now_s = 5.0
        assert query.failed()
        assert query.answers() is None
        assert query.ask([0])


def test_an_answer_that_is_collected_too_late_is_discarded(kafka_stage: KafkaStage) -> None:
    #  0 s       0 s           5 s
    #  query ─── answered ──── collected: no longer up to date
    clock = ManualClock()
    query = EndOffsets(admin_config(kafka_stage.settings().kafka), kafka_stage.topic, 5.0, clock)
    query.ask([0])
    question = query._query
    assert question is not None
    until(lambda: question.answered, "the broker has answered")
    clock.now_s = 5.0
    assert query.answers() is None
    assert query.failed()


@pytest.fixture
def two_brokers() -> Iterator[MockCluster]:
    cluster = MockCluster(brokers=2)
    yield cluster
    cluster.close()


def lead(cluster: MockCluster, topic: str, broker: int) -> None:
    """Make that broker the leader of the topic's first partition."""
    cluster.functions.rd_kafka_mock_partition_set_leader(
        ctypes.c_void_p(cluster.handle), topic.encode(), ctypes.c_int32(0), ctypes.c_int32(broker)
    )


def take_down(cluster: MockCluster, broker: int) -> None:
    cluster.functions.rd_kafka_mock_broker_set_down(ctypes.c_void_p(cluster.handle), ctypes.c_int32(broker))


def test_after_a_failure_the_leaders_are_looked_up_again(two_brokers: MockCluster) -> None:
    #  leader    1 ─────────── 2 ───────────────────
    #  broker 1  up            down
    #  query     ── answered   ── failed ── answered by 2
    two_brokers.create_topic("events", 1)
    lead(two_brokers, "events", 1)
    query = EndOffsets(admin_config(KafkaSettings(bootstrap_servers=two_brokers.bootstrap_servers)), "events", 2.0)
    query.ask([0])
    assert answer(query) == {0: 0}
    lead(two_brokers, "events", 2)
    take_down(two_brokers, 1)
    query.ask([0])
    until(lambda: query.answers() is None and query.failed(), "the query fails")

    def is_answered() -> bool:
        query.ask([0])  # does nothing while an answer is awaited
        return query.answers() == {0: 0}

    until(is_answered, "a later query is answered")
