"""The circuit breaker: stops a partition when nearly all of its records are rejected.

Pure: whether it opens, and at which record, depends only on the records in their order, not on batches.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Limit(NamedTuple):
    """More than `most` rejects among `among` records that follow each other are too many."""

    most: int
    among: int

    @property
    def sentence(self) -> str:
        """What has happened where it is passed, for people."""
        if self.among == self.most + 1:
            return f"{self.among:,} records in a row are rejects"
        return f"more than {self.most:,} of the last {self.among:,} records are rejects"


LIMITS = (Limit(most=999, among=1_000), Limit(most=7_500, among=10_000))
"""A thousand in a row, or more than three quarters of ten thousand.

That is enough to tell a topic of another kind, or a producer gone wrong, from a few bad players among good ones.
"""


class CircuitBreaker:
    """Of one partition; once open it stays so. Records before its beginning count as good."""

    def __init__(self, limits: tuple[Limit, ...] = LIMITS) -> None:
        self._limits = limits
        self._kept = max(limit.most for limit in limits)
        self._seen = 0
        self._rejected_at: npt.NDArray[np.int64] = np.empty(0, np.int64)
        """Which of the records seen were rejects, the last `_kept` of them."""
        self.passed: Limit | None = None
        """The limit that opened it; None while it is closed."""

    def pass_over(self, records: int) -> None:
        """Hear of so many records that are no rejects, which can't open it."""
        self._seen += records

    def take(self, rejected: npt.NDArray[np.bool_]) -> int | None:
        """Hear of the next records; the row of the one at which it opens, None while it stays closed or was open.

        Args:
            rejected: for each whether it is a reject; those ahead of their time belong to neither and are left out.
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
    """The first reject before which there were too many others too near."""
    distances = rejected_at[limit.most :] - rejected_at[: max(0, len(rejected_at) - limit.most)]
    near = np.flatnonzero(distances < limit.among)
    return int(rejected_at[limit.most + near[0]]) if len(near) else None
