"""The clock of a partition to which nothing comes: how far its time runs on without records.

```
                                          partition_idle_ms
 idle time       0 ──── a second ──────────────────┼──────────────────────────────────────────►
 asked for end             ?      ?      ?         ┆           ?                 ?
 partition time  stands still ─────────────────────┼─ would run │ moves ───────── │ moves
                                                            start of a bucket  start of the next
```
Idle time is made of what polls took, at most a second each: a process that was stopped, or a machine that slept, hasn't
seen for so long that nothing came. Whatever says that something may have come makes it start anew, a broker that
doesn't answer included: records may be where nobody sees them.
"""

MOST_PER_POLL_MS = 1_000
QUIET_MS = 1_000
"""A partition is not asked about before; on a busy one no query is spent."""

QUERY_EVERY_MS = 5_000


class IdleClock:
    """Of one partition, from its assignment until it goes; ask it only while the partition holds something.

    Args:
        partition_idle_ms: how long nothing must have come before time runs on.
        bucket_ms: time moves to the starts of buckets only.
    """

    def __init__(self, partition_idle_ms: int, bucket_ms: int) -> None:
        self._partition_idle_ms = partition_idle_ms
        self._bucket_ms = bucket_ms
        self._idle_ms = 0.0
        self._stepped_ms = 0
        self._since_answer_ms = float(QUERY_EVERY_MS)
        self._at_end = False

    def record_seen(self) -> None:
        """A record came, or the partition is paused, or for any other reason nobody knows that nothing came."""
        self._idle_ms = 0.0
        self._stepped_ms = 0
        self._at_end = False

    def polled(self, elapsed_ms: float) -> None:
        """A poll brought nothing of this partition; so long is it since the poll before."""
        counted_ms = min(max(elapsed_ms, 0.0), MOST_PER_POLL_MS)
        self._idle_ms += counted_ms
        self._since_answer_ms += counted_ms
        self._at_end = False

    @property
    def is_quiet(self) -> bool:
        """Nothing came for a second or more; before that there is nothing to ask of this clock."""
        return self._idle_ms >= QUIET_MS

    def wants_query(self, partition_time_ms: int) -> bool:
        """Whether to ask now where the partition ends; it stays so until `answered`."""
        if self._boundary_ms(partition_time_ms) > partition_time_ms:
            return not self._at_end
        return self.is_quiet and self._since_answer_ms >= QUERY_EVERY_MS

    def answered(self, end_offset: int | None, next_offset: int) -> None:
        """Take the answer to a query; it counts until the next poll.

        Args:
            end_offset: one past the newest record, None where the query failed.
            next_offset: from where the partition is read on, markers of transactions passed.
        """
        self._since_answer_ms = 0.0
        if end_offset == next_offset:
            self._at_end = True
        else:
            self.record_seen()

    def step(self, partition_time_ms: int) -> int | None:
        """To where partition time moves now, the start of a later bucket; None where it stays.

        Whoever calls moves it there: the clock goes on from that.
        """
        to_ms = self._boundary_ms(partition_time_ms)
        if not self._at_end or to_ms <= partition_time_ms:
            return None
        self._at_end = False
        self._stepped_ms += to_ms - partition_time_ms
        return to_ms

    def _boundary_ms(self, partition_time_ms: int) -> int:
        """The last start of a bucket that the clock has reached."""
        ran_ms = max(0.0, self._idle_ms - self._partition_idle_ms)
        reached_ms = partition_time_ms + int(ran_ms) - self._stepped_ms
        return reached_ms // self._bucket_ms * self._bucket_ms
