import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from consumer.errors import UsageError, ViewerConsumerError
from consumer.kafka.topics import TopicReport, check_topics
from consumer.settings import KafkaSettings
from tests.support.topics import create_topic, delete_topics, unique


@pytest.fixture
def topics(bootstrap_servers: str) -> Iterator[KafkaSettings]:
    """Three names of topics that aren't there."""
    kafka = KafkaSettings(
        bootstrap_servers=bootstrap_servers,
        input_topic=unique("input"),
        output_topic=unique("output"),
        dead_letter_topic=unique("dead"),
    )
    yield kafka
    delete_topics(bootstrap_servers, [kafka.input_topic, kafka.output_topic, kafka.dead_letter_topic])


def test_ours_are_created_with_as_many_partitions_as_the_input_and_found_again(topics: KafkaSettings) -> None:
    create_topic(topics.bootstrap_servers, topics.input_topic, 3)
    assert check_topics(topics).topics == (
        TopicReport("input", topics.input_topic, 3, created=False),
        TopicReport("output", topics.output_topic, 3, created=True),
        TopicReport("dead letter", topics.dead_letter_topic, 3, created=True),
    )
    again = check_topics(topics)
    assert again.input_partitions == 3
    assert [report.created for report in again.topics] == [False, False, False]


def test_a_missing_input_is_not_created_but_named_with_the_cluster(topics: KafkaSettings) -> None:
    with pytest.raises(ViewerConsumerError) as missing:
        check_topics(topics)
    assert f'"{topics.input_topic}" does not exist on {topics.bootstrap_servers}' in str(missing.value)
    assert "\n" not in str(missing.value)


def test_without_leave_to_create_each_missing_topic_is_a_line_with_the_command(topics: KafkaSettings) -> None:
    create_topic(topics.bootstrap_servers, topics.input_topic, 2)
    with pytest.raises(ViewerConsumerError) as missing:
        check_topics(topics.model_copy(update={"create_topics": False}))
    output, dead = str(missing.value).splitlines()
    assert output.startswith(f'output topic "{topics.output_topic}" does not exist')
    assert output.endswith(f"--create --topic {topics.output_topic} --partitions 2")
    assert dead.startswith(f'dead letter topic "{topics.dead_letter_topic}" does not exist')


def test_another_partition_count_is_refused_with_both_counts(topics: KafkaSettings) -> None:
    create_topic(topics.bootstrap_servers, topics.input_topic, 2)
    create_topic(topics.bootstrap_servers, topics.output_topic, 1)
    with pytest.raises(ViewerConsumerError) as differs:
        check_topics(topics)
    assert f'output topic "{topics.output_topic}" has 1 partition, but input topic' in str(differs.value)
    assert str(differs.value).count("\n") == 0


def refusing_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_wrong_address_is_one_line_with_the_reason_and_soon() -> None:
    port = refusing_port()
    began = time.monotonic()
    with pytest.raises(ViewerConsumerError) as unreachable:
        check_topics(KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}"), answer_within_s=1.0)
    assert time.monotonic() - began < 6.0
    assert str(unreachable.value).startswith(f"can't reach Kafka on 127.0.0.1:{port}: ")
    assert "Connection refused" in str(unreachable.value)
    assert "\n" not in str(unreachable.value)


def test_something_that_does_not_speak_kafka_is_one_line_too() -> None:
    with silent_port() as port, pytest.raises(ViewerConsumerError, match=f"can't reach Kafka on 127.0.0.1:{port}: "):
        check_topics(KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}"), answer_within_s=1.0)


def test_a_login_the_broker_does_not_know_is_said_to_be_one(bootstrap_servers: str) -> None:
    client: dict[str, str | int | float | bool] = {
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "someone",
        "sasl.password": "hush-hush",
    }
    with pytest.raises(ViewerConsumerError) as refused:
        check_topics(KafkaSettings(bootstrap_servers=bootstrap_servers, client=client), answer_within_s=1.0)
    assert "check the user, its password and its permissions" in str(refused.value)
    assert "hush-hush" not in str(refused.value)


def test_a_key_that_librdkafka_does_not_know_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r'"sockte[.]timeout[.]ms"'):
        check_topics(KafkaSettings(client={"sockte.timeout.ms": 1}))
