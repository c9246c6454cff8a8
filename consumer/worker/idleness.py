"""The idle clock of a partition: how far its time advances without records.

```
                                          partition_idle_ms
 idle time       0 ──── a second ──────────────────┼──────────────────────────────────────────►
 asked for end             ?      ?      ?         ┆           ?                 ?
 partition time  stands still ─────────────────────┼─ would run │ moves ───────── │ moves
                                                            start of a bucket  start of the next
```
Idle time is the sum of the time between polls, at most a second each: a suspended process did not observe that nothing
arrived. It restarts whenever a record may have arrived unseen, for example if a broker does not answer.
"""

MOST_PER_POLL_MS = 1_000
QUIET_MS = 1_000
"""Idle time before the first query, so that busy partitions are never queried."""

QUERY_EVERY_MS = 5_000


class IdleClock:
    """The idle clock of one assigned partition; used only while the partition holds something.

    Args:
        partition_idle_ms: idle time before partition time advances.
        bucket_ms: partition time advances only to starts of buckets.
    """

    def __init__(self, partition_idle_ms: int, bucket_ms: int) -> None:
        self._partition_idle_ms = partition_idle_ms
        self._bucket_ms = bucket_ms
        self._idle_ms = 0.0
        self._stepped_ms = 0
        self._since_answer_ms = float(QUERY_EVERY_MS)
        self._at_end = False

    def record_seen(self) -> None:
        """Restart: a record arrived, the partition is paused, or it is unknown whether something arrived."""
        self._idle_ms = 0.0
        self._stepped_ms = 0
        self._at_end = False

    def polled(self, elapsed_ms: float) -> None:
        """A poll returned nothing of this partition, that long after the poll before."""
        counted_ms = min(max(elapsed_ms, 0.0), MOST_PER_POLL_MS)
        self._idle_ms += counted_ms
        self._since_answer_ms += counted_ms
        self._at_end = False

    @property
    def is_quiet(self) -> bool:
        """Whether nothing arrived for a second or more."""
        return self._idle_ms >= QUIET_MS

    def wants_query(self, partition_time_ms: int) -> bool:
        """Whether an end-offset query is due; stays true until `answered`."""
        if self._boundary_ms(partition_time_ms) > partition_time_ms:
            return not self._at_end
        return self.may_be_looked_at

    @property
    def may_be_looked_at(self) -> bool:
        """Whether a query is due that only finds out whether records wait."""
        return self.is_quiet and self._since_answer_ms >= QUERY_EVERY_MS

    def answered(self, end_offset: int | None, next_offset: int) -> None:
        """Receive the answer to a query; it is valid until the next poll.

        Args:
            end_offset: the end offset, None if the query failed.
            next_offset: the next offset to read, behind transaction markers.
        """
        self._since_answer_ms = 0.0
        if end_offset == next_offset:
            self._at_end = True
        else:
            self.record_seen()

    def step(self, partition_time_ms: int) -> int | None:
        """The bucket start to which partition time advances now, or None.

        The caller must advance it; the clock continues from there.
        """
        to_ms = self._boundary_ms(partition_time_ms)
        if not self._at_end or to_ms <= partition_time_ms:
            return None
        self._at_end = False
        self._stepped_ms += to_ms - partition_time_ms
        return to_ms

    def _boundary_ms(self, partition_time_ms: int) -> int:
        """The last bucket start that the clock has reached."""
        ran_ms = max(0.0, self._idle_ms - self._partition_idle_ms)
        reached_ms = partition_time_ms + int(ran_ms) - self._stepped_ms
        return reached_ms // self._bucket_ms * self._bucket_ms
