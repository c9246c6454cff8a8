"""Commands of Kafka's own tools, for messages."""

from collections.abc import Mapping

from consumer.settings.model import KafkaSettings

_LOG_IN = ("security.protocol", "sasl.", "ssl.")


def create_topic(kafka: KafkaSettings, topic: str, partitions: int, config: Mapping[str, str]) -> str:
    """The command that creates a topic with this configuration."""
    configs = "".join(f" --config {key}={value}" for key, value in config.items())
    return f"kafka-topics.sh {_servers(kafka)} --create --topic {topic} --partitions {partitions}{configs}"


def add_partitions(kafka: KafkaSettings, topic: str, partitions: int) -> str:
    """The command that gives a topic so many partitions."""
    return f"kafka-topics.sh {_servers(kafka)} --alter --topic {topic} --partitions {partitions}"


def alter_config(kafka: KafkaSettings, topic: str, config: str) -> str:
    """The command that sets `key=value` of a topic."""
    return (
        f"kafka-configs.sh {_servers(kafka)} --alter --entity-type topics --entity-name {topic} --add-config {config}"
    )


def _servers(kafka: KafkaSettings) -> str:
    """Where the brokers are; the tools take a log-in from a file of properties only."""
    logs_in = kafka.msk_iam_region or any(key.startswith(_LOG_IN) for key in kafka.client)
    return f"--bootstrap-server {kafka.bootstrap_servers}" + (" --command-config client.properties" if logs_in else "")
