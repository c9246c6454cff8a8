"""Replay records from a checkpoint to the journal's offset, with all outputs muted.

A replay decides nothing anew: journalled rejects are skipped, journalled clock steps are applied where they happened,
and in the end the same summaries must result.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from consumer.intake.framing import SCHEMA_HEADER
from consumer.intake.intake import Decoded, Intake
from consumer.intake.rejects import IGNORED, WAITING
from consumer.kafka.batch import Batch
from consumer.state.consistency import StateInconsistent
from consumer.state.journal import Journal, JournalRecord
from consumer.windows.partition import PartitionWindows

NO_CLOCK_MS = 2**53
"""A wall clock that no record is ahead of: what was rejected by the clock is in the journal."""

_JOURNALLED = 253
"""Marks journalled rejects in `EventColumns.reject`."""


class ReplayFailed(StateInconsistent):
    """The replay differs from what was published, so the partition must not continue."""

    def __init__(self, partition: int, what: str) -> None:
        super().__init__(partition, f"the replay does not give what was published before: {what}")


class Replay:
    """Processes a partition's records up to the journal's offset."""

    def __init__(
        self,
        partition: int,
        intake: Intake,
        windows: PartitionWindows,
        next_offset: int,
        journal: JournalRecord,
        *,
        reads_headers: bool,
        reads_keys: bool,
        clamps: bool,
        skips_negative: bool,
    ) -> None:
        self.windows = windows
        self.next_offset = next_offset
        self.journal = journal
        self.replayed = 0
        """Records."""
        self.processed_bytes = 0
        self._partition = partition
        self._intake = intake
        self._awaited: int | None = None
        """The reference of the schema that it waits for."""
        self._first_offset: int | None = None
        self._steps = list(journal.journal.steps)
        self._reads_headers = reads_headers
        self._reads_keys = reads_keys
        self._clamps = clamps
        self._skips_negative = skips_negative

    @property
    def complete(self) -> bool:
        """Whether all records up to the journal's offset were processed."""
        return self.next_offset >= self.journal.next_offset or (self.journal.counts_records and not self._left)

    @property
    def waits(self) -> bool:
        """Whether it waits for a schema. Records received meanwhile are dropped and must be read again."""
        return self._awaited is not None

    @property
    def waiting_reason(self) -> str:
        """Why it waits, for messages; empty if it does not, or only began to."""
        return "" if self._awaited is None else self._intake.waiting_reason(self._awaited)

    def stop_waiting(self) -> bool:
        """Stop waiting if the schema is available by now; return whether it is."""
        if self._awaited is None or not self._intake.is_available(self._awaited):
            return False
        self._awaited = None
        return True

    @property
    def _left(self) -> int:
        """Number of records still to be processed."""
        return self.journal.journal.records - self.replayed

    def receive(self, batch: Batch) -> None:
        """Process the next records, in order; ignore those from the journal's offset on.

        Raises:
            ReplayFailed: a record cannot be decoded that could before.
        """
        begin, end = np.searchsorted(batch.offsets, (self.next_offset, self.journal.next_offset)).tolist()
        if begin == end or self.waits:
            return
        headers = batch.header(SCHEMA_HEADER) if self._reads_headers else None
        keys = batch.key_column() if self._reads_keys else None
        decoded = self._intake.decode(
            batch.values,
            batch.timestamps_ms,
            NO_CLOCK_MS,
            headers,
            keys,
            clamps=self._clamps,
            skips_negative=self._skips_negative,
        )
        reject = decoded.events.reject
        reject[self.journal.journal.rejects.among(batch.offsets)] = _JOURNALLED
        end = self._until_it_waits(decoded, begin, end)
        self._refuse_new_rejects(batch.offsets, reject, begin, end)
        self._apply(decoded, batch.offsets, begin, end)

    def finish(self) -> None:
        """Finish after the last record: apply the remaining clock steps and compare the digest.

        Raises:
            ReplayFailed: other summaries came out than were published, or from another number of records.
        """
        if self.journal.counts_records and self._left:
            raise ReplayFailed(self._partition, self._missing())
        self.next_offset = self.journal.next_offset
        self._step_until(self.journal.next_offset)
        self.windows.pop_closed()
        came, published = self.windows.published_checksum(), self.journal.published
        if came != published:
            raise ReplayFailed(
                self._partition,
                f"{came.count} summaries with digest {came.digest:016x} instead of {published.count} with "
                f"{published.digest:016x}",
            )

    def continued_journal(self) -> Journal:
        """The journal to continue with; where the stored one does not count records, the replay has counted them."""
        stored = self.journal.journal
        if self.journal.counts_records:
            return stored
        return replace(stored, first_offset=self._first_offset, records=self.replayed)

    def check_there_is_more(self, reached: int) -> None:
        """Check that the records to be replayed still exist.

        Args:
            reached: all existing records below this offset were processed.

        Raises:
            ReplayFailed: some are missing.
        """
        if reached >= self.journal.next_offset and not self.complete and not self.waits:
            raise ReplayFailed(self._partition, self._missing())

    def _missing(self) -> str:
        gone = f"records from offset {self.next_offset} to {self.journal.next_offset} are gone"
        if not self.journal.counts_records:
            return gone
        expected = self.journal.journal.records
        return f"{self.replayed:,} of {expected:,} records are there, the others were deleted or compacted"

    def _until_it_waits(self, decoded: Decoded, begin: int, end: int) -> int:
        waiting = np.flatnonzero(decoded.events.reject[begin:end] == WAITING)
        if not len(waiting):
            return end
        end = begin + int(waiting[0])
        self._awaited = int(decoded.references[end])
        return end

    def _refuse_new_rejects(
        self, offsets: npt.NDArray[np.int64], reject: npt.NDArray[np.uint8], begin: int, end: int
    ) -> None:
        rejected = reject[begin:end]
        new = np.flatnonzero((rejected != 0) & (rejected != _JOURNALLED) & (rejected != IGNORED))
        if len(new):
            offset = int(offsets[begin + int(new[0])])
            raise ReplayFailed(self._partition, f"the record at offset {offset} cannot be decoded any more")

    def _apply(self, decoded: Decoded, offsets: npt.NDArray[np.int64], begin: int, end: int) -> None:
        """Process records up to the next clock step at a time."""
        edges = [begin]
        for step in self._steps:
            at = begin + int(np.searchsorted(offsets[begin:end], step.before_offset))
            if at >= end:
                break
            edges.append(at)
        for first, last in pairwise([*edges, end]):
            if first == last:
                continue
            self._step_until(int(offsets[first]))
            self.windows.apply(decoded.events, first, last, offsets)
            self.windows.pop_closed()
        self.next_offset = int(offsets[end - 1]) + 1 if end > begin else self.next_offset
        if end > begin and self._first_offset is None:
            self._first_offset = int(offsets[begin])
        self.replayed += end - begin
        self.processed_bytes += len(decoded.events.text) * (end - begin) // len(offsets)

    def _step_until(self, offset: int) -> None:
        """Apply the clock steps that came before the record at that offset."""
        while self._steps and self._steps[0].before_offset <= offset:
            step = self._steps.pop(0)
            self.windows.step(step.to_ms, step.before_offset)
