import contextlib
import socket
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.cimpl import NewPartitions

from consumer.errors import UsageError, ViewerConsumerError
from consumer.kafka.admin.cluster import Cluster
from consumer.kafka.admin.topics import TopicReport, check_topics
from consumer.kafka.timeouts import TIMEOUTS
from consumer.settings.model import KafkaSettings
from tests.support.topics import create_topic, delete_topics, unique
from tests.support.waiting import until


@pytest.fixture
def topics(bootstrap_servers: str) -> Iterator[KafkaSettings]:
    """Four names of topics that do not exist."""
    kafka = KafkaSettings(
        bootstrap_servers=bootstrap_servers,
        input_topic=unique("input"),
        output_topic=unique("output"),
        dead_letter_topic=unique("dead"),
        state_topic=unique("state"),
    )
    yield kafka
    delete_topics(
        bootstrap_servers, [kafka.input_topic, kafka.output_topic, kafka.dead_letter_topic, kafka.state_topic]
    )


def config_of(bootstrap_servers: str, topic: str, *keys: str) -> dict[str, str | None]:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    entries = admin.describe_configs([resource])[resource].result(15)
    return {key: entries[key].value for key in keys}


def test_missing_topics_are_created_with_the_partition_count_of_the_input(topics: KafkaSettings) -> None:
    create_topic(topics.bootstrap_servers, topics.input_topic, 3)
    assert check_topics(topics).topics == (
        TopicReport("input", topics.input_topic, 3, created=False, timestamp_type="CreateTime"),
        TopicReport("output", topics.output_topic, 3, created=True),
        TopicReport("dead letter", topics.dead_letter_topic, 3, created=True),
        TopicReport("state", topics.state_topic, 3, created=True),
    )
    again = check_topics(topics)
    assert {topic.partitions for topic in again.topics} == {3}
    assert [report.created for report in again.topics] == [False] * 4


def test_a_missing_input_is_not_created_but_named_with_the_cluster(topics: KafkaSettings) -> None:
    with pytest.raises(ViewerConsumerError) as missing:
        check_topics(topics)
    assert f'"{topics.input_topic}" does not exist on {topics.bootstrap_servers}' in str(missing.value)
    assert "\n" not in str(missing.value)


def test_if_topics_may_not_be_created_each_missing_topic_is_a_line_with_the_command(topics: KafkaSettings) -> None:
    create_topic(topics.bootstrap_servers, topics.input_topic, 2)
    with pytest.raises(ViewerConsumerError) as missing:
        check_topics(topics.model_copy(update={"create_topics": False}))
    output, dead, state = str(missing.value).splitlines()
    assert output.startswith(f'output topic "{topics.output_topic}" does not exist')
    assert output.endswith(f"--create --topic {topics.output_topic} --partitions 2")
    assert dead.startswith(f'dead letter topic "{topics.dead_letter_topic}" does not exist')
    assert state.startswith(f'state topic "{topics.state_topic}" does not exist')
    assert f"--topic {topics.state_topic} --partitions 2 --config cleanup.policy=compact --config segment." in state


def test_topics_grow_with_the_input_if_topics_may_be_created(topics: KafkaSettings) -> None:
    create_topic(topics.bootstrap_servers, topics.input_topic, 2)
    for name in (topics.output_topic, topics.state_topic):
        create_topic(topics.bootstrap_servers, name, 1, {"cleanup.policy": "compact"})
    assert {topic.partitions for topic in check_topics(topics).topics} == {2}
    until(lambda: {topic.partitions for topic in check_topics(topics).topics} == {2}, "all brokers know the topic")


