"""Wait while the next records of a partition are ahead of this machine's clock.

```
 read          in time │ ahead ahead ahead …                nothing of them is rejected or committed
                       └─► they wait ──► the clock has caught up           ─► processed
                              │    ├───► a record follows that is in time  ─► those before it are `future`
                              │    └───► few, and max_future_ms have passed ─► they are `future`
                              └─ reading goes on: HELD_MOST are kept, those behind are compared, and read again later
```
A clock of this machine that is slow holds its partitions, and heals without a loss; one producer with a fast clock
costs its own records.

Records may be read again: those that were not kept, and those behind a jump of time. If the clock was set back
meanwhile, so that the record that followed is no longer in time, it rejects none of them.

A record counts as one that follows only when it is read for the first time: those that wait are caught up one by one
while the clock goes on, and not in the order of their timestamps.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from consumer.intake.ahead import AHEAD, IN_TIME
from consumer.runtime.text import time_text

HELD_MOST = 1_000
"""Records in memory for each partition that waits."""

FEW = 20
"""Fewer records than this do not hold a partition for longer than `input.max_future_ms`."""

SHOWN_AFTER_S = 1.0
"""A shorter wait is not shown: it is one record with a wrong timestamp, until the next one is read."""

FORGOTTEN_AFTER_S = 5.0
"""A wait ends if the records that were to be read again do not come."""


@dataclass
class ClockWait:
    """A wait of a partition; it lasts while the first unprocessed record is ahead."""

    began_s: float
    """Monotonic, as are the others."""
    offset: int
    """Of the first record that waits."""
    offset_since_s: float
    """Each first record has the whole time: a quiet partition loses none that the clock is catching up with."""
    time_ms: int
    """Its Kafka timestamp, or event time if it has none."""
    seen_s: float
    """When it was looked at last."""
    logged: bool = False

    def is_shown(self, now_s: float) -> bool:
        """Whether it has lasted long enough to be shown."""
        return now_s - self.began_s >= SHOWN_AFTER_S

    def is_over(self, now_s: float) -> bool:
        """Whether nothing of it was seen for so long that it must be over."""
        return now_s - self.seen_s >= FORGOTTEN_AFTER_S

    def reason(self, partition: int, max_future_ms: int, wall_clock_ms: int) -> str:
        """Why the partition waits, and what resolves it."""
        return (
            f"partition {partition} waits: the next record (offset {self.offset}) is of {time_text(self.time_ms)}, "
            f"more than input.max_future_ms = {max_future_ms} ahead of this machine's clock, which says "
            f"{time_text(wall_clock_ms)}; correct this clock, or that of the producers"
        )


@dataclass
class AheadOfClock:
    """What is known of a partition's records that are ahead of the clock; all offsets are of the input."""

    wait: ClockWait | None = None
    future_below: int = 0
    """Records ahead of the clock below this offset are rejected: one that is in time follows."""
    follower_ms: int = 0
    """The time of that one."""
    seen_to: int = 0
    """Records below this offset were ahead when they were read first."""
    dropped_from: int | None = None
    """Records from here on were read but not kept, also of a partition that waits for a schema; they are read again."""

    @property
    def is_past(self) -> bool:
        """Whether nothing waits, and nothing has to be read again."""
        return self.wait is None and self.dropped_from is None

    def look_at(
        self,
        codes: npt.NDArray[np.uint8],
        offsets: npt.NDArray[np.int64],
        times_ms: npt.NDArray[np.int64],
        now_s: float,
        clock_ms: int,
        max_future_ms: int,
    ) -> tuple[npt.NDArray[np.int64], int]:
        """Look at the next records of the partition.

        Returns the indexes of those that are ahead and to be rejected, and how many records may be processed now.

        Args:
            codes: of each record, as `compare_with_clock` has them.
            offsets: ascending.
            times_ms: what was compared with the clock.
            now_s: monotonic.
            clock_ms: the wall clock that they were compared with.
            max_future_ms: of the settings.
        """
        if self.follower_ms > clock_ms + max_future_ms // 2:
            self.future_below = 0
        new = int(np.searchsorted(offsets, self.seen_to))
        in_time = np.flatnonzero(codes[new:] == IN_TIME)
        if len(in_time):
            last = new + int(in_time[-1])
            self.future_below, self.follower_ms = int(offsets[last]), int(times_ms[last])
        ahead = np.flatnonzero(codes == AHEAD)
        waiting = ahead[offsets[ahead] >= self.future_below]
        if len(waiting):
            first = int(waiting[0])
            self._wait_for(int(offsets[first]), int(times_ms[first]), now_s)
            self.seen_to = max(self.seen_to, int(offsets[-1]) + 1)
            if self._few_for_long(len(waiting), now_s, max_future_ms):
                self.future_below, self.follower_ms = int(offsets[-1]) + 1, clock_ms
                waiting = waiting[:0]
        if not len(waiting):
            self.wait = None
        future = ahead[offsets[ahead] < self.future_below]
        return future, int(waiting[0]) if len(waiting) else len(offsets)

    def _wait_for(self, offset: int, time_ms: int, now_s: float) -> None:
        if self.wait is None:
            self.wait = ClockWait(now_s, offset, now_s, time_ms, now_s)
        elif self.wait.offset != offset:
            self.wait.offset, self.wait.offset_since_s, self.wait.time_ms = offset, now_s, time_ms
        self.wait.seen_s = now_s

    def _few_for_long(self, waiting: int, now_s: float, max_future_ms: int) -> bool:
        if self.wait is None or waiting >= FEW or self.dropped_from is not None:
            return False
        return (now_s - self.wait.offset_since_s) * 1000 >= max_future_ms
