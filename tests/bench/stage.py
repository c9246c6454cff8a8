"""The environment of a benchmark: a broker, the options, and topics that are deleted afterwards."""

import contextlib
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from consumer.kafka.config import plain_producer_config
from consumer.kafka.embedded import EventProducer
from consumer.settings.model import KafkaSettings
from tests.bench.load import Records, write
from tests.bench.measured import Measured, measured
from tests.bench.pinned import SCHEMA
from tests.support.topics import committed_offsets, create_topic, delete_topics, ends, unique
from tests.support.waiting import until

COMMIT_TIMEOUT_S = 120.0


class Batched(Protocol):
    """Something that yields batches of records for a topic."""

    def batches(self) -> Iterator[Records]:
        """Yield batches in order of time."""


@dataclass(frozen=True)
class Stage:
    """One input topic."""

    bootstrap_servers: str
    options: Namespace
    topic: str
    partitions: int
    made: list[str]
    """Topics to be deleted."""

    def fill(self, load: Batched) -> int:
        """Write a load; return the size of all values in bytes."""
        kafka = KafkaSettings(bootstrap_servers=self.bootstrap_servers)
        return write(load.batches(), EventProducer(plain_producer_config(kafka), self.topic))

    def new_group(self) -> str:
        """Use a new group, which reads from the log start, and its own state topic: one belongs to one group."""
        group = unique(self.topic)
        self.made.append(f"{group}-state")
        return group

    def flags(self, group: str, *more: str) -> list[str]:
        """Return the settings of a measured process; `more` overrides them."""
        return [
            f"kafka.bootstrap_servers={self.bootstrap_servers}",
            f"kafka.group_id={group}",
            f"kafka.input_topic={self.topic}",
            f"kafka.output_topic={self.topic}-summaries",
            f"kafka.dead_letter_topic={self.topic}-dead",
            f"kafka.state_topic={group}-state",
            f'input.ids={{1 = "{SCHEMA}"}}',
            f"windows.counting={self.options.counting}",
            "http.host=127.0.0.1",
            "http.port=0",
            *more,
        ]

    def worker(
        self, group: str, events: int, more: Sequence[str] = (), cpu: int | None = None
    ) -> contextlib.AbstractContextManager[Measured]:
        """Run a worker on the measured CPU core, or on the given one."""
        return measured("worker", self.options.cpu if cpu is None else cpu, events, self.flags(group, *more))

    def wait_until_all_is_committed(self, group: str) -> None:
        """Wait until the group's offsets are at the end of the input."""
        wanted = {number: end for number, end in ends(self.bootstrap_servers, self.topic).items() if end}
        until(
            lambda: (
                committed_offsets(self.bootstrap_servers, group, self.topic, self.partitions).items() >= wanted.items()
            ),
            f"offsets {wanted} are committed",
            COMMIT_TIMEOUT_S,
        )


@contextlib.contextmanager
def stage(bootstrap_servers: str, options: Namespace, partitions: int) -> Iterator[Stage]:
    """Create the topics of a worker."""
    topic = unique("bench")
    made = [topic, f"{topic}-summaries", f"{topic}-dead"]
    for name in made:
        create_topic(bootstrap_servers, name, partitions)
    try:
        yield Stage(bootstrap_servers, options, topic, partitions, made)
    finally:
        delete_topics(bootstrap_servers, made)
