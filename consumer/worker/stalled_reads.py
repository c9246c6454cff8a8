"""Find partitions that are not read: because no leader answers, or because the client has stopped fetching.

Whatever makes a client stop fetching a partition whose leader answers, it must not stop that partition for ever:
another client reads on.
"""

from collections.abc import Mapping
from typing import NamedTuple

import structlog

from consumer.kafka.protocols import Input
from consumer.runtime.clocks import Clocks
from consumer.worker.task import PartitionTask

STALLED_S = 20.0
"""So long records may wait: a fetch takes half a second, and brokers may delay clients above their quota."""

RENEW_EVERY_S = 60.0
"""Between two renewals of the reader."""

_log = structlog.get_logger(__name__)


class _Stall(NamedTuple):
    task: PartitionTask
    """Another one since means that the partition was restored, and is read from an offset before."""
    offset: int
    """The next one to be read."""
    end: int | None
    """None if no leader answers."""
    since_s: float


class StalledReads:
    """Compares the ends of quiet partitions with what was read of them."""

    def __init__(self, source: Input, clocks: Clocks) -> None:
        self._input = source
        self._clocks = clocks
        self._stalls: dict[int, _Stall] = {}
        self._renewed_s = float("-inf")

    def read_to(self, partition: PartitionTask) -> int:
        """The next offset to be read, which may lie behind transaction markers that follow the last record."""
        return max(partition.next_offset, self._input.last_seen_end(partition.number))

    def note_end(self, partition: PartitionTask, end: int | None) -> None:
        """Receive the end of a partition of which nothing has been read for a second or more; None if nobody knows."""
        offset, known = self.read_to(partition), self._stalls.get(partition.number)
        # What an open transaction holds back, no client gets.
        if end is not None and (end <= offset or partition.number in self._input.brokers.held()):
            self._stalls.pop(partition.number, None)
        elif known is None or not self._is_still(partition, known) or (known.end is None) != (end is None):
            self._stalls[partition.number] = _Stall(partition, offset, end, self._clocks.monotonic_s())

    def turn(self, tasks: Mapping[int, PartitionTask]) -> None:
        """Forget what was read on, or is not among these, and renew the reader if something should be read and is not.

        Args:
            tasks: the partitions that are to be read; without those that wait, for a schema or for room.
        """
        for number, stall in list(self._stalls.items()):
            if number not in tasks or not self._is_still(tasks[number], stall):
                del self._stalls[number]
        now_s = self._clocks.monotonic_s()
        stopped = [number for number, stall in self._long() if stall.end is not None]
        if stopped and now_s - self._renewed_s >= RENEW_EVERY_S:
            _log.warning("records wait and are not read; another client reads on", partitions=stopped)
            self._renewed_s = now_s
            self._input.renew_reader()

    def _is_still(self, partition: PartitionTask, stall: _Stall) -> bool:
        return partition is stall.task and self.read_to(partition) == stall.offset

    @property
    def reason(self) -> str:
        """Which partition has not been read on for long; empty if none."""
        for number, stall in self._long():
            waited_s = self._clocks.monotonic_s() - stall.since_s
            why = "its leader does not answer" if stall.end is None else f"although records wait up to {stall.end}"
            return (
                f"partition {number}: nothing has been read from offset {stall.offset} on for {waited_s:.0f} s, {why}"
            )
        return ""

    def _long(self) -> list[tuple[int, _Stall]]:
        """Those that have lasted for long."""
        since_s = self._clocks.monotonic_s() - STALLED_S
        return sorted((number, stall) for number, stall in self._stalls.items() if stall.since_s <= since_s)
