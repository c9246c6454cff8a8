"""Compare the settings with what the brokers set for the group."""

from consumer.errors import UsageError
from consumer.kafka.admin.cluster import Cluster
from consumer.kafka.config import SESSION_TIMEOUT_MS, session_errors, uses_consumer_protocol
from consumer.kafka.timeouts import TIMEOUTS, Timeouts
from consumer.settings.model import KafkaSettings

_SESSION = "consumer.session.timeout.ms"
"""Of the group; without one of its own it has the brokers' group.consumer.session.timeout.ms."""


def check_group(kafka: KafkaSettings, timeouts: Timeouts = TIMEOUTS) -> None:
    """Compare transaction.timeout.ms with the session's time-out, which the brokers set under KIP-848.

    Where they do not say it, for example without the right to DescribeConfigs on the group, their default is taken.
    Does nothing under the classic protocol: the session's time-out is a setting there, and was compared.

    Raises:
        UsageError: it is too long, or librdkafka doesn't take `kafka.client`.
    """
    if uses_consumer_protocol(kafka):
        config = Cluster(kafka, timeouts).group_config(kafka.group_id)
        session_ms = int(config.get(_SESSION, SESSION_TIMEOUT_MS))
        errors = [*session_errors(kafka, f"the group's {_SESSION}", session_ms)]
        if errors:
            raise UsageError("\n".join(errors))
