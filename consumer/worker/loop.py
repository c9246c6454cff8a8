"""The worker: one loop, one thread, numbered steps.

```
 turn ── 1 poll ── 2 decode ── 3 windows ── 4 start over ── 5 restore ── 6 clock ── 7 backpressure ──┐
  ▲        │ partitions come and go in here                                                          ▼
  └────────┴──────────────────────────────── 10 show ◄────────────────────────── 9 commit ◄────── 8 send
```
After step 3 windows, outboxes, journals and next offsets agree (a consistent cut), so a commit may follow. A lost
transaction has one consequence: memory is dropped and restored from the committed state.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import structlog

from consumer.intake.intake import Intake
from consumer.intake.intakes import MakeIntake
from consumer.kafka.batch import Batch
from consumer.kafka.protocols import AssignmentHandler, EndQuery, Input, RestoreReader, TopicIds, Transactions
from consumer.observe.history import BucketHistory
from consumer.observe.metrics import WorkerMetrics
from consumer.observe.rates import RateMeter
from consumer.observe.snapshot import Health, SnapshotBoard
from consumer.output.summary_encoding import Encoder
from consumer.runtime.clocks import Clocks
from consumer.runtime.signals import STOP_WITHIN_S
from consumer.settings.model import Settings
from consumer.state.checkpoint import Identity
from consumer.state.restore import RestoreContext
from consumer.worker.backpressure import Backpressure
from consumer.worker.checkpointing import StateWriter
from consumer.worker.idle_closing import IdleClosing
from consumer.worker.processing import BATCH, RecordProcessor
from consumer.worker.publishing import Publisher
from consumer.worker.restoring import PartitionRestorer
from consumer.worker.stalled_reads import StalledReads
from consumer.worker.status import snapshot_of
from consumer.worker.task import PartitionTask
from consumer.worker.watched import WatchedTransactions

LONGEST_WAIT_S = 0.1
SHORTEST_WAIT_S = 0.001
RESTORE_LOOK_S = 0.01
"""Poll time-out while a restore waits, for example for a dead worker's transaction."""

RESTORE_WAIT_S = 0.02
"""How long to wait for messages of restores if no partition is live."""

SHOW_EVERY_S = 0.5

RATES = ("events", "late_events", "rejects", "summaries", "commits")
"""Counters whose rates are shown."""

LONGEST_REASON = 4_000
"""Characters of a reason on `/readyz`; a thousand partitions may each have one."""

LEAVE_LIMIT_S = 60.0
"""Leaving the group: the last commit, and the client library's own close."""

RELEASE_S = 2.0
"""Kept of the time for a stop, for closing clients behind leaving the group."""

_log = structlog.get_logger(__name__)


class WorkerDependencies(NamedTuple):
    """The parts of a worker."""

    make_input: Callable[[AssignmentHandler], Input]
    transactions: Transactions
    reader: RestoreReader
    ends: EndQuery
    topic_ids: TopicIds
    intake: Intake
    make_intake: MakeIntake
    """Creates an intake for the settings stored in a checkpoint."""
    identity: Identity
    encode: Encoder
    metrics: WorkerMetrics
    board: SnapshotBoard
    clocks: Clocks
    message_bytes: int
    """The largest record that all topics accept: rows and dead letters are cut below it."""
    history: BucketHistory | None = None
    """Gets the committed buckets; None where nothing shows them."""