def test_a_worker_starts_though_its_topics_cannot_grow_now(
    topics: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster refuses it while fewer brokers are up than a partition is to have replicas."""

    def refused(_cluster: Cluster, names: Iterable[str], partitions: int) -> None:
        raise ViewerConsumerError(f"can't give {sorted(names)} {partitions} partitions: only 2 brokers are registered")

    create_topic(topics.bootstrap_servers, topics.input_topic, 2)
    create_topic(topics.bootstrap_servers, topics.state_topic, 1, {"cleanup.policy": "compact"})
    monkeypatch.setattr(Cluster, "grow", refused)
    *_, state = check_topics(topics).topics
    assert state.partitions == 1
    (reason,) = [each for each in state.warnings if "only 2 brokers are registered" in each]
    assert reason.endswith("; tried again while the worker runs")


def test_fewer_partitions_than_the_input_are_reported_with_the_command(topics: KafkaSettings) -> None:
    create_topic(topics.bootstrap_servers, topics.input_topic, 1)
    check_topics(topics)
    admin = AdminClient({"bootstrap.servers": topics.bootstrap_servers})
    admin.create_partitions([NewPartitions(topics.input_topic, 2)])[topics.input_topic].result()
    until(lambda: Cluster(topics).partitions(topics.input_topic) == 2, "the input has grown")
    layout = check_topics(topics.model_copy(update={"create_topics": False}))
    for role, topic in zip(("input", "output", "dead letter", "state"), layout.topics, strict=True):
        assert len([each for each in topic.warnings if "--alter" in each and "--partitions 2" in each]) == (
            role != "input"
        )


def test_the_inputs_type_of_timestamps_is_told(topics: KafkaSettings) -> None:
    create_topic(topics.bootstrap_servers, topics.input_topic, 1, {"message.timestamp.type": "LogAppendTime"})
    assert check_topics(topics).topics[0].timestamp_type == "LogAppendTime"


def test_a_compacted_input_topic_is_refused(topics: KafkaSettings) -> None:
    create_topic(topics.bootstrap_servers, topics.input_topic, 1, {"cleanup.policy": "compact"})
    with pytest.raises(ViewerConsumerError, match=r'input topic ".*" has cleanup.policy=compact, which removes events'):
        check_topics(topics)


@pytest.mark.parametrize("role", ["output", "state", "dead letter"])
def test_the_smallest_limit_of_a_topic_limits_the_producer(topics: KafkaSettings, role: str) -> None:
    create_small_topic(topics, role, 200_000)
    assert check_topics(topics).message_bytes == 190_000


@pytest.mark.parametrize("role", ["output", "state", "dead letter"])
def test_a_topic_that_accepts_only_tiny_batches_is_refused(topics: KafkaSettings, role: str) -> None:
    name = create_small_topic(topics, role, 131_072)
    with pytest.raises(ViewerConsumerError, match=f'{role} topic "{name}" has max.message.bytes=131072') as small:
        check_topics(topics)
    assert str(small.value).endswith(f"--entity-name {name} --add-config max.message.bytes=1000000")


def create_small_topic(topics: KafkaSettings, role: str, max_message_bytes: int) -> str:
    create_topic(topics.bootstrap_servers, topics.input_topic, 1)
    names = {"output": topics.output_topic, "state": topics.state_topic, "dead letter": topics.dead_letter_topic}
    config = {"max.message.bytes": str(max_message_bytes), "cleanup.policy": "compact"}
    create_topic(topics.bootstrap_servers, names[role], 1, config)
    return names[role]


def test_advised_commands_include_the_client_configuration(topics: KafkaSettings) -> None:
    name = create_small_topic(topics, "output", 1_000)
    plain = topics.model_copy(update={"client": {"security.protocol": "PLAINTEXT"}})
    with pytest.raises(ViewerConsumerError) as small:
        check_topics(plain)
    assert f"--bootstrap-server {topics.bootstrap_servers} --command-config client.properties --alter" in str(
        small.value
    )
    assert str(small.value).endswith(f"--entity-name {name} --add-config max.message.bytes=1000000")


def test_the_state_topic_is_created_with_early_compaction(topics: KafkaSettings) -> None:
    create_topic(topics.bootstrap_servers, topics.input_topic, 2)
    check_topics(topics)
    wanted = {
        "cleanup.policy": "compact",
        "segment.bytes": "33554432",
        "min.cleanable.dirty.ratio": "0.1",
        "max.compaction.lag.ms": "60000",
    }
    assert config_of(topics.bootstrap_servers, topics.state_topic, *wanted) == wanted
    assert config_of(topics.bootstrap_servers, topics.output_topic, "cleanup.policy") == {"cleanup.policy": "delete"}
    assert [report.warnings for report in check_topics(topics).topics] == [()] * 4


@pytest.mark.parametrize("policy", ["delete", "compact,delete"])
def test_a_state_topic_that_deletes_is_refused_with_the_command_that_corrects_it(
    topics: KafkaSettings, policy: str
) -> None:
    create_topic(topics.bootstrap_servers, topics.input_topic, 1)
    create_topic(topics.bootstrap_servers, topics.state_topic, 1, {"cleanup.policy": policy})
    with pytest.raises(ViewerConsumerError) as deletes:
        check_topics(topics)
    assert f'state topic "{topics.state_topic}" has cleanup.policy={policy}' in str(deletes.value)
    assert str(deletes.value).endswith(
        f"run kafka-configs.sh --bootstrap-server {topics.bootstrap_servers} --alter --entity-type topics "
        f"--entity-name {topics.state_topic} --add-config cleanup.policy=compact"
    )
    assert "\n" not in str(deletes.value)


def test_a_state_topic_that_is_compacted_late_gives_a_warning_for_each_cause(topics: KafkaSettings) -> None:
    create_topic(topics.bootstrap_servers, topics.input_topic, 1)
    create_topic(topics.bootstrap_servers, topics.state_topic, 1, {"cleanup.policy": "compact"})
    state = check_topics(topics).topics[-1]
    assert state.role == "state"
    segment, lag = state.warnings
    assert f'state topic "{topics.state_topic}" has segment.bytes=1073741824, better is at most 268435456' in segment
    assert segment.endswith("--add-config segment.bytes=33554432")
    assert lag.endswith("--add-config max.compaction.lag.ms=60000")


def test_a_cluster_that_denies_configuration_and_id_is_accepted(
    topics: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_cluster: Cluster, _asked: object) -> Future[Any]:
        refused: Future[Any] = Future()
        refused.set_exception(KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)))
        return refused

    create_topic(topics.bootstrap_servers, topics.input_topic, 1)
    create_topic(topics.bootstrap_servers, topics.state_topic, 1)
    monkeypatch.setattr(Cluster, "_describe", refuse)
    monkeypatch.setattr(Cluster, "_config_of", refuse)
    layout = check_topics(topics)
    assert layout.topics[-1] == TopicReport("state", topics.state_topic, 1, created=False)
    assert layout.identity.cluster_id
    assert layout.identity.topic_id == ""


def test_a_state_topic_with_another_partition_count_is_refused(topics: KafkaSettings) -> None:
    create_topic(topics.bootstrap_servers, topics.input_topic, 2)
    create_topic(topics.bootstrap_servers, topics.state_topic, 3, {"cleanup.policy": "compact"})
    with pytest.raises(ViewerConsumerError, match=r'state topic ".*" has 3 partitions, but input topic ".*" has 2: '):
        check_topics(topics)


def test_an_input_that_was_created_again_has_a_new_topic_id_on_the_same_cluster(topics: KafkaSettings) -> None:
    create_topic(topics.bootstrap_servers, topics.input_topic, 1)
    first = check_topics(topics).identity
    assert first == check_topics(topics).identity
    assert first.cluster_id
    assert first.topic_id
    delete_topics(topics.bootstrap_servers, [topics.input_topic])
    until(lambda: Cluster(topics).partitions(topics.input_topic) is None, "the topic is deleted")
    create_topic(topics.bootstrap_servers, topics.input_topic, 1)
    second = check_topics(topics).identity
    assert second.cluster_id == first.cluster_id
    assert second.topic_id not in {"", first.topic_id}


def refusing_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_wrong_address_is_a_one_line_error_with_the_reason_and_soon() -> None:
    port = refusing_port()
    began = time.monotonic()
    with pytest.raises(ViewerConsumerError) as unreachable:
        check_topics(KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}"), TIMEOUTS._replace(cluster_s=1.0))
    assert time.monotonic() - began < 20.0
    assert str(unreachable.value).startswith(f"can't reach Kafka on 127.0.0.1:{port}: ")
    assert "Connection refused" in str(unreachable.value)
    assert "\n" not in str(unreachable.value)


def test_a_server_that_does_not_speak_kafka_is_a_one_line_error() -> None:
    with silent_port() as port, pytest.raises(ViewerConsumerError, match=f"can't reach Kafka on 127.0.0.1:{port}: "):
        check_topics(KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}"), TIMEOUTS._replace(cluster_s=1.0))


def test_a_rejected_login_is_reported_as_one(bootstrap_servers: str) -> None:
    client: dict[str, str | int | float | bool] = {
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "someone",
        "sasl.password": "hush-hush",
    }
    kafka = KafkaSettings(bootstrap_servers=bootstrap_servers, client=client)
    with pytest.raises(ViewerConsumerError) as refused:
        check_topics(kafka, TIMEOUTS._replace(cluster_s=1.0))
    assert "check the user, its password and its permissions" in str(refused.value)
    assert "hush-hush" not in str(refused.value)


def test_a_key_that_librdkafka_does_not_know_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r'"sockte[.]timeout[.]ms"'):
        check_topics(KafkaSettings(client={"sockte.timeout.ms": 1}))
