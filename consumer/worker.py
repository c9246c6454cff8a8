"""The worker: one loop, one thread, numbered steps.

```
 turn ── 1 poll ── 2 decode ── 3 windows ── 4 send ── 5 commit ── 6 show ──┐
  ▲        │ partitions come and go in here                                │
  └────────┴───────────────────────────────────────────────────────────────┘
```
Step 3 leaves a cut behind: windows, outboxes and next offsets agree, so a commit may follow. What the transaction's
owner can't settle ends in one place: memory is dropped, and the input is read again from the group's offsets.
"""

import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import structlog

from consumer.clocks import Clocks
from consumer.intake.intake import Decoded, Intake
from consumer.intake.rejects import IGNORED, WAITING, Reject
from consumer.kafka.batch import Batch, Run, batch_of, headers_of
from consumer.kafka.interface import AssignmentHandler, Input, Message, PartitionStart, Transactions
from consumer.observe.metrics import WorkerMetrics
from consumer.observe.snapshot import Health, SnapshotBoard
from consumer.output.dead_letter import Rejected, dead_letter
from consumer.output.summary import Encoder
from consumer.owned import OwnedPartition
from consumer.publishing import Publisher
from consumer.settings import Settings
from consumer.showing import snapshot_of
from consumer.window_rules import window_rules
from consumer.windows.events import KINDS
from consumer.windows.partition import PartitionWindows
from consumer.windows.walk import ACCEPTED, LATE, LATE_IDLE, STATUSES, STREAM_LIMIT

BATCH = 1_000
"""Messages a poll: more are slower and take more memory."""

LONGEST_WAIT_S = 0.1
SHORTEST_WAIT_S = 0.001
HELD_RETRY_S = 0.25
SHOW_EVERY_S = 0.5

_log = structlog.get_logger(__name__)


class Parts(NamedTuple):
    """What a worker is put together from."""

    make_input: Callable[[AssignmentHandler], Input]
    transactions: Transactions
    intake: Intake
    encode: Encoder
    metrics: WorkerMetrics
    board: SnapshotBoard
    clocks: Clocks


