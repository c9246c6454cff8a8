"""Publish: send the outboxes a slice at a time, then commit them together with state and input offsets.

After an abort the outboxes are sent again. If the outcome of a transaction is unknown, `outcome_unknown` is set: the
caller drops its memory and restores from the committed offsets.
"""

import math
from collections.abc import Callable, Collection, Container

import numpy as np
import numpy.typing as npt
import structlog

from consumer.kafka.config import transaction_timeout_ms
from consumer.kafka.errors import NOT_WRITTEN, TransactionAborted, TransactionLost
from consumer.kafka.protocols import GroupMetadata, Transactions
from consumer.observe.history import BucketHistory
from consumer.observe.metrics import WorkerMetrics
from consumer.observe.snapshot import OutputStatus
from consumer.output.summary_encoding import Encoder
from consumer.runtime.clocks import Clocks
from consumer.settings.model import Settings
from consumer.windows.partition import ClosedBuckets
from consumer.worker.checkpointing import StateWriter, WrittenCheckpoint
from consumer.worker.task import PartitionTask

SEND_AT_ONCE = 1_000
"""Summaries of all partitions encoded and sent together; fewer are sent when a commit is due."""

SEND_SLICE_S = 0.05
"""Time per turn for sending, so that a burst does not delay the next poll."""

OFFSETS_EVERY_S = 1.0
"""How long advanced offsets may wait for a commit when there is nothing to publish."""

LATE_S = 10.0
"""A commit that has been due for so long makes the worker unready."""

LOSSES_TOLD = 2
"""Transactions lost in a row without a commit, from which on the worker is not ready."""

RENEW_EVERY_S = 5.0
"""Between attempts to have a producer while there is nothing to publish."""

LEAVE_TIMEOUT_S = 20.0
"""Time-out of the commit in a revoke, checkpoints included; the group waits for it."""

SENDING = "output is still being sent"

_log = structlog.get_logger(__name__)

Partitions = Collection[PartitionTask]


