"""A partition that this worker owns: its windows, its place in the input, and what it has yet to publish."""

from dataclasses import dataclass, field

import numpy as np

from consumer.kafka.protocols import Message
from consumer.output.outbox import Outbox
from consumer.state.journal import Journal, Step
from consumer.windows.partition import PartitionWindows
from consumer.windows.stats import NO_COUNTERS, SessionCounters
from consumer.worker.circuit_breaker import CircuitBreaker
from consumer.worker.idleness import IdleClock


@dataclass
class PartitionTask:
    """Dropped when the partition goes; nothing of it outlives the assignment."""

    number: int
    windows: PartitionWindows
    idle: IdleClock
    next_offset: int
    """Of the first record that is not in the windows yet."""
    committed_offset: int | None
    """None where the group has none for it."""
    checkpoint: int = 0
    """Number of the last one that was committed; 0 where there is none, and then the first commit makes one."""
    checkpoint_s: float = 0.0
    """Monotonic seconds at which it was committed, or the partition was restored."""
    checkpoint_wanted: bool = False
    """With the next commit, whatever its age."""
    journal: Journal = field(default_factory=Journal)
    """Since that checkpoint."""
    journal_changed: bool = False
    """It says more than was committed."""
    processed_bytes: int = 0
    """About so many of records since the checkpoint: what a replay would have to read."""
    counted: SessionCounters = NO_COUNTERS
    """Of what counting by viewer has met, so much was told to the metrics."""
    outbox: Outbox = field(default_factory=Outbox)
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    held: list[Message] = field(default_factory=list)
    """Read, but their schema can't be had yet; the partition is paused meanwhile, so they don't grow."""
    last_timestamp_ms: int = -1
    """Kafka timestamp of the newest record taken, -1 before the first."""

    @property
    def to_commit(self) -> bool:
        """Something would be lost without a commit."""
        return (
            self.next_offset != self.committed_offset
            or not self.outbox.empty
            or self.journal_changed
            or self.checkpoint_wanted
            or self.checkpoint == 0
        )

    @property
    def to_checkpoint(self) -> bool:
        """A restore would have something to replay, or nothing to begin with."""
        return self.checkpoint == 0 or self.processed_bytes > 0 or bool(self.journal.steps) or self.checkpoint_wanted

    def new_session_counts(self) -> SessionCounters:
        """What counting by viewer has met since the last call."""
        before, self.counted = self.counted, self.windows.counters()
        return SessionCounters(*(now - then for now, then in zip(self.counted, before, strict=True)))

    def step(self, to_ms: int, now_ms: int) -> None:
        """Have the clock move partition time on; `now_ms` is the wall clock's, for the freshness of what closes."""
        self.windows.step(to_ms, self.next_offset)
        self.journal.add_step(Step(self.next_offset, to_ms))
        self.journal_changed = True
        self.add_closed_now(now_ms)

    def add_closed_now(self, now_ms: int) -> None:
        """Put into the outbox what closed without a record: by the clock, or by changed settings; `now_ms` is when."""
        closed = self.windows.take_closed()
        if len(closed):
            self.outbox.add_closed(closed, np.full(len(closed), now_ms, np.int64))