class Worker:
    """Reads, counts, publishes and shows, a turn at a time."""

    def __init__(self, settings: Settings, parts: Parts) -> None:
        self._settings = settings
        self._transactions = parts.transactions
        self._intake = parts.intake
        self._metrics = parts.metrics
        self._board = parts.board
        self._clocks = parts.clocks
        self._rules = window_rules(settings.windows)
        self._reads_headers = settings.input.format == "confluent" and bool(settings.input.schema_registry_url)
        self._owned: dict[int, OwnedPartition] = {}
        self._waits_for = ""
        self._last_poll_s = self._last_show_s = self._last_retry_s = self._now_s()
        self._input = parts.make_input(self)
        self._publisher = Publisher(
            settings, parts.transactions, parts.encode, self._input.group_metadata, parts.metrics, parts.clocks
        )

    def start(self) -> None:
        """Join the group, with a producer that has its place."""
        self._transactions.init()
        self._input.subscribe()
        self._last_poll_s = self._now_s()

    def turn(self) -> None:
        """One turn of the loop."""
        self._take(self._poll())
        if self._publisher.outcome_unknown:
            self._start_over()
        self._take_held()
        self._publisher.publish_some(self._owned.values())
        self._show()

    def stop(self) -> None:
        """Commit what there is, leave the group, let go."""
        self._board.publish(snapshot_of((), Health(reason="stopping"), 0, self._clocks))
        try:
            self._publisher.publish_all(self._owned.values())
            self._input.close()
        finally:
            self._publisher.close()

    def abandon(self) -> None:
        """Leave the group and let go, after an error: it may have come between two steps, so nothing is committed."""
        self._publisher.outcome_unknown = True
        self.stop()

    # Changes of the assignment; called inside poll and close.

    def on_assigned(self, starts: Sequence[PartitionStart]) -> None:
        """Begin with empty windows."""
        self._metrics.count_rebalance("assigned")
        for start in starts:
            self._owned[start.partition] = self._new_partition(start)
            _log.info("partition assigned", partition=start.partition, offset=start.offset, committed=start.committed)

    def on_revoked(self, partitions: Sequence[int]) -> None:
        """Commit while they are still ours, then drop their memory."""
        self._metrics.count_rebalance("revoked")
        self._publisher.publish_all(self._owned.values())
        if any(each.to_commit for each in self._owned.values() if each.number in partitions):
            # What is sent of them must not go out with a later commit, which no longer speaks for them.
            self._publisher.take_back(self._owned.values())
        self._drop(partitions)

    def on_lost(self, partitions: Sequence[int]) -> None:
        """They may be others' by now: take back what is not committed, and drop their memory."""
        self._metrics.count_rebalance("lost")
        self._publisher.take_back(self._owned.values())
        self._drop(partitions)

    # 1. Poll.

    def _poll(self) -> list[Message]:
        now_s = self._now_s()
        self._board.tick(now_s)
        self._metrics.observe_poll_gap(now_s - self._last_poll_s)
        messages = self._input.poll(BATCH, self._patience_s())
        self._last_poll_s = self._now_s()
        self._board.tick(self._last_poll_s)
        return messages

    def _patience_s(self) -> float:
        if any(partition.outbox.unsent for partition in self._owned.values()):
            return 0.0
        longest_s = min(LONGEST_WAIT_S, self._settings.commit.interval_ms / 1000)
        return min(max(self._publisher.wait_s(self._owned.values()), SHORTEST_WAIT_S), longest_s)

    # 2. Decode, and 3. into the windows.

    def _take(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        batch = batch_of(messages)
        headers = batch.headers() if self._reads_headers else None
        decoded = self._intake.decode(batch.values, batch.timestamps_ms, self._clocks.wall_ms(), headers)
        for run in batch.runs:
            partition = self._owned.get(run.partition)
            if partition is None:
                continue  # read before the partition went; its next owner reads it again
            if partition.held:
                partition.held.extend(batch.messages[run.begin : run.end])
                continue
            self._take_run(partition, batch, decoded, run)

    def _take_run(self, partition: OwnedPartition, batch: Batch, decoded: Decoded, run: Run) -> None:
        # After a step back the client library may still return records that the windows have.
        known = np.searchsorted(batch.offsets[run.begin : run.end], partition.next_offset)
        run = run._replace(begin=run.begin + int(known))
        end = self._hold_back(partition, batch, decoded, run)
        if end == run.begin:
            return
        status = partition.windows.apply(decoded.events, run.begin, end, batch.offsets)
        partition.next_offset = int(batch.offsets[end - 1]) + 1
        partition.last_timestamp_ms = int(batch.timestamps_ms[end - 1])
        self._count(decoded.events.kind[run.begin : end], status, partition)
        if decoded.ignored:  # those behind a record that waits are decoded again, and counted then
            self._metrics.count_ignored(int(np.count_nonzero(decoded.events.reject[run.begin : end] == IGNORED)))
        self._bury(partition, batch, decoded, range(run.begin, end), status)
        closed = partition.windows.take_closed()
        if len(closed):
            places = np.searchsorted(batch.offsets[run.begin : end], closed.rows["offset"])
            partition.outbox.add_closed(closed, batch.timestamps_ms[run.begin : end][places])

    def _hold_back(self, partition: OwnedPartition, batch: Batch, decoded: Decoded, run: Run) -> int:
        """Where the run ends for now: before the first record whose schema can't be had."""
        if decoded.waiting >= run.end:
            return run.end
        waiting = np.flatnonzero(decoded.events.reject[run.begin : run.end] == WAITING)
        if not len(waiting):
            return run.end
        end = run.begin + int(waiting[0])
        partition.held.extend(batch.messages[end : run.end])
        self._input.pause([partition.number])
        if decoded.waits_for != self._waits_for:
            _log.warning("partition waits", partition=partition.number, reason=decoded.waits_for)
        self._waits_for = decoded.waits_for
        return end

    def _take_held(self) -> None:
        """Try again what waits for its schema."""
        now_s = self._now_s()
        waiting = [partition for partition in self._owned.values() if partition.held]
        if not waiting:
            self._waits_for = ""
            return
        if now_s - self._last_retry_s < HELD_RETRY_S:
            return
        self._last_retry_s = now_s
        for partition in waiting:
            held, partition.held = partition.held, []
            for begin in range(0, len(held), BATCH):
                self._take(held[begin : begin + BATCH])
            if not partition.held:
                self._input.resume([partition.number])
        if not any(partition.held for partition in self._owned.values()):
            self._waits_for = ""

    def _count(self, kinds: npt.NDArray[np.uint8], status: npt.NDArray[np.uint8], partition: OwnedPartition) -> None:
        by_status = np.bincount(status, minlength=len(STATUSES)).tolist()
        taken = kinds if by_status[ACCEPTED] == len(status) else kinds[status == ACCEPTED]
        self._metrics.count_events(np.bincount(taken, minlength=len(KINDS)))
        for code, reason in ((LATE, "stream_time"), (LATE_IDLE, "stream_idle")):
            if by_status[code]:
                lateness_ms = partition.windows.figures().largest_lateness_ms
                self._metrics.count_late(reason, by_status[code], lateness_ms)

    def _bury(
        self,
        partition: OwnedPartition,
        batch: Batch,
        decoded: Decoded,
        rows: range,
        status: npt.NDArray[np.uint8],
    ) -> None:
        """Write dead letters for the rejects among the rows."""
        begin, end = np.searchsorted(decoded.rejects, (rows.start, rows.stop))
        for row in decoded.rejects[begin:end].tolist():
            detail = decoded.explain(row)
            self._add_dead_letter(partition, batch, row, detail.reason, detail.message, detail.schema)
        for at in np.flatnonzero(status == STREAM_LIMIT).tolist():
            reason = Reject.STREAM_LIMIT
            self._add_dead_letter(partition, batch, rows.start + at, reason, reason.sentence, "")

    def _add_dead_letter(
        self, partition: OwnedPartition, batch: Batch, row: int, reason: Reject, message: str, schema: str
    ) -> None:
        record = batch.messages[row]
        rejected = Rejected(
            topic=self._settings.kafka.input_topic,
            partition=partition.number,
            offset=int(batch.offsets[row]),
            timestamp_ms=int(batch.timestamps_ms[row]),
            key=record.key(),
            value=record.value(),
            headers=headers_of(record),
            reason=reason.label,
            message=message,
            schema=schema,
        )
        partition.outbox.add_dead_letter(dead_letter(rejected, self._settings.kafka.group_id))
        self._metrics.count_rejects(reason.label, 1)

    def _start_over(self) -> None:
        """Drop all memory and read again from what the group has committed."""
        self._drop(list(self._owned))
        for start in self._input.rewind():
            self._owned[start.partition] = self._new_partition(start)
        self._input.resume(self._owned)  # nothing is held any more
        self._publisher.outcome_unknown = False

    def _drop(self, partitions: Iterable[int]) -> None:
        for number in partitions:
            dropped = self._owned.pop(number, None)
            if dropped is None:
                continue
            figures = dropped.windows.figures()
            self._metrics.count_dropped_state(1, figures.buckets)
            if figures.buckets:
                _log.warning(
                    "memory of a partition is dropped; its next owner counts these buckets from here on only",
                    partition=number,
                    streams=figures.streams,
                    buckets=figures.buckets,
                )

    def _new_partition(self, start: PartitionStart) -> OwnedPartition:
        hash_key = secrets.randbits(64), secrets.randbits(64)
        return OwnedPartition(
            number=start.partition,
            windows=PartitionWindows(self._rules, hash_key),
            next_offset=start.offset,
            committed_offset=start.offset if start.committed else None,
        )

    # 6. Show.

    def _show(self) -> None:
        now_s = self._now_s()
        if now_s - self._last_show_s < SHOW_EVERY_S:
            return
        self._last_show_s = now_s
        partitions = tuple(self._owned.values())
        limit = self._settings.http.max_stream_series
        health = self._health()
        self._board.publish(snapshot_of(partitions, health, limit, self._clocks, self._input.end_offsets()))

    def _health(self) -> Health:
        return Health(
            assigned=bool(self._owned),
            restored=True,
            producer_ready=self._publisher.ready,
            reason=self._waits_for,
        )

    def _now_s(self) -> float:
        return self._clocks.monotonic_s()
