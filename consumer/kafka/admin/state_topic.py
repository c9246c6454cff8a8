"""The configuration of the state topic: compacted, never deleted by age."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from consumer.kafka.tool_commands import alter_config
from consumer.settings.model import KafkaSettings

STATE_TOPIC_CONFIG: Mapping[str, str] = {
    "cleanup.policy": "compact",
    # The active segment is never compacted, and a restore reads all of it.
    "segment.bytes": str(32 * 2**20),
    "min.cleanable.dirty.ratio": "0.1",
    "max.compaction.lag.ms": "60000",
}
"""The configuration with which the topic is created."""


class _Limit(NamedTuple):
    """The largest acceptable value of an existing topic, and the effect beyond it."""

    most: float
    wanted: str
    otherwise: str


_LIMITS: Mapping[str, _Limit] = {
    "segment.bytes": _Limit(256 * 2**20, "at most 268435456", "a restore reads up to that much more"),
    "min.cleanable.dirty.ratio": _Limit(0.5, "at most 0.5", "compaction seldom runs, and a restore reads much more"),
    "max.compaction.lag.ms": _Limit(
        3_600_000, "at most 3600000", "old rows may stay for long, and a restore reads them"
    ),
}


def state_topic_errors(kafka: KafkaSettings, config: Mapping[str, str]) -> Iterator[str]:
    """Settings of the topic that would lose state: one line each, with the command that fixes it."""
    policy = config.get("cleanup.policy", "compact")
    if policy != "compact":
        yield (
            f'state topic "{kafka.state_topic}" has cleanup.policy={policy}, which deletes state for its age: '
            f"run {_alter(kafka, 'cleanup.policy')}"
        )


def state_topic_warnings(kafka: KafkaSettings, config: Mapping[str, str]) -> Iterator[str]:
    """Settings of the topic that would make restores slow: one line each, with the command that fixes it."""
    for key, limit in _LIMITS.items():
        value = config.get(key)
        if value is not None and float(value) > limit.most:
            yield (
                f'state topic "{kafka.state_topic}" has {key}={value}, better is {limit.wanted}: {limit.otherwise}; '
                f"run {_alter(kafka, key)}"
            )


def _alter(kafka: KafkaSettings, key: str) -> str:
    return alter_config(kafka, kafka.state_topic, f"{key}={STATE_TOPIC_CONFIG[key]}")
