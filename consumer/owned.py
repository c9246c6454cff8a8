"""A partition that this worker owns: its windows, its place in the input, and what it has yet to publish."""

from dataclasses import dataclass, field

from consumer.kafka.interface import Message
from consumer.output.outbox import Outbox
from consumer.windows.partition import PartitionWindows


@dataclass
class OwnedPartition:
    """Dropped when the partition goes; nothing of it outlives the assignment."""

    number: int
    windows: PartitionWindows
    next_offset: int
    """Of the first record that is not in the windows yet."""
    committed_offset: int | None
    """None where the group has none for it."""
    outbox: Outbox = field(default_factory=Outbox)
    held: list[Message] = field(default_factory=list)
    """Read, but their schema can't be had yet; the partition is paused meanwhile, so they don't grow."""
    last_timestamp_ms: int = -1
    """Kafka timestamp of the newest record taken, -1 before the first."""

    @property
    def to_commit(self) -> bool:
        """Something would be lost without a commit."""
        return self.next_offset != self.committed_offset or not self.outbox.empty
