"""Hold back records that cannot be processed yet: their schema is not available, or they are ahead of the clock.

A partition whose records wait for a schema is not read meanwhile. One that waits for the clock is read on, since only
further records can tell a wrong clock of this machine from a wrong one of a producer.
"""

from collections.abc import Mapping

import numpy as np
import structlog

from consumer.intake.intake import Decoded
from consumer.intake.rejects import WAITING
from consumer.intake.vm.interpreter import NO_KAFKA_TIMESTAMP
from consumer.kafka.batch import Batch, Run, batch_of_records
from consumer.kafka.protocols import LiveReader
from consumer.runtime.clocks import Clocks
from consumer.worker.clock_wait import HELD_MOST
from consumer.worker.task import PartitionTask
from consumer.worker.wait_log import WaitLog

_log = structlog.get_logger(__name__)


class RecordHolder:
    """Decides which records of a run wait, and keeps them in `PartitionTask.held`."""

    def __init__(self, source: LiveReader, clocks: Clocks, max_future_ms: int) -> None:
        self._input = source
        self._clocks = clocks
        self._max_future_ms = max_future_ms
        self._wait_log = WaitLog(clocks.monotonic_s)

    def hold_back(self, partition: PartitionTask, batch: Batch, decoded: Decoded, run: Run) -> tuple[Decoded, int]:
        """Hold back the records that wait; called once for each run, with nothing held of its partition.

        Returns what was decoded, with the records rejected that turn out to be ahead of their time, and where the run
        ends for now.
        """
        if decoded.waiting >= run.end and not decoded.ahead and partition.ahead.is_past:
            return decoded, run.end  # the usual case
        waited_for_schema, partition.held_for_schema, partition.waiting_reason = partition.held_for_schema, False, ""
        if run.begin >= run.end:
            return decoded, run.begin
        seen_to, kept = partition.ahead.seen_to, _until_dropped(partition, batch, run)
        decoded, end = self._compare_with_clock(partition, batch, decoded, run)
        end = min(end, kept.end)
        waiting = np.flatnonzero(decoded.events.reject[run.begin : end] == WAITING)
        if len(waiting):
            end = run.begin + int(waiting[0])
            _keep(partition, batch, range(end, kept.end))
            self._hold_for_schema(partition, decoded.waiting_reason(end))
        elif end < kept.end:
            self._hold_for_clock(partition, batch, run, range(end, kept.end), seen_to)
            if waited_for_schema:
                self.read_on(partition)
        elif partition.ahead.dropped_from is not None:
            partition.read_again = True
        return decoded, end

    def read_on(self, partition: PartitionTask) -> None:
        """Resume the reader if it was paused for what was held."""
        if partition.reading_paused:
            self._input.resume([partition.number])
            partition.reading_paused = False

    def read_again(self, tasks: Mapping[int, PartitionTask]) -> None:
        """Go back to the records that were read but not kept, where all before them are processed."""
        for task in tasks.values():
            if task.read_again:
                task.forget_read()
                self._input.begin(task.number, task.next_offset)

    def clock_waits(self, tasks: Mapping[int, PartitionTask]) -> list[str]:
        """Why partitions wait for this machine's clock, a sentence for each; each wait is logged once."""
        now_s, reasons = self._clocks.monotonic_s(), []
        for task in tasks.values():
            wait = task.ahead.wait
            if wait is None or not wait.is_shown(now_s):
                continue
            if wait.is_over(now_s) and not task.held and not task.paused:
                task.ahead.wait = None
                continue
            reasons.append(wait.reason(task.number, self._max_future_ms, self._clocks.wall_ms()))
            if not wait.logged:
                wait.logged = True
                _log.warning("partition waits", partition=task.number, reason=reasons[-1])
        return reasons

    def _compare_with_clock(
        self, partition: PartitionTask, batch: Batch, decoded: Decoded, run: Run
    ) -> tuple[Decoded, int]:
        rows = slice(run.begin, run.end)
        stamps_ms = batch.timestamps_ms[rows]
        future, number = partition.ahead.look_at(
            decoded.clock[rows],
            batch.offsets[rows],
            np.where(stamps_ms == NO_KAFKA_TIMESTAMP, decoded.events.timestamp_ms[rows], stamps_ms),
            self._clocks.monotonic_s(),
            decoded.wall_clock_ms,
            self._max_future_ms,
        )
        if len(future):
            decoded = decoded.with_future(run.begin + future)
        return decoded, run.begin + number

    def _hold_for_schema(self, partition: PartitionTask, reason: str) -> None:
        partition.held_for_schema = True
        self._stop_reading(partition)
        partition.waiting_reason = reason
        self._wait_log.note(partition.number, reason)

    def _hold_for_clock(self, partition: PartitionTask, batch: Batch, run: Run, rows: range, seen_to: int) -> None:
        kept = _keep(partition, batch, rows)
        if kept.stop < run.end and batch.offsets[run.end - 1] < seen_to:
            self._stop_reading(partition)  # these were compared before, and tell nothing new

    def _stop_reading(self, partition: PartitionTask) -> None:
        self._input.pause([partition.number])
        partition.reading_paused = True


def hold_behind(partition: PartitionTask, batch: Batch, run: Run) -> None:
    """Hold a run of a partition whose earlier records of the same batch wait."""
    run = _until_dropped(partition, batch, run)
    _keep(partition, batch, range(run.begin, run.end))


def _keep(partition: PartitionTask, batch: Batch, rows: range) -> range:
    """Hold these rows behind what is held; those that are too many are read again later. Returns the held ones."""
    kept = rows[: max(0, HELD_MOST - len(partition.held))]
    partition.held.extend(batch.records(kept.start, kept.stop))
    if kept.stop < rows.stop:
        partition.ahead.dropped_from = int(batch.offsets[kept.stop])
    return kept


def _until_dropped(partition: PartitionTask, batch: Batch, run: Run) -> Run:
    """The run up to the records that were read but not kept: those behind them do not follow on what is held."""
    if partition.ahead.dropped_from is None:
        return run
    kept = int(np.searchsorted(batch.offsets[run.begin : run.end], partition.ahead.dropped_from))
    return run._replace(end=run.begin + kept)


def behind_held(batch: Batch, tasks: Mapping[int, PartitionTask]) -> Batch:
    """The batch, with records that are held for the clock before those that follow on them."""
    read = {run.partition for run in batch.runs}
    followed = [
        task
        for task in tasks.values()
        if task.ahead.wait is not None and task.held and not task.paused and task.number in read
    ]
    if not followed:
        return batch
    new = batch.records(0, len(batch))
    numbers = {task.number for task in followed}
    records = [record for record in new if record.partition not in numbers]
    for task in followed:
        records += [*task.held, *(record for record in new if record.partition == task.number)]
        task.held.clear()
    return batch_of_records(records)
