"""Foretell what a worker will do with records that are sent to the input again, by its settings and stored state."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from consumer.errors import ViewerConsumerError
from consumer.intake.framing import SCHEMA_HEADER
from consumer.intake.intake import Decoded, Intake, reads_headers, reads_keys
from consumer.intake.rejects import IGNORED, Reject
from consumer.kafka.batch import first_header
from consumer.kafka.deadline import Deadline
from consumer.kafka.record import OutgoingRecord
from consumer.runtime.clocks import Clocks
from consumer.runtime.joined import joined
from consumer.settings.model import Settings
from consumer.settings.window_rules import window_rules
from consumer.state import checkpoint as checkpoints
from consumer.state import journal as journals
from consumer.state.checkpoint import Checkpoint, Identity
from consumer.state.consistency import StateInconsistent, check_identity, check_settings
from consumer.state.contents import Contents
from consumer.state.journal import StateError
from consumer.state.result_settings import result_settings_of
from consumer.state.stored_windows import loaded_windows
from consumer.windows.partition import PartitionWindows
from consumer.windows.process import ACCEPTED, REJECTED, STREAM_LIMIT
from consumer.windows.storage.batch import RowError

COUNTED = ""
"""The outcome of a record that will be counted."""
CLOSED = "their bucket is closed"
IS_IGNORED = "ignored by these settings"
_REJECTED = "rejected again by these settings: {}"

_SCHEMAS_WITHIN_S = 15.0
_PAUSE_S = 0.05


class _Partition(NamedTuple):
    windows: PartitionWindows
    as_of_ms: int | None
    """When its checkpoint was written; None if there is none."""


class Preview:
    """Decodes records by the settings, and applies them to the windows that each partition has stored.

    So the rules of lateness are those of the worker: by the stream's own time and by the idle watermark, and records
    that are sent before count too. Windows are as of the last checkpoint, with the steps of the clock since: what is
    closed there stays closed; a bucket that closed later counts as open, and the worker drops its events as late. The
    windows of each partition that has records are in memory, as in a worker.

    Args:
        read_contents: reads the stored state of a partition.
        identity: of the cluster and the topic; state of others is refused.
        settings: those in force.
        intake: decodes by these settings.
        clocks: for schemas that are looked up, and the age of checkpoints.
    """

    def __init__(
        self,
        read_contents: Callable[[int], Contents],
        identity: Identity,
        settings: Settings,
        intake: Intake,
        clocks: Clocks | None = None,
    ) -> None:
        self._read_contents = read_contents
        self._identity = identity
        self._settings = settings
        self._intake = intake
        self._clocks = clocks or Clocks()
        self._partitions: dict[int, _Partition] = {}

    def outcomes(self, partition: int, records: Sequence[OutgoingRecord]) -> list[str]:
        """What will become of the next records of a partition, in order: `COUNTED`, or why they will not count.

        Raises:
            ViewerConsumerError: the state cannot be read, or a schema cannot be looked up.
        """
        windows = self._opened(partition).windows
        decoded = self._decoded(records)
        status = windows.apply(decoded.events, 0, len(records), np.zeros(len(records), np.int64))
        windows.pop_closed()  # nobody publishes them
        return [self._outcome(decoded, row, int(code)) for row, code in enumerate(status)]

    def oldest_s(self) -> float | None:
        """The age of the oldest checkpoint that was asked; None if there was none."""
        written = [each.as_of_ms for each in self._partitions.values() if each.as_of_ms is not None]
        return max(0.0, self._clocks.wall_s() - min(written) / 1000) if written else None

    def _outcome(self, decoded: Decoded, row: int, status: int) -> str:
        if status == ACCEPTED:
            return COUNTED
        if status == STREAM_LIMIT:
            return _REJECTED.format(Reject.STREAM_LIMIT.label)
        if status != REJECTED:
            return CLOSED
        reject = int(decoded.events.reject[row])
        return IS_IGNORED if reject == IGNORED else _REJECTED.format(Reject(reject).label)

    def _decoded(self, records: Sequence[OutgoingRecord]) -> Decoded:
        """Decode, and wait until the schemas that the records name were looked up."""
        source, now_ms = self._settings.input, self._clocks.wall_ms()
        values = joined([record.value for record in records])
        keys = joined([record.key for record in records]) if reads_keys(source) else None
        named = [first_header(record.headers, SCHEMA_HEADER) for record in records] if reads_headers(source) else None
        timestamps_ms = [now_ms if record.timestamp_ms is None else record.timestamp_ms for record in records]
        deadline = Deadline.after(_SCHEMAS_WITHIN_S, self._clocks.monotonic_s)
        while True:
            headers = None if named is None else joined(named)
            decoded = self._intake.decode(values, timestamps_ms, now_ms, headers, keys)
            if decoded.waiting == len(records):
                return decoded
            if deadline.passed:
                reason = decoded.waiting_reason(decoded.waiting) or "the schema registry has not answered in time"
                raise ViewerConsumerError(f"can't say which buckets are closed: {reason}; --force sends without it")
            time.sleep(_PAUSE_S)

    def _opened(self, partition: int) -> _Partition:
        if partition not in self._partitions:
            contents = self._read_contents(partition)
            try:
                self._partitions[partition] = self._loaded(partition, contents)
            except StateInconsistent as error:
                raise ViewerConsumerError(error.message(self._settings.command)) from None
            except (StateError, RowError) as error:
                look = self._settings.command("state check")
                raise ViewerConsumerError(f"partition {partition}: {error}; look at it with: {look}") from None
        return self._partitions[partition]

    def _loaded(self, partition: int, contents: Contents) -> _Partition:
        rules = window_rules(self._settings.windows)
        if contents.checkpoint is None:
            return _Partition(PartitionWindows(rules, (0, 0)), None)
        checkpoint = checkpoints.decoded(contents.checkpoint)
        check_identity(partition, checkpoint.identity, self._identity)
        check_settings(partition, checkpoint.settings, result_settings_of(self._settings))
        windows, _ = loaded_windows(checkpoint, self._settings, list(contents.rows.items()))
        _run_on(windows, checkpoint, contents.journal)
        windows.change_rules(rules, 0)
        windows.pop_closed()
        return _Partition(windows, checkpoint.written_ms)


def _run_on(windows: PartitionWindows, checkpoint: Checkpoint, stored: bytes | None) -> None:
    """Finish a cut jump, and take the steps of the clock since the checkpoint."""
    if checkpoint.jump is not None:
        windows.restore_jump(checkpoint.jump)
        windows.continue_jump()
    journal = None if stored is None else journals.decoded(stored)
    if journal is not None and journal.checkpoint == checkpoint.number and journal.journal.steps:
        windows.step(journal.journal.steps[-1].to_ms, 0)
