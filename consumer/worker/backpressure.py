"""Bound the work in memory: stop reading while much output is pending, and close large jumps of time in pieces.

```
 reading ── pending output above the high mark, or a jump of time was cut ──► paused
    ▲                                                                           │ output is sent and committed,
    └────────── below the low mark, no commit overdue, no jump pending ◄────────┘ the jump is continued
```
Pausing drops what was fetched; the partition is then read again from its next offset. Rebalances are polled throughout.
"""

from collections.abc import Callable, Mapping

from consumer.kafka.protocols import PartitionReader
from consumer.runtime.clocks import Clocks
from consumer.worker.task import PartitionTask

HIGH_BYTES = 16 * 1024 * 1024
LOW_BYTES = 4 * 1024 * 1024
"""Of pending output in memory, of all partitions together."""


class Backpressure:
    """Pauses and resumes partitions, and continues pending jumps.

    Args:
        source: the reader of the input.
        is_overdue: whether the open transaction has to be committed before more is added to it.
        clocks: of the worker.
    """

    def __init__(self, source: PartitionReader[int], is_overdue: Callable[[], bool], clocks: Clocks) -> None:
        self._input = source
        self._is_overdue = is_overdue
        self._clocks = clocks
        self.full = False
        """Whether pending output has passed the high mark and not yet fallen below the low mark."""
        self.jumping: list[PartitionTask] = []
        """Partitions with a jump to be finished, as of the last turn."""

    def turn(self, tasks: Mapping[int, PartitionTask]) -> None:
        """Call once per turn, behind the processing of records and clock steps."""
        self.jumping = [task for task in tasks.values() if task.jumping]
        for task in self.jumping:
            # Piece by piece, so that what a slow broker has to take before the next commit stays small.
            if not task.outbox.unsent and not self._update_full(tasks):
                task.continue_jump(self._clocks.wall_ms())
        full = self._update_full(tasks)
        if full or self.jumping or any(task.paused for task in tasks.values()):
            for task in tasks.values():
                self._set_paused(task, paused=full or task.jumping)

    def _update_full(self, tasks: Mapping[int, PartitionTask]) -> bool:
        pending = sum(task.outbox.pending_bytes for task in tasks.values())
        self.full = pending > (LOW_BYTES if self.full else HIGH_BYTES) or (pending > 0 and self._is_overdue())
        return self.full

    def _set_paused(self, task: PartitionTask, *, paused: bool) -> None:
        if paused and not task.paused:
            self._input.pause([task.number])
        elif task.paused and not paused:
            task.forget_read()
            self._input.begin(task.number, task.next_offset)
        task.paused = paused
