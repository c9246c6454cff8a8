"""Output of a partition for its next commit, kept until the commit is known to have succeeded."""

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from consumer.output.dead_letter import Rejected
from consumer.runtime.record_columns import RecordColumns
from consumer.windows.closing import CLOSE_REASONS
from consumer.windows.partition import ClosedBuckets

_OBJECT_BYTES = 40
"""Overhead of a stream id in memory, as a Python object and an entry of a list."""


class Published(NamedTuple):
    """The summaries of one partition published by a commit."""

    by_close_reason: dict[str, int]
    closed_at_ms: npt.NDArray[np.int64]
    """For each summary the Kafka timestamp of the record that closed its bucket."""
    closed: tuple[ClosedBuckets, ...]
    """The buckets, in batches."""


class Outbox:
    """Summaries and dead letters in order; a cursor marks how many are in the open transaction."""

    def __init__(self) -> None:
        self._closed: list[ClosedBuckets] = []
        self._closed_at_ms: list[npt.NDArray[np.int64]] = []
        self._rejected: list[Rejected] = []
        self._sent_batches = self._sent_rows = self._sent_rejected = 0
        self.unsent = 0
        """Number of records not in the open transaction."""
        self.pending_bytes = 0
        """Bytes in memory of all records that are not committed, approximately."""

    def add_closed(self, closed: ClosedBuckets, closed_at_ms: npt.NDArray[np.int64]) -> None:
        """Add summaries to publish, each with the Kafka timestamp of the record that closed its bucket."""
        self._closed.append(closed)
        self._closed_at_ms.append(closed_at_ms)
        self.unsent += len(closed)
        self.pending_bytes += closed.rows.nbytes + sum(map(len, closed.stream_ids)) + _OBJECT_BYTES * len(closed)

    def add_rejected(self, rejected: Rejected) -> None:
        """Add rejects to publish as dead letters."""
        self._rejected.append(rejected)
        self.unsent += len(rejected)
        self.pending_bytes += rejected.bytes_held

    @property
    def pending(self) -> int:
        """Number of records that are not committed."""
        return sum(map(len, self._closed)) + sum(len(rejected) for rejected in self._rejected)

    @property
    def empty(self) -> bool:
        """Whether nothing waits for a commit."""
        return not self._closed and not self._rejected

    def pop_closed(self, most: int) -> ClosedBuckets | None:
        """The next summaries to send, at most `most`; None if all are sent."""
        if self._sent_batches == len(self._closed):
            return None
        stream_ids, rows = self._closed[self._sent_batches]
        begin, end = self._sent_rows, min(self._sent_rows + most, len(stream_ids))
        self._sent_rows = end
        if end == len(stream_ids):
            self._sent_batches, self._sent_rows = self._sent_batches + 1, 0
        self.unsent -= end - begin
        return ClosedBuckets(stream_ids[begin:end], rows[begin:end])

    def pop_dead_letters(self, message_bytes: int) -> Iterator[RecordColumns] | None:
        """All remaining dead letters, cut to that size; None if all are sent."""
        waiting = self._rejected[self._sent_rejected :]
        if not waiting:
            return None
        self._sent_rejected = len(self._rejected)
        self.unsent -= sum(len(rejected) for rejected in waiting)
        return chain.from_iterable(rejected.dead_letters(message_bytes) for rejected in waiting)

    def send_again(self) -> None:
        """Call after an abort: everything must be sent again."""
        self._restart()

    def mark_committed(self) -> Published:
        """Call after a commit: drop the records, all of which must have been in it."""
        if self.unsent:
            raise ValueError(f"{self.unsent} records were not in the transaction")
        reasons = [closed.rows["reason"] for closed in self._closed]
        counts = np.bincount(np.concatenate(reasons), minlength=len(CLOSE_REASONS)) if reasons else ()
        published = Published(
            {CLOSE_REASONS[code]: int(count) for code, count in enumerate(counts) if count},
            np.concatenate([*self._closed_at_ms, np.empty(0, np.int64)]),
            tuple(self._closed),
        )
        self._closed.clear()
        self._closed_at_ms.clear()
        self._rejected.clear()
        self.pending_bytes = 0
        self._restart()
        return published

    def _restart(self) -> None:
        self._sent_batches = self._sent_rows = self._sent_rejected = 0
        self.unsent = self.pending
