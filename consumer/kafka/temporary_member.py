"""A member of the worker's group for a short time, beside the workers."""

import time
from collections.abc import Sequence

from consumer.kafka.config import member_config
from consumer.kafka.deadline import Clock
from consumer.kafka.group_member import GroupMember
from consumer.kafka.timeouts import TIMEOUTS, Timeouts
from consumer.settings.model import Settings


def temporary_member(
    settings: Settings, topic: str, timeouts: Timeouts = TIMEOUTS, clock: Clock = time.monotonic
) -> GroupMember:
    """A member without an instance id, which does nothing when its assignment changes; `subscribe` makes it join.

    Args:
        settings: of the worker.
        topic: what it has partitions of.
        timeouts: how long to wait.
        clock: monotonic seconds.

    Raises:
        UsageError: librdkafka doesn't take `kafka.client`.
    """
    config = member_config(settings)
    # With an instance id it would replace the worker of that name.
    config.pop("group.instance.id", None)
    return GroupMember(config, topic, _NoHandler(), None, timeouts, clock)


class _NoHandler:
    """A rebalance handler that does nothing."""

    def on_assigned(self, partitions: Sequence[int]) -> None:
        """Nothing is restored."""

    def on_revoked(self, partitions: Sequence[int]) -> None:
        """Nothing is to be committed."""

    def on_lost(self, partitions: Sequence[int]) -> None:
        """Nothing is to be taken back."""
