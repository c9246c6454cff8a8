"""End offsets as real brokers give them, and what becomes of a question to brokers that are away."""

import ctypes
import logging
import socket
from collections.abc import Iterator

import pytest

from consumer.kafka.config import admin_config
from consumer.kafka.end_offsets import EndOffsets
from consumer.kafka.mock_cluster import MockCluster, find_library
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


def test_brokers_that_are_away_fail_the_question_with_one_line_that_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    query = EndOffsets(admin_config(KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}")), "viewer-events", 0.5)
    for _ in range(2):
        assert query.ask([0, 1])
        assert query.answers() is None
        until(query.failed, "the question fails", within_s=10.0)
    complaints = [record for record in caplog.records if record.name == "consumer.kafka.end_offsets"]
    assert [record.levelno for record in complaints] == [logging.WARNING]
    assert f"can't look up where viewer-events ends on 127.0.0.1:{port}: " in complaints[0].getMessage()
    assert "Connection refused" in complaints[0].getMessage()


class HandClock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_no_call_waits_for_a_broker_that_says_nothing_and_time_alone_fails_the_question() -> None:
    #  0 s          4.9 s        5 s
    #  ask ──────── nothing ──── failed, another may be asked
    clock = HandClock()
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


def test_an_answer_that_nobody_took_in_time_is_none(kafka_stage: KafkaStage) -> None:
    #  0 s       0 s           5 s
    #  ask ───── answered ──── taken: it says nothing of now
    clock = HandClock()
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
    library = find_library()
    if library is None:
        pytest.skip("the binding was built against a librdkafka of the system's")
    cluster = MockCluster(library, brokers=2)
    yield cluster
    cluster.close()


def lead(cluster: MockCluster, topic: str, broker: int) -> None:
    """Have that broker lead the topic's first partition."""
    cluster.functions.rd_kafka_mock_partition_set_leader(
        ctypes.c_void_p(cluster.handle), topic.encode(), ctypes.c_int32(0), ctypes.c_int32(broker)
    )


def take_down(cluster: MockCluster, broker: int) -> None:
    cluster.functions.rd_kafka_mock_broker_set_down(ctypes.c_void_p(cluster.handle), ctypes.c_int32(broker))


def test_behind_a_failure_the_leaders_are_looked_up_anew(two_brokers: MockCluster) -> None:
    #  leader    1 ─────────── 2 ───────────────────
    #  broker 1  up            down
    #  ask       ── answered   ── failed ── answered by 2
    two_brokers.create_topic("events", 1)
    lead(two_brokers, "events", 1)
    query = EndOffsets(admin_config(KafkaSettings(bootstrap_servers=two_brokers.bootstrap_servers)), "events", 2.0)
    query.ask([0])
    assert answer(query) == {0: 0}
    lead(two_brokers, "events", 2)
    take_down(two_brokers, 1)
    query.ask([0])
    until(lambda: query.answers() is None and query.failed(), "the question fails")

    def is_answered() -> bool:
        query.ask([0])  # does nothing while an answer is awaited
        return query.answers() == {0: 0}

    until(is_answered, "a later question is answered")
