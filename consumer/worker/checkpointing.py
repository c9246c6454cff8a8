"""Write journals and checkpoints into the open transaction, together with the summaries they belong to."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from consumer.kafka.protocols import Transactions
from consumer.runtime.clocks import Clocks
from consumer.settings.model import Settings
from consumer.state.checkpoint import Checkpoint, Identity
from consumer.state.finding import Finding
from consumer.state.journal import MAX_BYTES, Journal
from consumer.state.keys import CHECKPOINT, FINDING, JOURNAL
from consumer.windows.partition import PartitionWindows
from consumer.windows.storage.checksum import Checksum
from consumer.windows.storage.store import PART_BYTES, ChangedRows
from consumer.worker.task import PartitionTask

LEAST_REPLAY_BYTES = 64 * 1024 * 1024
REPLAY_TO_STATE = 4
"""A checkpoint is written early once a replay would read more than this many bytes and this many times the state."""


SPREAD = 0.25
_GOLDEN_RATIO = 0.618034
"""Its multiples are spread evenly over [0, 1)."""


class WrittenCheckpoint(NamedTuple):
    """A committed checkpoint."""

    rows: int
    """State records of rows."""
    size_bytes: int
    seconds: float
    """To encode it and hand it to the client library."""


class StateWriter:
    """Writes state records into the open transaction; call `mark_committed` after the commit."""

    def __init__(
        self,
        settings: Settings,
        identity: Identity,
        transactions: Transactions,
        clocks: Clocks,
        findings: dict[int, Finding],
        message_bytes: int,
    ) -> None:
        self.findings = findings
        """What replays have shown, by stopped partition; the next commit holds it. Cleared after the commit."""
        self.identity = identity
        """Written into checkpoints; replaced if the input topic was created again."""
        self._topic = settings.kafka.state_topic
        self._interval_s = settings.commit.checkpoint_interval_ms / 1000
        self._part_bytes = min(PART_BYTES, message_bytes // 2)
        self._transactions = transactions
        self._clocks = clocks
        self._written: dict[int, tuple[ChangedRows, WrittenCheckpoint]] = {}

    def wait_s(self, partition: PartitionTask) -> float:
        """Seconds until a checkpoint is due by age: up to a quarter earlier than the interval, by partition.

        Partitions that were restored together would write their checkpoints together for ever.
        """
        interval_s = self._interval_s * (1 - SPREAD * (partition.number * _GOLDEN_RATIO % 1))
        return partition.checkpoint_s + interval_s - self._clocks.monotonic_s()

    def is_due(self, partition: PartitionTask) -> bool:
        """Whether the next commit must be a checkpoint of this partition."""
        if not partition.to_checkpoint:
            return False
        if partition.checkpoint == 0 or partition.checkpoint_wanted or self.wait_s(partition) <= 0:
            return True
        replay_bytes = partition.processed_bytes
        # The size of the state takes a while, and is rarely needed.
        return (
            replay_bytes > LEAST_REPLAY_BYTES and replay_bytes > REPLAY_TO_STATE * partition.windows.stats().state_bytes
        )

    def write_all(self, partitions: Iterable[PartitionTask]) -> None:
        """Add the journals of partitions with something to commit, and the checkpoints that are due.

        Raises:
            TransactionAborted, TransactionLost, ViewerConsumerError: as the transaction's `produce`.
        """
        self._written.clear()  # leftovers of an aborted transaction
        for partition in partitions:
            if partition.to_commit or self.is_due(partition):
                self._write(partition)

    def _write(self, partition: PartitionTask) -> None:
        if not self.is_due(partition):
            published = partition.windows.published_checksum()
            value = partition.journal.encoded(partition.checkpoint, partition.next_offset, published)
            if len(value) <= MAX_BYTES:
                self._produce(partition, JOURNAL, value)
                return
        self._write_checkpoint(partition)

    def write_findings(self) -> Mapping[int, int]:
        """Add the findings of stopped partitions; return their offsets, which stay what they are.

        A transaction is fenced only for partitions whose offset it holds.

        Raises:
            TransactionAborted, TransactionLost, ViewerConsumerError: as the transaction's `produce`.
        """
        for partition, finding in self.findings.items():
            self._transactions.produce(self._topic, FINDING, finding.encoded(), None, partition)
        return {partition: finding.next_offset for partition, finding in self.findings.items()}

    def mark_committed(self, partition: PartitionTask) -> WrittenCheckpoint | None:
        """Apply the commit to the partition; return its checkpoint, or None if it held none."""
        partition.committed_offset = partition.next_offset
        partition.journal_changed = False
        written = self._written.pop(partition.number, None)
        if written is None:
            return None
        changed, checkpoint = written
        partition.windows.mark_stored(changed)
        partition.windows.reset_published_checksum()
        partition.journal = Journal()
        partition.checkpoint += 1
        partition.checkpoint_s = self._clocks.monotonic_s()
        partition.checkpoint_wanted = False
        partition.processed_bytes = 0
        return checkpoint

    def _write_checkpoint(self, partition: PartitionTask) -> None:
        began_s = self._clocks.monotonic_s()
        changed = partition.windows.changed_rows(self._part_bytes)
        records = changed.records
        self._transactions.produce_all(self._topic, records, partition.number)
        number = partition.checkpoint + 1
        self._produce(partition, JOURNAL, Journal().encoded(number, partition.next_offset, Checksum(0, 0)))
        self._produce(partition, CHECKPOINT, self._checkpoint(partition, partition.windows, changed, number).encoded())
        size_bytes = sum(len(key) + len(value or b"") for key, value in records)
        written = WrittenCheckpoint(len(records), size_bytes, self._clocks.monotonic_s() - began_s)
        self._written[partition.number] = changed, written

    def _checkpoint(
        self, partition: PartitionTask, windows: PartitionWindows, changed: ChangedRows, number: int
    ) -> Checkpoint:
        return Checkpoint(
            number=number,
            next_offset=partition.next_offset,
            times=windows.times(),
            hash_key=windows.hash_key,
            rows=changed.all_rows,
            settings=partition.result_settings,
            rules_version=partition.rules_version,
            identity=self.identity,
            written_ms=self._clocks.wall_ms(),
            jump=windows.jump,
            pending_settings=partition.pending_settings,
        )

    def _produce(self, partition: PartitionTask, key: bytes, value: bytes) -> None:
        self._transactions.produce(self._topic, key, value, None, partition.number)
