"""Fixtures with which the contract suites run on the fake and on real Kafka."""

from collections.abc import Iterator
from typing import NoReturn

import pytest

from tests.kafka.stage import CLASSIC, CONSUMER, FakeStage, KafkaStage, Stage


@pytest.fixture
def protocol() -> str:
    """Of the group; a test that is parametrized with it runs by another one."""
    return CLASSIC


@pytest.fixture
def kafka_stage(protocol: str, bootstrap_servers: str) -> Iterator[KafkaStage]:
    stage = KafkaStage(bootstrap_servers, protocol)
    yield stage
    stage.close()


@pytest.fixture
def without_c_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers and producers go through the Python binding."""

    def refuse(*_: object) -> NoReturn:
        raise OSError("this librdkafka has no rd_kafka_new")

    monkeypatch.setattr("consumer.kafka.readers.ColumnReader", refuse)
    monkeypatch.setattr("consumer.kafka.producers.CProducer", refuse)


@pytest.fixture(params=["fake", "kafka", "kafka by messages"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    if request.param == "fake":
        yield FakeStage()
    elif request.param == "kafka by the consumer protocol":
        made = KafkaStage(request.getfixturevalue("bootstrap_servers"), CONSUMER)
        yield made
        made.close()
    else:
        if request.param == "kafka by messages":
            request.getfixturevalue("without_c_functions")
        yield request.getfixturevalue("kafka_stage")
