"""Check that the input topic exists, or create it before the first event of a simulation."""

from consumer.errors import ViewerConsumerError
from consumer.kafka.admin.cluster import Cluster
from consumer.settings.model import KafkaSettings

PARTITIONS = 4
"""Number of partitions of an input topic that a simulation creates."""


def ensure_input_topic(kafka: KafkaSettings) -> None:
    """Create the input topic if it is missing and `kafka.create_topics` is set.

    Raises:
        UsageError: librdkafka doesn't take `kafka.client`.
        ViewerConsumerError: the cluster doesn't answer in time or refuses, or the topic is missing.
    """
    cluster = Cluster(kafka)
    if cluster.partitions(kafka.input_topic) is not None:
        return
    if not kafka.create_topics:
        raise ViewerConsumerError(
            f'input topic "{kafka.input_topic}" does not exist on {kafka.bootstrap_servers}: create it, '
            "or set kafka.create_topics = true"
        )
    cluster.create({kafka.input_topic: {}}, PARTITIONS)
