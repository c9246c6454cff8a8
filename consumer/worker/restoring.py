"""Restore partitions beside the live ones, a slice per turn, so that live partitions do not wait."""

from collections.abc import Mapping, Sequence

import structlog

from consumer.kafka.batch import Batch, Run
from consumer.kafka.protocols import RestoreReader
from consumer.observe.metrics import WorkerMetrics
from consumer.runtime.clocks import Clocks
from consumer.state.checkpoint import Identity
from consumer.state.consistency import StateInconsistent
from consumer.state.finding import Finding
from consumer.state.restore import PartitionUnavailable, Restore, RestoreContext, Restored
from consumer.worker.idleness import IdleClock
from consumer.worker.task import PartitionTask
from consumer.worker.wait_log import WaitLog

BATCH = 16_000
"""Records per batch, as in live reading."""

CLOSED_AT_ONCE = 20_000
"""Buckets that close in one call; a jump of time that closes more is cut between two streams."""

TRY_AGAIN_S = 5.0
"""Interval of attempts to restore a partition that cannot be read."""

CONFIRM_AFTER_S = 2.0
"""Until a disagreement is looked at again; by then a heartbeat has been answered."""

TELL_AFTER_S = 30.0
"""A restore that takes longer gets a log line."""

SLICE_S = 0.05
"""The time per turn for restoring while other partitions are live."""

_log = structlog.get_logger(__name__)


