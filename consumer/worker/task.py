"""One partition that this worker owns: its windows, its position in the input, and its unpublished output."""

from dataclasses import dataclass, field

import numpy as np

from consumer.kafka.record import Record
from consumer.output.outbox import Outbox
from consumer.state.checkpoint import RULES_VERSION
from consumer.state.journal import Journal, Step
from consumer.state.restore import RuleChange
from consumer.state.result_settings import ResultSettings, changed_keys
from consumer.windows.closing import STREAM_IDLE
from consumer.windows.partition import PartitionWindows
from consumer.windows.stats import NO_COUNTERS, SessionCounters
from consumer.worker.circuit_breaker import CircuitBreaker
from consumer.worker.clock_wait import AheadOfClock
from consumer.worker.idleness import IdleClock


@dataclass
class PartitionTask:
    """Created when a partition is restored; dropped when it is revoked. Nothing of it outlives the assignment."""

    number: int
    windows: PartitionWindows
    idle: IdleClock
    next_offset: int
    """Offset of the first record that is not in the windows yet."""
    committed_offset: int | None
    """The group's committed offset; None if there is none."""
    checkpoint: int = 0
    """Number of the last committed checkpoint; 0 if there is none: then the first commit writes one."""
    checkpoint_s: float = 0.0
    """Monotonic time of that checkpoint, or of the restore, in seconds."""
    checkpoint_wanted: bool = False
    """The next commit writes a checkpoint, whatever the age of the last one."""
    journal: Journal = field(default_factory=Journal)
    """What happened since that checkpoint."""
    journal_changed: bool = False
    """The journal holds something that is not committed yet."""
    processed_bytes: int = 0
    """Bytes of records since the checkpoint, approximately: what a replay would read."""
    counted: SessionCounters = NO_COUNTERS
    """The session counters already added to the metrics."""
    outbox: Outbox = field(default_factory=Outbox)
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    held: list[Record] = field(default_factory=list)
    """Read, but their schema is not available yet, or they are ahead of the clock; at most `HELD_MOST`."""
    waiting_reason: str = ""
    """Why they wait for a schema, for messages; empty while the look-up of their schema is only beginning."""
    held_for_schema: bool = False
    reading_paused: bool = False
    """The reader is paused for what is held."""
    ahead: AheadOfClock = field(default_factory=AheadOfClock)
    read_again: bool = False
    """Records behind the next offset were dropped: the reader has to go back to it."""
    last_timestamp_ms: int = -1
    """Kafka timestamp of the last processed record; -1 before the first."""
    paused: bool = False
    """Nothing is read: a jump of time is pending, or pending output has reached its limit."""
    result_settings: ResultSettings = field(default_factory=dict)
    """Those under which the windows are as they are; a checkpoint stores them."""
    rules_version: int = RULES_VERSION
    """The same of the version of the rules."""
    rule_changes: list[RuleChange] = field(default_factory=list)
    """Changed result settings and versions that are not in effect in all streams; the first one may be in some."""
    _rule_change_begun: bool = False

    def forget_read(self) -> None:
        """Drop what was read but not processed; the caller has it read again from the next offset."""
        self.held.clear()
        self.reading_paused = self.read_again = False
        self.ahead.dropped_from = None

    @property
    def to_commit(self) -> bool:
        """Whether something is not committed yet."""
        return (
            self.next_offset != self.committed_offset
            or not self.outbox.empty
            or self.journal_changed
            or self.checkpoint_wanted
            or self.checkpoint == 0
        )

    @property
    def to_checkpoint(self) -> bool:
        """Whether a restore would have to replay records, or would find no checkpoint."""
        return self.checkpoint == 0 or self.processed_bytes > 0 or bool(self.journal.steps) or self.checkpoint_wanted

    @property
    def jumping(self) -> bool:
        """Whether a jump of time or changed settings have to be finished before more records are processed."""
        return self.windows.jump_pending or bool(self.rule_changes)

    @property
    def pending_settings(self) -> ResultSettings | None:
        """Changed settings that are in effect in some streams only."""
        return self.rule_changes[0].settings if self._rule_change_begun else None

    def continue_jump(self, now_ms: int) -> None:
        """Close more of a pending jump, else apply the next changed settings; the next commit is a checkpoint."""
        closed_at_ms = self.last_timestamp_ms if self._jumps_by_record else now_ms
        if self.windows.jump_pending:
            self.windows.continue_jump()
        elif self.rule_changes:
            self._rule_change_begun = True
            if changed_keys(self.result_settings, self.rule_changes[0].settings):
                self.windows.change_rules(self.rule_changes[0].rules, self.next_offset)
        if self._rule_change_begun and not self.windows.jump_pending:
            self._rule_change_begun = False
            self.result_settings, _, self.rules_version = self.rule_changes.pop(0)
        self.checkpoint_wanted = True
        self.add_closed_now(closed_at_ms)

    @property
    def _jumps_by_record(self) -> bool:
        jump = self.windows.jump
        return jump is not None and jump.reason == STREAM_IDLE and self.last_timestamp_ms >= 0

    def new_session_counts(self) -> SessionCounters:
        """Return what the session counters have counted since the last call."""
        before, self.counted = self.counted, self.windows.counters()
        return SessionCounters(*(now - then for now, then in zip(self.counted, before, strict=True)))

    def step(self, to_ms: int, now_ms: int) -> None:
        """Advance partition time by the clock; `now_ms` is wall-clock time, used for the freshness of what closes."""
        self.windows.step(to_ms, self.next_offset)
        self.journal.add_step(Step(self.next_offset, to_ms))
        self.journal_changed = True
        self.checkpoint_wanted |= self.windows.jump_pending
        self.add_closed_now(now_ms)

    def add_closed_now(self, now_ms: int) -> None:
        """Add buckets to the outbox that closed without a record: by the clock, or by changed settings, at `now_ms`."""
        closed = self.windows.pop_closed()
        if len(closed):
            self.outbox.add_closed(closed, np.full(len(closed), now_ms, np.int64))