class Publisher:
    """Fills and ends transactions; each holds the offsets of all owned partitions."""

    def __init__(
        self,
        settings: Settings,
        transactions: Transactions,
        state: StateWriter,
        encode: Encoder,
        group_metadata: Callable[[], GroupMetadata | None],
        metrics: WorkerMetrics,
        clocks: Clocks,
        message_bytes: int,
        history: BucketHistory | None = None,
    ) -> None:
        self._kafka = settings.kafka
        self._interval_s = settings.commit.interval_ms / 1000
        self._transactions = transactions
        self._state = state
        self._encode = encode
        self._group_metadata = group_metadata
        self._metrics = metrics
        self._clocks = clocks
        self._message_bytes = message_bytes
        self._history = history
        self._longest_open_s = transaction_timeout_ms(settings.kafka) / 2000
        self._last_commit_s = clocks.monotonic_s()
        self._open_since_s: float | None = None
        self._losses_in_a_row = 0
        self._last_loss = self._last_abort = ""
        self._not_written = self._told_not_written = False
        """Since the last commit."""
        self._waits_for = SENDING
        self._due_since_s: float | None = None
        """Since when a commit has been due."""
        self._last_commit_wall_s: float | None = None
        self._writing_s = 0.0
        """How long the last attempt wrote checkpoints and journals."""
        self._slow_checkpoints: dict[int, str] = {}
        """By partition, until a checkpoint of it is fast enough."""
        self._renew_at_s = 0.0
        self.outcome_unknown = False
        """The last transaction's outcome is unknown: memory must be dropped before anything is published."""

    @property
    def ready(self) -> bool:
        """Whether transactions can begin."""
        return self._transactions.ready

    @property
    def not_ready_reason(self) -> str:
        """Why transactions cannot begin; empty if they can."""
        return "" if self.ready else self._last_abort or "the next transaction initializes a new producer"

    def status(self, partitions: Partitions) -> OutputStatus:
        """What is pending and open, for metrics."""
        pending = sum(partition.outbox.pending for partition in partitions)
        unsent = sum(partition.outbox.unsent for partition in partitions)
        return OutputStatus(
            paused_partitions=sum(partition.paused for partition in partitions),
            pending_records=pending,
            pending_bytes=sum(partition.outbox.pending_bytes for partition in partitions),
            open_transaction_s=self.open_s,
            open_transaction_records=pending - unsent,
            last_commit_s=self._last_commit_wall_s,
        )

    @property
    def trouble(self) -> str:
        """Why commits do not go through; empty if they do. One loss alone may be a slow transaction."""
        if self._losses_in_a_row >= LOSSES_TOLD:
            return f"{self._losses_in_a_row} transactions in a row were lost, nothing is committed: {self._last_loss}"
        late_s = 0.0 if self._due_since_s is None else self._clocks.monotonic_s() - self._due_since_s
        if late_s >= LATE_S:
            return f"nothing has been committed for {late_s:.0f} s: {self._last_abort or self._waits_for}"
        return next(iter(self._slow_checkpoints.values()), "")

    @property
    def open_s(self) -> float:
        """Age of the open transaction in seconds; 0 if none is open."""
        return 0.0 if self._open_since_s is None else self._clocks.monotonic_s() - self._open_since_s

    def is_overdue(self) -> bool:
        """Whether the open transaction has to be committed before more is added: half its time-out has passed."""
        return self.open_s > self._longest_open_s

    def pop_not_written(self) -> bool:
        """Whether records were not written in time since the last commit; told once."""
        first = self._not_written and not self._told_not_written
        self._told_not_written |= first
        return first

    def wait_s(self, partitions: Partitions) -> float:
        """Seconds until a commit is due; infinite if there is nothing to commit."""
        if self._state.findings or any(not partition.outbox.empty for partition in partitions):
            every_s = self._interval_s
        elif any(partition.to_commit for partition in partitions):
            every_s = OFFSETS_EVERY_S
        else:
            return min((self._state.wait_s(each) for each in partitions if each.to_checkpoint), default=math.inf)
        return self._last_commit_s + every_s - self._clocks.monotonic_s()

    def is_sending(self, partitions: Partitions) -> bool:
        """Whether the next turn sends: much is waiting, a commit is due, or reading is paused until it is sent.

        Each call of the client library costs more than a few more records in it.
        """
        unsent = sum(partition.outbox.unsent for partition in partitions)
        if not unsent:
            return False
        return unsent >= SEND_AT_ONCE or any(each.paused for each in partitions) or self.wait_s(partitions) <= 0

    def publish_some(self, partitions: Partitions) -> None:
        """Send a slice of the pending output; commit when a commit is due and all is sent."""
        self._attempt(partitions, self._clocks.monotonic_s() + SEND_SLICE_S)
        if self.wait_s(partitions) > 0:
            self._due_since_s = None
            self._renew()
        elif self._due_since_s is None:
            self._due_since_s = self._clocks.monotonic_s()

    def _renew(self) -> None:
        """Have a producer for what comes: a worker without one is not ready, and it may have nothing to publish."""
        now_s = self._clocks.monotonic_s()
        if self.ready or self.outcome_unknown or now_s < self._renew_at_s:
            return
        try:
            self._transactions.renew()
        except TransactionAborted as error:
            self._tell_abort(str(error))
            self._renew_at_s = self._clocks.monotonic_s() + RENEW_EVERY_S

    def publish_all(self, partitions: Partitions, leaving: Container[int]) -> None:
        """Send and commit everything now, with checkpoints of leaving partitions.

        If that fails, their next owner processes the uncommitted records again.
        """
        for partition in partitions:
            partition.checkpoint_wanted |= partition.number in leaving and partition.to_checkpoint
        if any(partition.to_commit for partition in partitions):
            with self._transactions.time_limit(LEAVE_TIMEOUT_S):
                self._attempt(partitions, None)

    def abort(self, partitions: Partitions) -> None:
        """Abort the open transaction; output of owned partitions is sent again with the next commit."""
        try:
            self._transactions.abort()
        except TransactionLost as error:
            _log.warning("the transaction is left for the broker to abort", error=str(error))
        self._send_again(partitions)

    def close(self) -> None:
        """Close the producer."""
        self._transactions.close()

    def _attempt(self, partitions: Partitions, until_s: float | None) -> None:
        """Send until that time and commit if a commit is due; without a time send and commit everything."""
        if self.outcome_unknown:
            return  # the outboxes may be published already, or partly lost with the producer
        self._writing_s = 0.0
        try:
            if until_s is None or self.is_sending(partitions):
                self._send(partitions, until_s)
            if until_s is None or self._is_due(partitions):
                self._commit(partitions)
        except TransactionAborted as error:
            self._tell_abort(str(error))
            self._send_again(partitions)
            self._not_written |= error.error == NOT_WRITTEN
        except TransactionLost as error:
            _log.warning("it is not known what became of a transaction", error=str(error))
            self.outcome_unknown = True
            self._open_since_s = None
            self._losses_in_a_row += 1
            self._last_loss = str(error)
            if self._writing_s > self._longest_open_s:
                self._last_loss += f"; its checkpoints {self._too_slow(self._writing_s)}"

    def _tell_abort(self, error: str) -> None:
        """Log each reason once until a commit succeeds: while Kafka is away, there is one every few seconds."""
        if error != self._last_abort:
            _log.warning("transaction aborted, its records are sent again", error=error)
        self._last_abort = error

    def _send(self, partitions: Partitions, until_s: float | None) -> None:
        """Send all dead letters, and summaries until that time."""
        if self._open_since_s is None and any(partition.outbox.unsent for partition in partitions):
            self._open_since_s = self._clocks.monotonic_s()
        for partition in partitions:
            for dead_letters in partition.outbox.pop_dead_letters(self._message_bytes) or ():
                self._transactions.produce_columns(self._kafka.dead_letter_topic, dead_letters)
        while (until_s is None or self._clocks.monotonic_s() < until_s) and any(
            partition.outbox.unsent for partition in partitions
        ):
            self._transactions.produce_columns(self._kafka.output_topic, self._encode(*_pop_closed(partitions)))

    def _is_due(self, partitions: Partitions) -> bool:
        return not any(partition.outbox.unsent for partition in partitions) and self.wait_s(partitions) <= 0

    def _commit(self, partitions: Partitions) -> None:
        group = self._group_metadata()
        if group is None:
            # The next poll tells which partitions remain.
            self._waits_for = "the group is rebalancing, and waits for members that may no longer be alive"
            return
        self._waits_for = SENDING
        began_s = self._clocks.monotonic_s()
        try:
            self._state.write_all(partitions)
        finally:
            self._writing_s = self._clocks.monotonic_s() - began_s
        # All partitions' offsets, advanced or not: a transaction is fenced only for partitions whose offset it holds.
        offsets = {each.number: each.next_offset for each in partitions} | dict(self._state.write_findings())
        topic = self._kafka.input_topic
        self._transactions.commit({(topic, number): offset for number, offset in offsets.items()}, group)
        self._state.findings.clear()
        self._open_since_s = None
        self._losses_in_a_row = 0
        self._last_abort = ""
        self._not_written = self._told_not_written = False
        self._last_commit_wall_s = self._clocks.wall_s()
        ended_s = self._clocks.monotonic_s()
        # From begin to begin, but half of the interval is left for reading however long a commit takes.
        self._last_commit_s = max(began_s, ended_s - self._interval_s / 2)
        self._mark_committed(partitions, ended_s - began_s)

    def _mark_committed(self, partitions: Partitions, duration_s: float) -> None:
        closed_at_ms = [np.empty(0, np.int64)]
        for gone in self._slow_checkpoints.keys() - {partition.number for partition in partitions}:
            del self._slow_checkpoints[gone]
        for partition in partitions:
            checkpoint = self._state.mark_committed(partition)
            if checkpoint is not None:
                self._metrics.count_checkpoint(*checkpoint)
                self._note_if_slow(partition.number, checkpoint)
            published = partition.outbox.mark_committed()
            closed_at_ms.append(published.closed_at_ms)
            for reason, number in published.by_close_reason.items():
                self._metrics.count_summaries(reason, number)
            if self._history is not None:
                for closed in published.closed:
                    self._history.add(partition.number, *closed)
        fresh_ms = np.maximum(self._clocks.wall_ms() - np.concatenate(closed_at_ms), 0)
        self._metrics.observe_commit(duration_s, fresh_ms / 1000)

    def _note_if_slow(self, partition: int, checkpoint: WrittenCheckpoint) -> None:
        self._slow_checkpoints.pop(partition, None)
        if checkpoint.seconds <= self._longest_open_s:
            return
        what = f"partition {partition}: a checkpoint of {checkpoint.size_bytes:,} bytes"
        self._slow_checkpoints[partition] = f"{what} {self._too_slow(checkpoint.seconds)}"

    @staticmethod
    def _too_slow(seconds: float) -> str:
        return (
            f"took {seconds:.0f} s to send, more than half of transaction.timeout.ms; set kafka.client "
            f"transaction.timeout.ms to {math.ceil(seconds * 3) * 1000} or more"
        )

    def _send_again(self, partitions: Partitions) -> None:
        self._open_since_s = None
        for partition in partitions:
            partition.outbox.send_again()


def _pop_closed(partitions: Partitions) -> tuple[ClosedBuckets, npt.NDArray[np.int64]]:
    """The next summaries of all partitions to send together, and the partition of each."""
    stream_ids: list[bytes] = []
    rows: list[npt.NDArray[np.void]] = []
    numbers: list[int] = []
    for partition in partitions:
        while (room := SEND_AT_ONCE - len(stream_ids)) and (closed := partition.outbox.pop_closed(room)) is not None:
            stream_ids += closed.stream_ids
            rows.append(closed.rows)
            numbers += [partition.number] * len(closed)
    return ClosedBuckets(stream_ids, np.concatenate(rows)), np.array(numbers, np.int64)
