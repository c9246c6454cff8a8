"""Publish: send the outboxes a slice at a time, then commit them together with state and input offsets.

After an abort the outboxes are sent again. If the outcome of a transaction is unknown, `outcome_unknown` is set: the
caller drops its memory and restores from the committed offsets.
"""

import math
from collections.abc import Callable, Collection, Container, Iterable

import numpy as np
import structlog

from consumer.kafka.errors import TransactionAborted, TransactionLost
from consumer.kafka.protocols import GroupMetadata, Transactions
from consumer.observe.metrics import WorkerMetrics
from consumer.output.summary import Encoder, Origin
from consumer.runtime.clocks import Clocks
from consumer.settings.model import Settings
from consumer.worker.checkpointing import StateWriter
from consumer.worker.task import PartitionTask

SEND_AT_ONCE = 5_000
"""Summaries a turn, so that 100,000 buckets that close together don't keep the loop from polling."""

OFFSETS_EVERY_S = 1.0
"""How long moved offsets may wait for a commit when there is nothing to publish."""

LEAVE_WITHIN_S = 20.0
"""So long may the last commit of partitions that go take, its checkpoint included; the group waits for it."""

_log = structlog.get_logger(__name__)

Partitions = Collection[PartitionTask]


class Publisher:
    """Fills and ends transactions; speaks for all partitions owned in each of them."""

    def __init__(
        self,
        settings: Settings,
        transactions: Transactions,
        state: StateWriter,
        encode: Encoder,
        group_metadata: Callable[[], GroupMetadata | None],
        metrics: WorkerMetrics,
        clocks: Clocks,
    ) -> None:
        self._kafka = settings.kafka
        self._windows = settings.windows
        self._interval_s = settings.commit.interval_ms / 1000
        self._transactions = transactions
        self._state = state
        self._encode = encode
        self._group_metadata = group_metadata
        self._metrics = metrics
        self._clocks = clocks
        self._last_commit_s = clocks.monotonic_s()
        self.outcome_unknown = False
        """Of the last transaction; memory is of no more use, and nothing is published until this is False again."""

    @property
    def ready(self) -> bool:
        """Transactions can begin."""
        return self._transactions.ready

    def wait_s(self, partitions: Partitions) -> float:
        """How long until a commit is due; without end where there is nothing to commit."""
        if any(not partition.outbox.empty for partition in partitions):
            every_s = self._interval_s
        elif any(partition.to_commit for partition in partitions):
            every_s = OFFSETS_EVERY_S
        else:
            return min((self._state.wait_s(each) for each in partitions if each.to_checkpoint), default=math.inf)
        return self._last_commit_s + every_s - self._clocks.monotonic_s()

    def publish_some(self, partitions: Partitions) -> None:
        """Send a slice of what waits, and commit when it is time and all is sent."""
        self._attempt(partitions, SEND_AT_ONCE)

    def publish_all(self, partitions: Partitions, leaving: Container[int]) -> None:
        """Send and commit all there is, now, with checkpoints of those that leave.

        Where that fails, their next owner takes again what is not committed.
        """
        for partition in partitions:
            partition.checkpoint_wanted |= partition.number in leaving and partition.to_checkpoint
        if any(partition.to_commit for partition in partitions):
            with self._transactions.time_limit(LEAVE_WITHIN_S):
                self._attempt(partitions, None)

    def take_back(self, partitions: Partitions) -> None:
        """Abort what is open; what stays owned goes out again with the next commit."""
        try:
            self._transactions.abort()
        except TransactionLost as error:
            _log.warning("the transaction is left for the broker to abort", error=str(error))
        _send_again(partitions)

    def close(self) -> None:
        """Let go of the producer."""
        self._transactions.close()

    def _attempt(self, partitions: Partitions, most: int | None) -> None:
        if self.outcome_unknown:
            return  # the outboxes may be published, or half of them may be gone with the producer
        try:
            self._send(partitions, most)
            if most is None or self._is_due(partitions):
                self._commit(partitions)
        except TransactionAborted as error:
            _log.warning("transaction aborted, its records are sent again", error=str(error))
            _send_again(partitions)
        except TransactionLost as error:
            _log.warning("it is not known what became of a transaction", error=str(error))
            self.outcome_unknown = True

    def _send(self, partitions: Partitions, most: int | None) -> None:
        """Send all dead letters, and up to so many summaries or all there are."""
        left = most
        for partition in partitions:
            letters = partition.outbox.take_dead_letters()
            if letters is not None:
                self._transactions.produce_with_headers(self._kafka.dead_letter_topic, letters)
            while left is None or left > 0:
                closed = partition.outbox.take_closed(SEND_AT_ONCE if left is None else left)
                if closed is None:
                    break
                records = self._encode(closed, self._origin(partition))
                self._transactions.produce_all(self._kafka.output_topic, records)
                left = None if left is None else left - len(closed)

    def _is_due(self, partitions: Partitions) -> bool:
        return not any(partition.outbox.unsent for partition in partitions) and self.wait_s(partitions) <= 0

    def _commit(self, partitions: Partitions) -> None:
        group = self._group_metadata()
        if group is None:
            return  # the group moves on; the next poll tells what of it is still ours
        began_s = self._clocks.monotonic_s()
        self._state.write_all(partitions)
        # The offsets of all, moved or not: a transaction without a partition's offset is not fenced for it.
        offsets = {(self._kafka.input_topic, each.number): each.next_offset for each in partitions}
        self._transactions.commit(offsets, group)
        self._last_commit_s = self._clocks.monotonic_s()
        self._settle(partitions, self._last_commit_s - began_s)

    def _settle(self, partitions: Iterable[PartitionTask], duration_s: float) -> None:
        closed_at_ms = [np.empty(0, np.int64)]
        for partition in partitions:
            rows = self._state.mark_committed(partition)
            if rows is not None:
                self._metrics.count_checkpoint(rows)
            published = partition.outbox.mark_committed()
            closed_at_ms.append(published.closed_at_ms)
            for reason, number in published.by_close_reason.items():
                self._metrics.count_summaries(reason, number)
        fresh_ms = np.maximum(self._clocks.wall_ms() - np.concatenate(closed_at_ms), 0)
        self._metrics.observe_commit(duration_s, fresh_ms / 1000)

    def _origin(self, partition: PartitionTask) -> Origin:
        return Origin(self._windows.bucket_ms, self._windows.counting, self._kafka.input_topic, partition.number)


def _send_again(partitions: Partitions) -> None:
    for partition in partitions:
        partition.outbox.send_again()
