"""The circuit breaker: stops a partition when nearly all of its records are rejected.

Pure: whether it opens, and at which record, depends only on the records in their order, not on batches.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Limit(NamedTuple):
    """A limit: more than `most` rejects among `among` consecutive records."""

    most: int
    among: int

    @property
    def sentence(self) -> str:
        """The reason, for messages."""
        if self.among == self.most + 1:
            return f"{self.among:,} records in a row are rejects"
        return f"more than {self.most:,} of the last {self.among:,} records are rejects"


LIMITS = (Limit(most=999, among=1_000), Limit(most=7_500, among=10_000))
"""A thousand in a row, or more than three quarters of ten thousand.

That is enough to tell a topic of another kind, or a producer gone wrong, from a few bad players among good ones.
"""


class CircuitBreaker:
    """The circuit breaker of one partition; once open it stays open. Records before the first count as good."""

    def __init__(self, limits: tuple[Limit, ...] = LIMITS) -> None:
        self._limits = limits
        self._kept = max(limit.most for limit in limits)
        self._seen = 0
        self._rejected_at: npt.NDArray[np.int64] = np.empty(0, np.int64)
        """Indexes of the last `_kept` rejected records."""
        self.passed: Limit | None = None
        """The limit that opened it; None while it is closed."""

    def pass_over(self, records: int) -> None:
        """Record that many records were not rejected; this never opens the circuit breaker."""
        self._seen += records

    def observe(self, rejected: npt.NDArray[np.bool_]) -> int | None:
        """Record which of the next records were rejected; return the index that opens it, or None if none does.

        Args:
            rejected: one flag per record.
        """
        new = np.flatnonzero(rejected) + self._seen
        first, self._seen = self._seen, self._seen + len(rejected)
        if self.passed is not None or not len(new):
            return None
        known = np.concatenate([self._rejected_at, new])
        self._rejected_at = known[-self._kept :]
        opened = [(at, limit) for limit in self._limits if (at := _passed_at(known, limit)) is not None]
        if not opened:
            return None
        at, self.passed = min(opened, key=lambda each: each[0])
        return at - first


def _passed_at(rejected_at: npt.NDArray[np.int64], limit: Limit) -> int | None:
    """Return the index of the first rejected record that passes the limit, None if none does."""
    distances = rejected_at[limit.most :] - rejected_at[: max(0, len(rejected_at) - limit.most)]
    near = np.flatnonzero(distances < limit.among)
    return int(rejected_at[limit.most + near[0]]) if len(near) else None
