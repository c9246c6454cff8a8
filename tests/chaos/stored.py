"""What workers have stored of a partition."""

import json
from typing import Any, NamedTuple

from consumer.state.keys import CHECKPOINT, JOURNAL
from tests.chaos.deployment import Deployment
from tests.support.topics import read_committed


class StoredState(NamedTuple):
    """The two records, as JSON."""

    checkpoint: dict[str, Any]
    journal: dict[str, Any]


def newest_journal(deployment: Deployment, partition: int) -> dict[str, Any]:
    """The committed one, as JSON; workers may be running."""
    journal: dict[str, Any] = json.loads(_newest(deployment, partition)[JOURNAL])
    return journal


def stored_state(deployment: Deployment, partition: int) -> StoredState:
    """Read both while no worker runs, once the transactions of those that were killed have ended."""
    kafka = deployment.kafka.kafka
    deployment.wait_until_no_transaction_is_open(kafka.state_topic)
    newest = _newest(deployment, partition)
    return StoredState(json.loads(newest[CHECKPOINT]), json.loads(newest[JOURNAL]))


def _newest(deployment: Deployment, partition: int) -> dict[bytes | None, bytes]:
    """By key."""
    kafka = deployment.kafka.kafka
    stored = read_committed(kafka.bootstrap_servers, kafka.state_topic, only=partition)
    return {each.key(): each.value() or b"" for each in stored}
