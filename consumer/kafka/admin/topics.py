"""Check the topics before the worker starts; create missing ones if configured; refuse unfit ones."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from consumer.errors import ViewerConsumerError
from consumer.kafka.admin.cluster import Cluster, ClusterIdentity
from consumer.kafka.admin.state_topic import STATE_TOPIC_CONFIG, state_topic_errors, state_topic_warnings
from consumer.kafka.config import LEAST_MESSAGE_BYTES, MESSAGE_BYTES, message_max_bytes
from consumer.kafka.timeouts import TIMEOUTS, Timeouts
from consumer.kafka.tool_commands import add_partitions, alter_config, create_topic
from consumer.settings.model import KafkaSettings

_UNLIMITED = 2**31


class TopicReport(NamedTuple):
    """One topic, found or created."""

    role: Literal["input", "output", "dead letter", "state"]
    name: str
    partitions: int
    created: bool
    warnings: tuple[str, ...] = ()
    """Advice, one sentence each."""
    timestamp_type: str = ""
    """Of the input: CreateTime or LogAppendTime; empty where the cluster does not report it."""


class TopicLayout(NamedTuple):
    """All topics of a worker; each has as many partitions as the input."""

    topics: tuple[TopicReport, ...]
    identity: ClusterIdentity
    """Ids of the input topic and the cluster."""
    message_bytes: int = MESSAGE_BYTES
    """The largest batch of records that the producer may send: all topics accept it."""


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
    grown, refused = _grow_if_possible(cluster, found, partitions) if kafka.create_topics else ({}, [])
    found.update(grown)
    reports = [TopicReport(topic.role, topic.name, found[topic.name] or 0, topic.name in created) for topic in ours]
    configs = {report.name: _config(cluster, report) for report in reports}
    problems = [line for topic in ours for line in _problems(kafka, topic, found[topic.name], partitions)]
    input_config = cluster.config(kafka.input_topic) or {}
    problems += _input_errors(kafka, input_config)
    problems += state_topic_errors(kafka, configs[kafka.state_topic])
    problems += [line for report in reports for line in _size_errors(kafka, report, configs[report.name])]
    if problems:
        raise ViewerConsumerError("\n".join(problems))
    warnings = {topic.name: [*_partition_warnings(kafka, topic, found[topic.name], partitions)] for topic in ours}
    warnings[kafka.state_topic] += refused
    warnings[kafka.state_topic] += state_topic_warnings(kafka, configs[kafka.state_topic])
    return TopicLayout(
        (
            TopicReport(
                "input",
                kafka.input_topic,
                partitions,
                created=False,
                timestamp_type=input_config.get("message.timestamp.type", ""),
            ),
            *(report._replace(warnings=tuple(warnings[report.name])) for report in reports),
        ),
        cluster.identity(kafka.input_topic),
        message_bytes_of(kafka, configs.values()),
    )


def grow_topics(kafka: KafkaSettings, timeouts: Timeouts = TIMEOUTS) -> None:
    """Give the worker's topics as many partitions as the input has; called when the input has grown.

    Raises:
        ViewerConsumerError: the cluster doesn't answer in time, or refuses.
    """
    cluster = Cluster(kafka, timeouts)
    ours = (kafka.output_topic, kafka.dead_letter_topic, kafka.state_topic)
    wanted = cluster.partitions(kafka.input_topic)
    if wanted is not None:
        _grow(cluster, {name: cluster.partitions(name) for name in ours}, wanted)


def _grow(cluster: Cluster, found: Mapping[str, int | None], wanted: int) -> Mapping[str, int]:
    fewer = [name for name, partitions in found.items() if partitions is not None and partitions < wanted]
    if fewer:
        cluster.grow(fewer, wanted)
    return dict.fromkeys(fewer, wanted)


def _grow_if_possible(
    cluster: Cluster, found: Mapping[str, int | None], wanted: int
) -> tuple[Mapping[str, int], list[str]]:
    """What has grown, and why the rest has not: with a broker away it may be refused.

    Only new partitions wait for it, and their restores try again.
    """
    try:
        return _grow(cluster, found, wanted), []
    except ViewerConsumerError as error:
        return {}, [f"{error}; tried again while the worker runs"]


def _create_missing(
    cluster: Cluster, ours: tuple[_Ours, ...], found: Mapping[str, int | None], partitions: int
) -> Mapping[str, int | None]:
    missing = {topic.name: topic.config for topic in ours if found[topic.name] is None}
    return cluster.create(missing, partitions) if missing else {}


def _config(cluster: Cluster, topic: TopicReport) -> Mapping[str, str]:
    """The configuration of an existing topic; empty if it was just created or is not reported."""
    return {} if topic.created or not topic.partitions else cluster.config(topic.name) or {}


def message_bytes_of(kafka: KafkaSettings, configs: Iterable[Mapping[str, str]]) -> int:
    """The largest batch that every topic accepts, at most what the settings say; a limit is a topic's or its broker's.

    Args:
        kafka: the settings.
        configs: of the topics; empty where the cluster does not report one.
    """
    return min(message_max_bytes(kafka), *(_limit(config) for config in configs))


def _limit(config: Mapping[str, str]) -> int:
    """A topic's limit, less a margin where it is small: the client library may exceed its own limit a little."""
    most = int(config.get("max.message.bytes", _UNLIMITED))
    return most if most >= MESSAGE_BYTES else most * 19 // 20


def _size_errors(kafka: KafkaSettings, topic: TopicReport, config: Mapping[str, str]) -> Iterator[str]:
    """A topic that refuses records that cannot be cut."""
    if _limit(config) < LEAST_MESSAGE_BYTES:
        command = alter_config(kafka, topic.name, f"max.message.bytes={MESSAGE_BYTES}")
        yield (
            f'{topic.role} topic "{topic.name}" has max.message.bytes={config["max.message.bytes"]}, and a larger '
            f"batch of records would abort its transaction for ever: run {command}"
        )


def _input_errors(kafka: KafkaSettings, config: Mapping[str, str]) -> Iterator[str]:
    policy = config.get("cleanup.policy", "delete")
    if "compact" in policy:
        yield (
            f'input topic "{kafka.input_topic}" has cleanup.policy={policy}, which removes events that a restart '
            f"has to read again: run {alter_config(kafka, kafka.input_topic, 'cleanup.policy=delete')}"
        )


def _problems(kafka: KafkaSettings, topic: _Ours, found: int | None, wanted: int) -> Iterator[str]:
    if found is None:
        yield (
            f'{topic.role} topic "{topic.name}" does not exist on {kafka.bootstrap_servers}: '
            f"set kafka.create_topics = true, or run {create_topic(kafka, topic.name, wanted, topic.config)}"
        )
    elif topic.role == "state" and found > wanted:
        yield (
            f'state topic "{topic.name}" has {_counted(found)}, but input topic "{kafka.input_topic}" has {wanted}: '
            "name another topic, or the input topic of this state"
        )


def _partition_warnings(kafka: KafkaSettings, topic: _Ours, found: int | None, wanted: int) -> Iterator[str]:
    if found is None or found >= wanted:
        return
    effect = "the partitions without a state wait" if topic.role == "state" else "its records are on fewer partitions"
    yield (
        f'{topic.role} topic "{topic.name}" has {_counted(found)}, but input topic "{kafka.input_topic}" has {wanted}; '
        f"{effect}: set kafka.create_topics = true, or run {add_partitions(kafka, topic.name, wanted)}"
    )


def _counted(partitions: int) -> str:
    return f"{partitions} partition" + ("s" if partitions != 1 else "")