class PartitionRestorer:
    """The assigned partitions that are not live: restoring, or stopped.

    A disagreement stops a partition once two restores in a row find the same. A process that was frozen for long reads
    what its successor writes, before it learns that it is expelled from the group.
    """

    def __init__(self, context: RestoreContext, reader: RestoreReader, metrics: WorkerMetrics, clocks: Clocks) -> None:
        self._context = context
        self._reader = reader
        self._metrics = metrics
        self._clocks = clocks
        self._restores: dict[int, tuple[Restore, float]] = {}
        self._stopped: dict[int, str] = {}
        self.findings: dict[int, Finding] = {}
        """What replays have shown of stopped partitions, to be stored with the next commit."""
        self._unavailable: dict[int, tuple[str, float]] = {}
        """Reason and time of the next attempt, by partition."""
        self._doubted: dict[int, str] = {}
        """The disagreement that the last restore of a partition found."""
        self._flowing = False
        self._wait_log = WaitLog(clocks.monotonic_s)

    @property
    def active(self) -> bool:
        """Whether partitions are being restored."""
        return bool(self._restores or self._unavailable)

    @property
    def reading(self) -> bool:
        """Whether restores expect records."""
        return any(restore.reading for restore, _ in self._restores.values())

    @property
    def flowing(self) -> bool:
        """Whether the last poll returned records, so that more are likely."""
        return self._flowing and self.reading

    @property
    def done(self) -> bool:
        """Whether all assigned partitions are live."""
        return not self._restores and not self._stopped and not self._unavailable

    @property
    def reason(self) -> str:
        """Why partitions are not live, for messages; empty if all are."""
        if self._stopped:
            return "; ".join(self._stopped.values())
        if self._unavailable:
            return "; ".join(reason for reason, _ in self._unavailable.values())
        return next((restore.waiting_reason for restore, _ in self._restores.values()), "")

    def stats(self) -> Mapping[str, int]:
        """Numbers of partitions by phase, for metrics."""
        return {"restoring": len(self._restores) + len(self._unavailable), "stopped": len(self._stopped)}

    def identify(self, identity: Identity) -> None:
        """Hold stored state against this identity from now on."""
        self._context = self._context._replace(identity=identity)

    def begin(self, partitions: Sequence[int]) -> None:
        """Start to restore these from the committed state."""
        self.drop(partitions)
        if partitions:
            self._begin(partitions)

    def _begin(self, partitions: Sequence[int]) -> None:
        self._flowing = True
        look_up, now_s = self._reader.look_up(partitions), self._clocks.monotonic_s()
        for partition in partitions:
            self._restores[partition] = Restore(partition, self._context, look_up, self._reader), now_s

    def begin_later(self, partition: int, reason: str) -> None:
        """Restore a partition that was live, after `TRY_AGAIN_S`: it cannot be read now."""
        self._unavailable[partition] = reason, self._clocks.monotonic_s() + TRY_AGAIN_S
        self._wait_log.note(partition, reason)

    def drop(self, partitions: Sequence[int]) -> None:
        """Drop these: they are no longer assigned."""
        for partition in partitions:
            self._stopped.pop(partition, None)
            self.findings.pop(partition, None)
            self._unavailable.pop(partition, None)
            self._doubted.pop(partition, None)
            restore, _ = self._restores.pop(partition, (None, 0.0))
            if restore is not None:
                restore.drop()

    def turn(self, patience_s: float) -> list[PartitionTask]:
        """Advance for a time slice; return the partitions that are restored.

        Args:
            patience_s: how long to wait for records.

        Raises:
            ViewerConsumerError: state or offsets cannot be read.
        """
        self._try_again()
        self._tell_who_waits()
        restored = self._advance()
        end_s = self._clocks.monotonic_s() + SLICE_S
        while self.reading:
            batch = self._reader.poll(BATCH, patience_s)
            for run in batch.runs:
                self._receive(batch, run)
            restored += self._advance()
            self._flowing = len(batch) > 0
            if not self._flowing or self._clocks.monotonic_s() >= end_s:
                break
        return restored

    def serve(self) -> None:
        """Hand on what the reader's clients say; called now and then."""
        self._reader.serve()

    def close(self, within_s: float) -> None:
        """Close the reader."""
        self._reader.close(within_s)

    def _receive(self, batch: Batch, run: Run) -> None:
        restore, _ = self._restores.get(run.partition, (None, 0.0))
        if restore is None:
            return  # it has stopped since
        try:
            restore.receive(batch, run)
        except StateInconsistent as error:
            self._doubt_or_stop(run.partition, error)

    def _advance(self) -> list[PartitionTask]:
        restored = []
        failures = {partition: reason for (_, partition), reason in self._reader.pop_failures().items()}
        for partition, (restore, began_s) in list(self._restores.items()):
            try:
                result = restore.advance(failures.get(partition, ""))
            except StateInconsistent as error:
                self._doubt_or_stop(partition, error)
                continue
            except PartitionUnavailable as error:
                self._wait_for(partition, error)
                continue
            if result is not None:
                del self._restores[partition]
                restored.append(self._live(partition, result, began_s))
            else:
                self._wait_log.note(partition, restore.schema_reason)
        return restored

    def _wait_for(self, partition: int, error: PartitionUnavailable) -> None:
        self._put_off(partition, str(error), TRY_AGAIN_S)
        self._wait_log.note(partition, str(error))

    def _put_off(self, partition: int, reason: str, for_s: float) -> None:
        restore, _ = self._restores.pop(partition)
        restore.drop()
        self._unavailable[partition] = reason, self._clocks.monotonic_s() + for_s

    def _tell_who_waits(self) -> None:
        """One log line for a partition whose restore takes long."""
        now_s = self._clocks.monotonic_s()
        for partition, (restore, began_s) in self._restores.items():
            if now_s - began_s >= TELL_AFTER_S:
                self._wait_log.note(partition, restore.waiting_reason)

    def _try_again(self) -> None:
        now_s = self._clocks.monotonic_s()
        due = [partition for partition, (_, at_s) in self._unavailable.items() if now_s >= at_s]
        for partition in due:
            del self._unavailable[partition]
        if due:
            self._begin(due)

    def _doubt_or_stop(self, partition: int, error: StateInconsistent) -> None:
        if self._doubted.get(partition) == error.what:
            self._stop(partition, error)
            return
        self._doubted[partition] = error.what
        self._put_off(partition, f"{error}; it is read again", CONFIRM_AFTER_S)

    def _stop(self, partition: int, error: StateInconsistent) -> None:
        restore, _ = self._restores.pop(partition)
        finding = restore.finding(error)
        if finding is not None:
            self.findings[partition] = finding
        restore.drop()
        reason = error.message(self._context.settings.command)
        self._stopped[partition] = reason
        _log.error("partition stopped", partition=partition, reason=reason)

    def _live(self, partition: int, restored: Restored, began_s: float) -> PartitionTask:
        now_s = self._clocks.monotonic_s()
        self._doubted.pop(partition, None)
        self._metrics.observe_restore(now_s - began_s, restored.rows, restored.replayed)
        _log.info(
            "partition restored",
            partition=partition,
            offset=restored.next_offset,
            checkpoint=restored.checkpoint,
            rows=restored.rows,
            replayed=restored.replayed,
            seconds=round(now_s - began_s, 3),
        )
        task = PartitionTask(
            number=partition,
            windows=restored.windows,
            idle=IdleClock(self._context.settings.windows.partition_idle_ms, self._context.settings.windows.bucket_ms),
            next_offset=restored.next_offset,
            committed_offset=restored.committed_offset,
            checkpoint=restored.checkpoint,
            checkpoint_s=now_s,
            journal=restored.journal,
            processed_bytes=restored.replayed_bytes,
            counted=restored.windows.counters(),
            result_settings=restored.result_settings,
            rules_version=restored.rules_version,
            rule_changes=list(restored.rule_changes),
        )
        restored.windows.limit_closed(CLOSED_AT_ONCE)
        if restored.rule_changes:
            _log.info("changed settings or rules take effect", partition=partition, offset=task.next_offset)
        return task