class Worker:
    """Runs the numbered steps, one turn at a time."""

    def __init__(self, settings: Settings, dependencies: WorkerDependencies) -> None:
        self._settings = settings
        self._transactions = WatchedTransactions(
            dependencies.transactions, dependencies.board, dependencies.clocks.monotonic_s
        )
        self._metrics = dependencies.metrics
        self._board = dependencies.board
        self._clocks = dependencies.clocks
        self._tasks: dict[int, PartitionTask] = {}
        self._uncommitted: set[int] = set()
        """Of the partitions that went last, those that were dropped with something that was not committed."""
        self._last_poll_s = self._last_show_s = self._now_s()
        self._input = dependencies.make_input(self)
        self._processor = RecordProcessor(
            settings, dependencies.intake, self._input, dependencies.metrics, dependencies.clocks
        )
        self._stalled_reads = StalledReads(self._input, dependencies.clocks)
        self._idle_closing = IdleClosing(
            self._stalled_reads, dependencies.ends, dependencies.metrics, dependencies.clocks
        )
        restore_context = RestoreContext(settings, dependencies.identity, dependencies.make_intake)
        self._restoring = PartitionRestorer(
            restore_context, dependencies.reader, dependencies.metrics, dependencies.clocks
        )
        self._topic_ids = dependencies.topic_ids
        self._state_writer = StateWriter(
            settings,
            dependencies.identity,
            self._transactions,
            dependencies.clocks,
            self._restoring.findings,
            dependencies.message_bytes,
        )
        self._publisher = Publisher(
            settings,
            self._transactions,
            self._state_writer,
            dependencies.encode,
            self._input.group_metadata,
            dependencies.metrics,
            dependencies.clocks,
            dependencies.message_bytes,
            dependencies.history,
        )
        self._history = dependencies.history
        self._rates = RateMeter()
        self._backpressure = Backpressure(self._input, self._publisher.is_overdue, dependencies.clocks)

    def start(self) -> None:
        """Initialize the producer, then join the group."""
        self._transactions.init()
        self._input.subscribe()
        self._last_poll_s = self._now_s()

    def turn(self) -> None:
        """One turn of the loop."""
        self._look_at_topic()
        with_records = self._processor.process(self._poll(), self._tasks)
        if self._publisher.outcome_unknown or self._may_lack_leaders():
            self._start_over()
        self._processor.process_held(self._tasks)
        self._step_over_markers()
        self._restore_unreadable()
        self._stop_broken()
        self._restore_some()
        self._idle_closing.turn(self._tasks, with_records)
        self._backpressure.turn(self._tasks)
        self._publisher.publish_some(self._tasks.values())
        self._processor.reject_log.turn()
        self._show()

    def stop(self, within_s: float = STOP_WITHIN_S) -> list[str]:
        """Commit everything, leave the group and close; in time, whatever brokers do.

        Returns:
            What had to be left to others, as sentences; empty after a clean hand-over.
        """
        end_s = self._now_s() + within_s
        unrestored = sorted(self._input.assignment - self._tasks.keys())
        self._board.publish(snapshot_of((), Health(reason="stopping"), 0, self._clocks))
        self._processor.reject_log.flush()
        try:
            try:
                self._publisher.publish_all(self._tasks.values(), leaving=self._tasks)
            finally:
                with self._board.during("leaving the group", LEAVE_LIMIT_S, self._clocks.monotonic_s):
                    in_time = self._input.close(max(0.0, end_s - self._now_s() - RELEASE_S))
        finally:
            self._publisher.close()
            self._restoring.close(max(0.0, end_s - self._now_s()))
        return list(self._left_to_others(unrestored, in_time=in_time))

    def _left_to_others(self, unrestored: Sequence[int], *, in_time: bool) -> Iterator[str]:
        if unrestored:
            yield f"partitions {unrestored}: were not restored, or are stopped"
        if self._uncommitted:
            yield f"partitions {sorted(self._uncommitted)}: their next owner reads again what is not committed"
        if not in_time:
            yield "the group notices after the session's time-out that this worker has left"

    def abandon(self, within_s: float = STOP_WITHIN_S) -> None:
        """Leave the group and close after an error, without a commit: the error may have come between two steps."""
        self._publisher.outcome_unknown = True
        self.stop(min(within_s, STOP_WITHIN_S))

    # Changes of the assignment; called inside poll and close.

    def on_assigned(self, partitions: Sequence[int]) -> None:
        """Start to restore them; they are live when that is done."""
        self._metrics.count_rebalance("assigned")
        self._restoring.begin(partitions)
        _log.info("partitions assigned", partitions=list(partitions))

    def on_revoked(self, partitions: Sequence[int]) -> None:
        """Commit them with checkpoints while they are still assigned, then drop their memory."""
        self._metrics.count_rebalance("revoked")
        self._publisher.publish_all(self._tasks.values(), leaving=partitions)
        self._note_uncommitted(partitions)
        if self._uncommitted:
            # Their records must not be part of a later commit, which no longer holds their offsets.
            self._publisher.abort(self._tasks.values())
        self._give_away(partitions)

    def on_lost(self, partitions: Sequence[int]) -> None:
        """They may have new owners: abort, and drop their memory."""
        self._metrics.count_rebalance("lost")
        self._note_uncommitted(partitions)
        self._publisher.abort(self._tasks.values())
        self._give_away(partitions)

    def _note_uncommitted(self, partitions: Sequence[int]) -> None:
        tasks = self._tasks
        self._uncommitted = {number for number in partitions if number in tasks and tasks[number].to_commit}

    # 1. Poll.

    def _poll(self) -> Batch:
        now_s = self._now_s()
        self._board.tick(now_s)
        self._metrics.observe_poll_gap(now_s - self._last_poll_s)
        batch = self._input.poll(BATCH, self._patience_s())
        self._last_poll_s = self._now_s()
        self._board.tick(self._last_poll_s)
        return batch

    def _patience_s(self) -> float:
        tasks = self._tasks.values()
        to_close = not self._backpressure.full and bool(self._backpressure.jumping)
        if self._restoring.flowing or to_close or self._publisher.is_sending(tasks):
            return 0.0
        longest_s = min(LONGEST_WAIT_S, self._settings.commit.interval_ms / 1000)
        if self._restoring.active:
            longest_s = min(longest_s, RESTORE_LOOK_S)
        return min(max(self._publisher.wait_s(self._tasks.values()), SHORTEST_WAIT_S), longest_s)

    # 3. Transaction markers, and too many rejects.

    def _step_over_markers(self) -> None:
        """Move the next offset behind transaction markers and aborted records at the end of a partition.

        All records before the end are processed by then, so lag reaches 0, and retention of what is behind cannot
        remove anything that a restore needs.
        """
        for task in self._tasks.values():
            if not task.held and not task.paused and task.ahead.dropped_from is None:
                task.next_offset = max(task.next_offset, self._input.last_seen_end(task.number))

    def _restore_unreadable(self) -> None:
        """Drop the memory of partitions that cannot be read on, and restore them after a while.

        A restore continues where that heals. Else it stops the partition: it compares the offsets, and names the
        command that resolves what it finds.
        """
        for number, reason in self._input.pop_failures().items():
            if number in self._tasks:
                self._drop_uncommitted([number])
                self._restoring.begin_later(number, reason)

    def _drop_uncommitted(self, numbers: Sequence[int]) -> None:
        """Abort, and drop the memory of these partitions; the others' output is sent again."""
        self._publisher.abort(self._tasks.values())
        self._input.pause(numbers)
        for number in numbers:
            del self._tasks[number]

    def _stop_broken(self) -> None:
        """Abort, stop the partitions whose circuit breaker has opened, and restore the others."""
        newly = [number for number in self._processor.tripped if number in self._tasks]
        if not newly:
            return
        self._drop_uncommitted(newly)

    # 4. Start over, and 5. restore.

    def _look_at_topic(self) -> None:
        """If the input topic was created again, drop all memory: its offsets mean other records now.

        Restores then stop each partition whose state is of the topic before.
        """
        identity = self._state_writer.identity
        topic_id = self._topic_ids.topic_id()
        if topic_id == identity.topic_id:
            return
        _log.error("the input topic was deleted and created again", topic_id=topic_id, before=identity.topic_id)
        self._state_writer.identity = replace(identity, topic_id=topic_id)
        self._restoring.identify(self._state_writer.identity)
        self._publisher.abort(self._tasks.values())
        self._start_over()

    def _may_lack_leaders(self) -> bool:
        """Whether state partitions may have no leader: restores find which ones, and wait; the others continue."""
        return self._publisher.pop_not_written() and not self._input.brokers.silence()

    def _start_over(self) -> None:
        """Drop all memory and restore from the committed state."""
        partitions = sorted(self._input.assignment)
        self._input.pause(partitions)
        self._drop(partitions)
        self._restoring.begin(partitions)
        self._publisher.outcome_unknown = False

    def _restore_some(self) -> None:
        if not self._restoring.active:
            return
        for partition in self._restoring.turn(0.0 if self._tasks else RESTORE_WAIT_S):
            self._tasks[partition.number] = partition
            if self._history is not None:
                self._history.begin(partition.number, self._clocks.wall_ms())
            if partition.jumping:
                partition.paused = True  # as the input is since the assignment
            else:
                self._input.begin(partition.number, partition.next_offset)

    def _drop(self, partitions: Iterable[int]) -> None:
        partitions = list(partitions)
        self._restoring.drop(partitions)
        for number in partitions:
            self._tasks.pop(number, None)
            self._processor.tripped.pop(number, None)

    def _give_away(self, partitions: Sequence[int]) -> None:
        self._drop(partitions)
        self._processor.forget(partitions)

    # 10. Show.

    def _show(self) -> None:
        now_s = self._now_s()
        if now_s - self._last_show_s < SHOW_EVERY_S:
            return
        self._last_show_s = now_s
        self._restoring.serve()
        partitions = tuple(self._tasks.values())
        self._board.publish(
            snapshot_of(
                partitions,
                self._health(),
                self._settings.http.max_stream_series,
                self._clocks,
                self._input.end_offsets(),
                self._input.brokers.held(),
                **self._restoring.stats(),
                tripped=len(self._processor.tripped),
                clock_waiting=len(self._processor.holder.clock_waits(self._tasks)),
                output=self._publisher.status(partitions),
                assigned=self._input.assignment,
                rates=self._rates.add(now_s, self._metrics.totals(RATES)),
                history_buckets=0 if self._history is None else len(self._history),
            )
        )

    def _health(self) -> Health:
        clock_waits = self._processor.holder.clock_waits(self._tasks)
        brokers = self._input.brokers
        silence, held, trouble = brokers.silence(), brokers.held_reason(), self._publisher.trouble
        stalled = "" if silence else self._stalled_reads.reason
        assigned = bool(self._input.assignment)
        schemas = dict.fromkeys(task.waiting_reason for task in self._tasks.values() if task.held)
        reasons = (
            silence,
            *self._processor.tripped.values(),
            trouble or self._publisher.not_ready_reason,
            self._restoring.reason,
            held,
            stalled,
            *clock_waits,
            *schemas,
            "" if assigned or silence else brokers.group_reason(),
        )
        return Health(
            assigned=assigned,
            restored=self._restoring.done,
            producer_ready=self._publisher.ready,
            breaker_closed=not self._processor.tripped,
            commits_succeed=not trouble,
            kafka_answers=not silence,
            input_readable=not (held or stalled),
            clock_agrees=not clock_waits,
            schemas_known=not any(schemas),
            reason="; ".join(filter(None, reasons))[:LONGEST_REASON],
        )

    def _now_s(self) -> float:
        return self._clocks.monotonic_s()
