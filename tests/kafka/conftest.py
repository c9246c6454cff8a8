"""Fixtures with which the contract suites run on the fake and on real Kafka."""

from collections.abc import Iterator

import pytest

from tests.kafka.stage import FakeStage, KafkaStage, Stage


@pytest.fixture
def kafka_stage(bootstrap_servers: str) -> Iterator[KafkaStage]:
    stage = KafkaStage(bootstrap_servers)
    yield stage
    stage.close()


@pytest.fixture(params=["fake", "kafka"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    if request.param == "fake":
        yield FakeStage()
    else:
        yield request.getfixturevalue("kafka_stage")
