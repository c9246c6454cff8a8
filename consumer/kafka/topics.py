"""The topics: looked at before the worker starts, created where that is wanted, refused where they don't fit."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from consumer.errors import ViewerConsumerError
from consumer.kafka.cluster import ANSWER_WITHIN_S, Cluster
from consumer.settings import KafkaSettings


class TopicReport(NamedTuple):
    """One topic as it was found or made."""

    role: Literal["input", "output", "dead letter"]
    name: str
    partitions: int
    created: bool


class TopicLayout(NamedTuple):
    """All topics of a worker; each has as many partitions as the input."""

    input_partitions: int
    topics: tuple[TopicReport, ...]


def check_topics(kafka: KafkaSettings, answer_within_s: float = ANSWER_WITHIN_S) -> TopicLayout:
    """Look at the topics, and create ours where `kafka.create_topics` is set; never the input, which is the producers'.

    Raises:
        UsageError: librdkafka doesn't take `kafka.client`.
        ViewerConsumerError: the cluster doesn't answer in time or refuses, or topics are missing or unfit: a line each.
    """
    cluster = Cluster(kafka, answer_within_s)
    partitions = cluster.partitions(kafka.input_topic)
    if partitions is None:
        raise ViewerConsumerError(
            f'input topic "{kafka.input_topic}" does not exist on {kafka.bootstrap_servers}: '
            "check kafka.input_topic, or let its producers create it"
        )
    ours: tuple[tuple[Literal["output", "dead letter"], str], ...] = (
        ("output", kafka.output_topic),
        ("dead letter", kafka.dead_letter_topic),
    )
    found = {name: cluster.partitions(name) for _, name in ours}
    missing = [name for name, count in found.items() if count is None]
    if missing and kafka.create_topics:
        cluster.create(missing, partitions)
        found.update({name: cluster.partitions(name) for name in missing})
    problems = [line for role, name in ours for line in _problems(kafka, role, name, found[name], partitions)]
    if problems:
        raise ViewerConsumerError("\n".join(problems))
    reports = (TopicReport(role, name, partitions, name in missing) for role, name in ours)
    return TopicLayout(partitions, (TopicReport("input", kafka.input_topic, partitions, created=False), *reports))


def _problems(kafka: KafkaSettings, role: str, name: str, found: int | None, wanted: int) -> Iterator[str]:
    if found is None:
        yield (
            f'{role} topic "{name}" does not exist on {kafka.bootstrap_servers}: set kafka.create_topics = true, '
            f"or run kafka-topics.sh --bootstrap-server {kafka.bootstrap_servers} --create --topic {name} "
            f"--partitions {wanted}"
        )
    elif found != wanted:
        yield (
            f'{role} topic "{name}" has {_counted(found)}, but input topic "{kafka.input_topic}" has {wanted}: '
            f"give it as many, or name another topic"
        )


def _counted(partitions: int) -> str:
    return f"{partitions} partition" + ("s" if partitions != 1 else "")
