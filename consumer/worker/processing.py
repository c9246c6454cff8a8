"""Process records: decode them into columns, apply them to the windows, and turn rejected records into dead letters.

After each run of records of one partition, windows, outbox, journal and next offset agree. Such a consistent cut may be
committed.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import structlog

from consumer.intake.framing import SCHEMA_HEADER
from consumer.intake.intake import Decoded, Intake, RejectDetail, reads_headers, reads_keys
from consumer.intake.rejects import IGNORED, WAITING, Reject
from consumer.kafka.batch import Batch, Run, batch_of_records
from consumer.kafka.protocols import LiveReader
from consumer.observe.metrics import WorkerMetrics
from consumer.output.dead_letter import Cause, rejected_records
from consumer.runtime.clocks import Clocks
from consumer.settings.model import Settings
from consumer.windows.events import count_facts
from consumer.windows.process import ACCEPTED, LATE, LATE_CLAMPED, LATE_IDLE, REJECTED, STATUSES, STREAM_LIMIT
from consumer.worker.holding import RecordHolder, behind_held, hold_behind
from consumer.worker.reject_log import Example, RejectLog
from consumer.worker.task import PartitionTask

BATCH = 16_000
"""Records per batch: what a turn costs in Python is shared by them; more take more memory."""

HELD_RETRY_S = 0.25

_log = structlog.get_logger(__name__)


class RecordProcessor:
    """Processes records of owned partitions.

    Holds back those whose schema is not available yet, and those that are ahead of this machine's clock.
    """

    def __init__(
        self, settings: Settings, intake: Intake, source: LiveReader, metrics: WorkerMetrics, clocks: Clocks
    ) -> None:
        self._kafka = settings.kafka
        self._reads_headers = reads_headers(settings.input)
        self._reads_keys = reads_keys(settings.input)
        self._intake = intake
        self._input = source
        self._metrics = metrics
        self._clocks = clocks
        self._last_retry_s = clocks.monotonic_s()
        self._uses_breaker = settings.input.breaker
        self.holder = RecordHolder(source, clocks, settings.input.max_future_ms)
        self._counted_to: dict[int, int] = {}
        """By partition: the offset behind the last record that the counters have."""
        self._seen_answers = 0
        self.reject_log = RejectLog(settings.kafka.input_topic, clocks.monotonic_s)
        self.tripped: dict[int, str] = {}
        """Partitions whose circuit breaker has opened, with the reason; the caller drops their memory uncommitted."""

    def process(self, batch: Batch, tasks: Mapping[int, PartitionTask]) -> frozenset[int]:
        """Process records; skip those of partitions that this worker does not own.

        Returns the partitions that had records.
        """
        if not len(batch):
            return frozenset()
        batch = behind_held(batch, tasks)
        headers = batch.header(SCHEMA_HEADER) if self._reads_headers else None
        keys = batch.key_column() if self._reads_keys else None
        decoded = self._intake.decode(batch.values, batch.timestamps_ms, self._clocks.wall_ms(), headers, keys)
        for run in batch.runs:
            partition = tasks.get(run.partition)
            if partition is None or run.partition in self.tripped:
                continue  # read before the partition was revoked; its next owner reads it again
            if partition.paused or partition.read_again:
                continue  # read again from its next offset
            if partition.held:
                hold_behind(partition, batch, run)
                continue
            self._process_run(partition, batch, decoded, run)
        self.holder.read_again(tasks)
        return frozenset(run.partition for run in batch.runs)

    def process_held(self, tasks: Mapping[int, PartitionTask]) -> None:
        """Process again the records that wait for a schema or for the clock.

        When a look-up has ended, or `HELD_RETRY_S` have passed.
        """
        now_s = self._clocks.monotonic_s()
        waiting = [partition for partition in tasks.values() if partition.held and not partition.paused]
        if not waiting:
            return
        if now_s - self._last_retry_s < HELD_RETRY_S and self._intake.answered == self._seen_answers:
            return
        self._last_retry_s, self._seen_answers = now_s, self._intake.answered
        for partition in waiting:
            held, partition.held = partition.held, []
            self.process(batch_of_records(held), tasks)
            if not partition.held:
                partition.waiting_reason = ""
                if not partition.paused:
                    self.holder.read_on(partition)

    def _process_run(self, partition: PartitionTask, batch: Batch, decoded: Decoded, run: Run) -> None:
        # After a rewind the client library may still return records that are already in the windows.
        known = np.searchsorted(batch.offsets[run.begin : run.end], partition.next_offset)
        run = run._replace(begin=run.begin + int(known))
        decoded, end = self.holder.hold_back(partition, batch, decoded, run)
        if end == run.begin:
            return
        status = partition.windows.apply(decoded.events, run.begin, end, batch.offsets)
        end = run.begin + len(status)
        if partition.jumping:
            self._pause(partition)
        if self._uses_breaker and self._opens_breaker(partition, decoded, run._replace(end=end), status):
            partition.read_again = False
            return  # the windows are ahead of the last consistent cut; the caller drops them
        partition.next_offset = int(batch.offsets[end - 1]) + 1
        self._count_reread(partition, batch.offsets[run.begin : end])
        partition.journal.add_records(int(batch.offsets[run.begin]), end - run.begin)
        partition.last_timestamp_ms = int(batch.timestamps_ms[end - 1])
        partition.processed_bytes += len(batch.values.text) * (end - run.begin) // len(batch)
        self._count(decoded.events.facts[run.begin : end], status, partition)
        self._count_clamped(decoded.events.clamped_ms[run.begin : end], status)
        if decoded.ignored:  # records behind a waiting one are decoded and counted later
            self._metrics.count_ignored(int(np.count_nonzero(decoded.events.reject[run.begin : end] == IGNORED)))
        self._dead_letter_rejects(partition, batch, decoded, range(run.begin, end), status)
        closed = partition.windows.pop_closed()
        if len(closed):
            places = np.searchsorted(batch.offsets[run.begin : end], closed.rows["offset"])
            partition.outbox.add_closed(closed, batch.timestamps_ms[run.begin : end][places])

    def _count_reread(self, partition: PartitionTask, offsets: npt.NDArray[np.int64]) -> None:
        """Count records that this worker has processed before, since the partition was assigned."""
        counted_to = self._counted_to.get(partition.number, 0)
        if offsets[0] < counted_to:
            self._metrics.count_reread(int(np.searchsorted(offsets, counted_to)))
        self._counted_to[partition.number] = max(counted_to, partition.next_offset)

    def forget(self, partitions: Iterable[int]) -> None:
        """Call when partitions go to other workers: what they process meanwhile is not counted here."""
        for number in partitions:
            self.tripped.pop(number, None)
            self._counted_to.pop(number, None)

    def _pause(self, partition: PartitionTask) -> None:
        """Process no more records until a jump of time is finished; they are read again then."""
        partition.checkpoint_wanted = True
        partition.paused = True
        partition.forget_read()
        self._input.pause([partition.number])

    def _opens_breaker(
        self, partition: PartitionTask, decoded: Decoded, run: Run, status: npt.NDArray[np.uint8]
    ) -> bool:
        if not len(decoded.rejects) and not (status == STREAM_LIMIT).any():  # the usual case, many times a second
            partition.breaker.pass_over(run.end - run.begin)
            return False
        codes = decoded.events.reject[run.begin : run.end]
        rejected = ((codes != 0) & (codes < WAITING)) | (status == STREAM_LIMIT)
        opened = partition.breaker.observe(rejected)
        if opened is None or partition.breaker.passed is None:
            return False
        reasons = np.bincount(np.where(codes == 0, Reject.STREAM_LIMIT, codes)[rejected])
        most = Reject(int(np.argmax(reasons)))
        self.tripped[partition.number] = (
            f"partition {partition.number}: {partition.breaker.passed.sentence}, most of them {most.label} "
            f"({most.sentence}); it stops where it was last committed. Correct the producers or the settings of "
            "input, or send all of them to the dead-letter topic with input.breaker = false; then restart"
        )
        _log.error("breaker opened", partition=partition.number, reason=self.tripped[partition.number])
        return True

    def _count(self, facts: npt.NDArray[np.uint8], status: npt.NDArray[np.uint8], partition: PartitionTask) -> None:
        by_status = np.bincount(status, minlength=len(STATUSES)).tolist()
        accepted = facts if by_status[ACCEPTED] == len(status) else facts[status == ACCEPTED]
        self._metrics.count_events(count_facts(accepted))
        self._metrics.count_presence(*partition.new_session_counts())
        for code, reason in ((LATE, "stream_time"), (LATE_IDLE, "stream_idle"), (LATE_CLAMPED, "clamped")):
            if by_status[code]:
                lateness_ms = partition.windows.stats().largest_lateness_ms
                self._metrics.count_late(reason, by_status[code], lateness_ms)

    def _count_clamped(self, clamped_ms: npt.NDArray[np.int64], status: npt.NDArray[np.uint8]) -> None:
        if not clamped_ms.any():  # the usual case; of rejects the column may hold anything
            return
        clamped_ms = clamped_ms[(status != REJECTED) & (clamped_ms != 0)]
        if len(clamped_ms):
            self._metrics.count_clamped(len(clamped_ms), int(clamped_ms.max()))

    def _dead_letter_rejects(
        self,
        partition: PartitionTask,
        batch: Batch,
        decoded: Decoded,
        rows: range,
        status: npt.NDArray[np.uint8],
    ) -> None:
        """Write dead letters for the rejected records among the rows."""
        begin, end = np.searchsorted(decoded.rejects, (rows.start, rows.stop))
        rejects = decoded.rejects[begin:end]
        if len(rejects):
            # A replay skips these offsets, even if the records could be decoded by then.
            partition.journal.rejects.add(batch.offsets[rejects])
            one_of_each, kinds = decoded.kinds(rejects)
            self._write(partition, batch, rejects, [decoded.explain(int(row)) for row in one_of_each], kinds)
        over = np.flatnonzero(status == STREAM_LIMIT) + rows.start
        if len(over):
            detail = RejectDetail(Reject.STREAM_LIMIT, Reject.STREAM_LIMIT.sentence, "")
            self._write(partition, batch, over, [detail], np.zeros(len(over), np.int64))

    def _write(
        self,
        partition: PartitionTask,
        batch: Batch,
        rows: npt.NDArray[np.int64],
        details: Sequence[RejectDetail],
        kinds: npt.NDArray[np.int64],
    ) -> None:
        """Write dead letters for the rows in order; `kinds` is the index of each row's detail."""
        causes = [self._cause(partition, detail).headers() for detail in details]
        places, offsets = rows.tolist(), batch.offsets[rows]
        rejected = rejected_records(
            offsets=offsets,
            timestamps_ms=batch.timestamps_ms[rows],
            keys=batch.originals.keys(places),
            values=batch.values.take(rows),
            headers=batch.originals.headers(places),
            causes=causes,
            kinds=kinds,
        )
        partition.outbox.add_rejected(rejected)
        _, firsts = np.unique(kinds, return_index=True)
        for detail, number, first in zip(details, np.bincount(kinds).tolist(), firsts.tolist(), strict=True):
            self._metrics.count_rejects(detail.reason.label, number)
            example = Example(partition.number, int(offsets[first]), detail.message, detail.schema)
            self.reject_log.add(detail.reason.label, number, example)

    def _cause(self, partition: PartitionTask, detail: RejectDetail) -> Cause:
        return Cause(
            topic=self._kafka.input_topic,
            partition=partition.number,
            application=self._kafka.group_id,
            reason=detail.reason.label,
            message=detail.message,
            schema=detail.schema,
        )
