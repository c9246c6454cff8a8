"""The judge: events counting in plain Python, one object per stream and bucket, slow and easy to read.

It shares no code with the engine. Kinds are the letters of the golden files; `facts` says what they mean.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from tests.reference.facts import samples_of
from tests.reference.timing import Status, Timing

DAY_MS = 86_400_000


class Event(NamedTuple):
    stream_id: str
    kind: str
    timestamp_ms: int
    value: int = 0
    stall_ms: int = 0
    """Of events that say both B and S."""


@dataclass(frozen=True)
class Rules:
    window_duration_ms: int
    bucket_ms: int
    grace_ms: int
    stream_idle_ms: int = 60_000
    max_streams: int = 1_000_000


@dataclass
class Bucket:
    start_ms: int
    peak: int = 0
    joins: int = 0
    leaves: int = 0
    bitrates: list[int] = field(default_factory=list)
    stalls_ms: list[int] = field(default_factory=list)

    def row(self) -> tuple[int, int, float, int, int, int, int, int]:
        """Return [start, peak, avg, min, max, buffer_count, stall_ms, samples], as in the golden files."""
        samples = self.bitrates
        return (
            self.start_ms,
            self.peak,
            sum(samples) / len(samples) if samples else 0.0,
            min(samples, default=0),
            max(samples, default=0),
            len(self.stalls_ms),
            sum(self.stalls_ms),
            len(samples),
        )


class Closed(NamedTuple):
    stream_id: str
    bucket: Bucket
    reason: str
    offset: int | None


class Instant(NamedTuple):
    """A time that was reached under rules that are no longer in force."""

    time_ms: int
    grace_ms: int


@dataclass
class Stream:
    own_time_ms: int
    viewers: int = 0
    past: list[Instant] = field(default_factory=list)
    buckets: dict[int, Bucket] = field(default_factory=dict)
    closed_below_ms: int | None = None

    def has_closed(self, start_ms: int) -> bool:
        return self.closed_below_ms is not None and start_ms < self.closed_below_ms


class Reference(Timing[Rules, Event, Stream]):
    """One input partition."""

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self.past: list[Instant] = []
        self.closed: list[Closed] = []
        self.seen: set[str] = set()

    def apply(self, event: Event, offset: int | None = None, clamped_ms: int = 0) -> Status:
        self.seen.add(event.stream_id)
        return super().apply(event, offset, clamped_ms)

    def change_rules(self, rules: Rules, offset: int | None = None) -> None:
        if self.idle_watermark_ms is not None:
            self.past.append(Instant(self.idle_watermark_ms, self.rules.grace_ms))
        for stream in self.streams.values():
            stream.past.append(Instant(stream.own_time_ms, self.rules.grace_ms))
        shown = {stream_id: {bucket.start_ms for bucket in self.window(stream_id)} for stream_id in self.streams}
        self.rules = rules
        for stream_id in list(self.streams):
            self.close(stream_id, "SETTINGS", offset)
            self._forget_closed(stream_id, keep=shown[stream_id])
            if self.idle_watermark_ms is not None and self.is_forgettable(stream_id):
                del self.streams[stream_id]

    def close_all(self) -> None:
        for stream_id, stream in self.streams.items():
            for start_ms in self.open_buckets(stream_id):
                self.closed.append(Closed(stream_id, stream.buckets[start_ms], "END_OF_INPUT", None))
            stream.buckets.clear()

    def open_buckets(self, stream_id: str) -> list[int]:
        now_ms = self.time_of(stream_id)
        stream = self.streams.get(stream_id)
        if stream is None:
            return []
        return sorted(s for s in stream.buckets if not self.is_closed(s, now_ms) and not stream.has_closed(s))

    def window(self, stream_id: str) -> list[Bucket]:
        stream = self.streams.get(stream_id)
        if stream is None:
            return []
        horizon_ms = self.time_of(stream_id) - self.rules.window_duration_ms
        return [b for s, b in sorted(stream.buckets.items()) if s + self.rules.bucket_ms > horizon_ms]

    def _was_closed(self, start_ms: int, past: list[Instant]) -> bool:
        return any(start_ms + self.rules.bucket_ms + then.grace_ms < then.time_ms for then in past)

    def was_closed(self, stream: Stream, start_ms: int) -> bool:
        return self._was_closed(start_ms, stream.past)

    def is_closed_by_the_idle_watermark(self, start_ms: int) -> bool:
        return super().is_closed_by_the_idle_watermark(start_ms) or self._was_closed(start_ms, self.past)

    def new_stream(self, time_ms: int) -> Stream:
        return Stream(time_ms)

    def count(self, stream: Stream, start_ms: int, event: Event) -> None:
        bucket = stream.buckets.setdefault(start_ms, Bucket(start_ms))
        if "J" in event.kind:
            stream.viewers += 1
            bucket.joins += 1
            bucket.peak = max(bucket.peak, stream.viewers)
        elif "L" in event.kind:
            stream.viewers = max(0, stream.viewers - 1)
            bucket.leaves += 1
        samples = samples_of(event)
        bucket.bitrates += samples.bitrates
        bucket.stalls_ms += samples.stalls_ms

    def close(self, stream_id: str, reason: str, offset: int | None) -> None:
        stream = self.streams[stream_id]
        now_ms = self.time_of(stream_id)
        reached_ms = stream.closed_below_ms
        for start_ms in sorted(stream.buckets):
            if self.is_closed(start_ms, now_ms) and (reached_ms is None or start_ms >= reached_ms):
                self.closed.append(Closed(stream_id, stream.buckets[start_ms], reason, offset))
                stream.closed_below_ms = start_ms + self.rules.bucket_ms
        self._forget_closed(stream_id, keep={bucket.start_ms for bucket in self.window(stream_id)})

    def _forget_closed(self, stream_id: str, keep: set[int]) -> None:
        stream, now_ms = self.streams[stream_id], self.time_of(stream_id)
        for start_ms in set(stream.buckets) - keep:
            if self.is_closed(start_ms, now_ms) or stream.has_closed(start_ms):
                del stream.buckets[start_ms]

    def is_forgettable(self, stream_id: str) -> bool:
        assert self.idle_watermark_ms is not None
        assert self.partition_time_ms is not None
        stream = self.streams[stream_id]
        if stream.own_time_ms > self.idle_watermark_ms or self.open_buckets(stream_id) or self.window(stream_id):
            return False
        if not all(self.is_closed_by_the_idle_watermark(self._last_closed(then)) for then in stream.past):
            return False  # a new stream would reopen the bucket
        # Idle watermark plus stream_idle_ms is partition time when it moved, unless changed rules hold it in place.
        return stream.viewers == 0 or self.idle_watermark_ms + self.rules.stream_idle_ms - stream.own_time_ms >= DAY_MS

    def _last_closed(self, then: Instant) -> int:
        """Return the start of the last bucket that was closed then."""
        return (then.time_ms - 1 - then.grace_ms - self.rules.bucket_ms) // self.rules.bucket_ms * self.rules.bucket_ms
