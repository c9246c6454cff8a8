"""Output of a partition for its next commit, kept until the commit is known to have succeeded."""

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from consumer.output.dead_letter import DeadLetter, Rejected
from consumer.windows.closing import CLOSE_REASONS
from consumer.windows.partition import ClosedBuckets


class Published(NamedTuple):
    """What a commit has published of one partition."""

    by_close_reason: dict[str, int]
    closed_at_ms: npt.NDArray[np.int64]
    """For each summary the Kafka timestamp of the record that closed its bucket."""


class Outbox:
    """Summaries and dead letters in their order; a cursor tells how much of them is in the open transaction."""

    def __init__(self) -> None:
        self._closed: list[ClosedBuckets] = []
        self._closed_at_ms: list[npt.NDArray[np.int64]] = []
        self._rejected: list[Rejected] = []
        self._sent_batches = self._sent_rows = self._sent_rejected = 0
        self.unsent = 0
        """Records that are not in the open transaction."""

    def add_closed(self, closed: ClosedBuckets, closed_at_ms: npt.NDArray[np.int64]) -> None:
        """Add summaries to publish, each with the Kafka timestamp of the record that closed its bucket."""
        self._closed.append(closed)
        self._closed_at_ms.append(closed_at_ms)
        self.unsent += len(closed)

    def add_rejected(self, rejected: Rejected) -> None:
        """Add rejects, of which dead letters are to be published."""
        self._rejected.append(rejected)
        self.unsent += len(rejected.offsets)

    @property
    def empty(self) -> bool:
        """Nothing waits for a commit."""
        return not self._closed and not self._rejected

    def take_closed(self, most: int) -> ClosedBuckets | None:
        """The next summaries to send, at most so many; None where all are sent."""
        if self._sent_batches == len(self._closed):
            return None
        stream_ids, rows = self._closed[self._sent_batches]
        begin, end = self._sent_rows, min(self._sent_rows + most, len(stream_ids))
        self._sent_rows = end
        if end == len(stream_ids):
            self._sent_batches, self._sent_rows = self._sent_batches + 1, 0
        self.unsent -= end - begin
        return ClosedBuckets(stream_ids[begin:end], rows[begin:end])

    def take_dead_letters(self) -> Iterator[DeadLetter] | None:
        """The next dead letters to send, all of them and made as they are read; None where all are sent."""
        waiting = self._rejected[self._sent_rejected :]
        if not waiting:
            return None
        self._sent_rejected = len(self._rejected)
        self.unsent -= sum(len(rejected.offsets) for rejected in waiting)
        return chain.from_iterable(rejected.letters() for rejected in waiting)

    def send_again(self) -> None:
        """The transaction was aborted: nothing of it is published."""
        self._restart()

    def mark_committed(self) -> Published:
        """The transaction was committed: forget what was in it, which must be all."""
        if self.unsent:
            raise ValueError(f"{self.unsent} records were not in the transaction")
        reasons = [closed.rows["reason"] for closed in self._closed]
        counts = np.bincount(np.concatenate(reasons), minlength=len(CLOSE_REASONS)) if reasons else ()
        published = Published(
            {CLOSE_REASONS[code]: int(count) for code, count in enumerate(counts) if count},
            np.concatenate([*self._closed_at_ms, np.empty(0, np.int64)]),
        )
        self._closed.clear()
        self._closed_at_ms.clear()
        self._rejected.clear()
        self._restart()
        return published

    def _restart(self) -> None:
        self._sent_batches = self._sent_rows = self._sent_rejected = 0
        self.unsent = sum(map(len, self._closed)) + sum(len(rejected.offsets) for rejected in self._rejected)
