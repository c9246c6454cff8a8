"""Check the topics before the worker starts; create missing ones if configured; refuse unfit ones."""

from collections.abc import Collection, Container, Iterator, Mapping
from typing import Literal, NamedTuple

from consumer.errors import ViewerConsumerError
from consumer.kafka.admin.cluster import Cluster, ClusterIdentity
from consumer.kafka.admin.state_topic import STATE_TOPIC_CONFIG, state_topic_errors, state_topic_warnings
from consumer.kafka.config import MESSAGE_BYTES
from consumer.kafka.timeouts import TIMEOUTS, Timeouts
from consumer.settings.model import KafkaSettings


class TopicReport(NamedTuple):
    """One topic, found or created."""

    role: Literal["input", "output", "dead letter", "state"]
    name: str
    partitions: int
    created: bool
    warnings: tuple[str, ...] = ()
    """Advice, one sentence each."""


class TopicLayout(NamedTuple):
    """All topics of a worker; each has as many partitions as the input."""

    topics: tuple[TopicReport, ...]
    identity: ClusterIdentity
    """Ids of the input topic and the cluster."""


class _Ours(NamedTuple):
    """A topic that the worker writes to."""

    role: Literal["output", "dead letter", "state"]
    name: str
    config: Mapping[str, str] = {}


def check_topics(kafka: KafkaSettings, timeouts: Timeouts = TIMEOUTS) -> TopicLayout:
    """Check the topics, and create missing ones if `kafka.create_topics` is set; never the input topic.

    Raises:
        UsageError: librdkafka doesn't take `kafka.client`.
        ViewerConsumerError: the cluster doesn't answer in time or refuses, or topics are missing or unfit: a line each.
    """
    cluster = Cluster(kafka, timeouts)
    partitions = cluster.partitions(kafka.input_topic)
    if partitions is None:
        raise ViewerConsumerError(
            f'input topic "{kafka.input_topic}" does not exist on {kafka.bootstrap_servers}: '
            "check kafka.input_topic, or let its producers create it"
        )
    ours = (
        _Ours("output", kafka.output_topic),
        _Ours("dead letter", kafka.dead_letter_topic),
        _Ours("state", kafka.state_topic, STATE_TOPIC_CONFIG),
    )
    # Ask for each until it is visible, then not again: another broker may not know it yet.
    found = {topic.name: cluster.partitions(topic.name) for topic in ours}
    created = _create_missing(cluster, ours, found, partitions) if kafka.create_topics else {}
    found.update(created)
    state = _state_config(cluster, kafka, found[kafka.state_topic], created)
    problems = [line for topic in ours for line in _problems(kafka, topic, found[topic.name], partitions)]
    problems += state_topic_errors(kafka, state)
    problems += _dead_letter_topic_errors(cluster, kafka, found[kafka.dead_letter_topic], created)
    if problems:
        raise ViewerConsumerError("\n".join(problems))
    warnings = {kafka.state_topic: tuple(state_topic_warnings(kafka, state))}
    reports = (
        TopicReport(topic.role, topic.name, partitions, topic.name in created, warnings.get(topic.name, ()))
        for topic in ours
    )
    return TopicLayout(
        (TopicReport("input", kafka.input_topic, partitions, created=False), *reports),
        cluster.identity(kafka.input_topic),
    )


def _create_missing(
    cluster: Cluster, ours: tuple[_Ours, ...], found: Mapping[str, int | None], partitions: int
) -> Mapping[str, int | None]:
    missing = {topic.name: topic.config for topic in ours if found[topic.name] is None}
    return cluster.create(missing, partitions) if missing else {}


def _state_config(
    cluster: Cluster, kafka: KafkaSettings, found: int | None, created: Collection[str]
) -> Mapping[str, str]:
    """The configuration of an existing state topic; empty if it was just created or is not reported."""
    if found is None or kafka.state_topic in created:
        return {}
    return cluster.config(kafka.state_topic) or {}


def _dead_letter_topic_errors(
    cluster: Cluster, kafka: KafkaSettings, found: int | None, created: Container[str]
) -> Iterator[str]:
    """The problem of an existing dead-letter topic that refuses large records; None if it is not reported."""
    name = kafka.dead_letter_topic
    config = {} if found is None or name in created else cluster.config(name) or {}
    most = config.get("max.message.bytes", str(MESSAGE_BYTES))
    if int(most) < MESSAGE_BYTES:
        yield (
            f'dead letter topic "{name}" has max.message.bytes={most}, and one that is larger would abort its '
            f"transaction for ever: run kafka-configs.sh --bootstrap-server {kafka.bootstrap_servers} --alter "
            f"--entity-type topics --entity-name {name} --add-config max.message.bytes={MESSAGE_BYTES}"
        )


def _problems(kafka: KafkaSettings, topic: _Ours, found: int | None, wanted: int) -> Iterator[str]:
    if found is None:
        config = "".join(f" --config {key}={value}" for key, value in topic.config.items())
        yield (
            f'{topic.role} topic "{topic.name}" does not exist on {kafka.bootstrap_servers}: '
            f"set kafka.create_topics = true, or run kafka-topics.sh --bootstrap-server {kafka.bootstrap_servers} "
            f"--create --topic {topic.name} --partitions {wanted}{config}"
        )
    elif found != wanted:
        yield (
            f'{topic.role} topic "{topic.name}" has {_counted(found)}, but input topic "{kafka.input_topic}" has '
            f"{wanted}: give it as many, or name another topic"
        )


def _counted(partitions: int) -> str:
    return f"{partitions} partition" + ("s" if partitions != 1 else "")
