"""What workers have stored of a partition, while none runs."""

import json
from typing import Any, NamedTuple

from consumer.state.keys import CHECKPOINT, JOURNAL
from tests.chaos.deployment import Deployment
from tests.support.topics import read_committed


class StoredState(NamedTuple):
    """The two records, as JSON."""

    checkpoint: dict[str, Any]
    journal: dict[str, Any]


def stored_state(deployment: Deployment, partition: int) -> StoredState:
    """Read both, once the transactions of workers that were killed have ended."""
    kafka = deployment.kafka.kafka
    deployment.wait_until_no_transaction_is_open(kafka.state_topic)
    stored = read_committed(kafka.bootstrap_servers, kafka.state_topic, only=partition)
    newest = {each.key(): each.value() or b"" for each in stored}
    return StoredState(json.loads(newest[CHECKPOINT]), json.loads(newest[JOURNAL]))
