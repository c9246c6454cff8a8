"""Advance the time of quiet partitions by the clock, so that their last buckets close and silent streams end."""

from collections.abc import Collection, Mapping

from consumer.kafka.protocols import EndQuery
from consumer.observe.metrics import WorkerMetrics
from consumer.runtime.clocks import Clocks
from consumer.worker.stalled_reads import StalledReads
from consumer.worker.task import PartitionTask

EVERY_S = 0.05
"""Between two looks at all partitions; there may be hundreds, and thousands of turns a second."""


class IdleClosing:
    """Queries the ends of quiet partitions, and advances the time of those that are read to their end.

    Args:
        stalled: is told the ends.
        ends: answers the queries.
        metrics: counts what time closes.
        clocks: for idle time.
    """

    def __init__(self, stalled: StalledReads, ends: EndQuery, metrics: WorkerMetrics, clocks: Clocks) -> None:
        self._stalled = stalled
        self._ends = ends
        self._metrics = metrics
        self._clocks = clocks
        self._last_turn_s = clocks.monotonic_s()
        self._asked: frozenset[int] = frozenset()
        self._with_records: set[int] = set()
        """Since the last look."""

    def turn(self, tasks: Mapping[int, PartitionTask], with_records: Collection[int]) -> None:
        """Advance the clocks after each poll; `with_records` are the partitions with records in it."""
        self._with_records.update(with_records)
        now_s = self._clocks.monotonic_s()
        if now_s - self._last_turn_s < EVERY_S:
            return
        elapsed_ms, self._last_turn_s = (now_s - self._last_turn_s) * 1000, now_s
        read = {number: each for number, each in tasks.items() if not _waits(each)}
        for number, partition in tasks.items():
            if number in self._with_records or number not in read:
                partition.idle.record_seen()
            else:
                partition.idle.polled(elapsed_ms)
        self._with_records.clear()
        self._collect_answers(tasks)
        self._stalled.turn(read)
        for partition in tasks.values():
            self._step(partition)
        self._ask(tasks)

    def _collect_answers(self, tasks: Mapping[int, PartitionTask]) -> None:
        ends = self._ends.answers()
        if ends is None and not self._ends.failed():
            return
        for number in self._asked:
            partition = tasks.get(number)
            if partition is not None:
                end = None if ends is None else ends.get(number)
                partition.idle.answered(end, self._stalled.read_to(partition))
                self._stalled.note_end(partition, end)
        self._asked = frozenset()

    def _step(self, partition: PartitionTask) -> None:
        time_ms = _time_to_move_ms(partition)
        to_ms = None if time_ms is None else partition.idle.step(time_ms)
        if to_ms is not None:
            partition.step(to_ms, self._clocks.wall_ms())
            self._metrics.count_clock_step()
            self._metrics.count_presence(*partition.new_session_counts())

    def _ask(self, tasks: Mapping[int, PartitionTask]) -> None:
        wanted = []
        for number, partition in tasks.items():
            time_ms = _time_to_move_ms(partition)
            idle = partition.idle
            if idle.may_be_looked_at or (time_ms is not None and idle.wants_query(time_ms)):
                wanted.append(number)
        if wanted and not self._asked and self._ends.ask(wanted):
            self._asked = frozenset(wanted)


def _waits(partition: PartitionTask) -> bool:
    """Whether it is not read for a while, for a reason of ours."""
    return bool(partition.held or partition.ahead.wait or partition.paused or partition.jumping)


def _time_to_move_ms(partition: PartitionTask) -> int | None:
    """Advance partition time of a quiet partition that holds something."""
    if not partition.idle.is_quiet or partition.windows.next_step_ms() is None:
        return None
    return partition.windows.partition_time_ms
