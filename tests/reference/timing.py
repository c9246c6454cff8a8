"""What both judges share: time of streams and partitions, and which events are late; in plain Python."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from typing import Generic, Literal, Protocol, TypeVar

Status = Literal["accepted", "late", "late_idle", "stream_limit"]


class TimeRules(Protocol):
    @property
    def window_duration_ms(self) -> int: ...

    @property
    def bucket_ms(self) -> int: ...

    @property
    def grace_ms(self) -> int: ...

    @property
    def stream_idle_ms(self) -> int: ...

    @property
    def max_streams(self) -> int: ...


class TimedEvent(Protocol):
    @property
    def stream_id(self) -> str: ...

    @property
    def timestamp_ms(self) -> int: ...


class TimedStream(Protocol):
    own_time_ms: int


RulesT = TypeVar("RulesT", bound=TimeRules)
EventT = TypeVar("EventT", bound=TimedEvent)
StreamT = TypeVar("StreamT", bound=TimedStream)


class Timing(ABC, Generic[RulesT, EventT, StreamT]):
    """One input partition."""

    def __init__(self, rules: RulesT) -> None:
        self.rules = rules
        self.streams: dict[str, StreamT] = {}
        self.partition_time_ms: int | None = None
        self.idle_watermark_ms: int | None = None
        self.late: Counter[str] = Counter()

    def time_of(self, stream_id: str) -> int:
        stream = self.streams.get(stream_id)
        times = [] if stream is None else [stream.own_time_ms]
        if self.idle_watermark_ms is not None:
            times.append(self.idle_watermark_ms)
        return max(times)

    def start_of(self, time_ms: int) -> int:
        return time_ms // self.rules.bucket_ms * self.rules.bucket_ms

    def apply(self, event: EventT, offset: int | None = None) -> Status:
        stream = self.streams.get(event.stream_id)
        now_ms = event.timestamp_ms if stream is None else max(stream.own_time_ms, event.timestamp_ms)
        start_ms = self.start_of(event.timestamp_ms)
        if self.is_closed(start_ms, now_ms) or (stream is not None and self.was_closed(stream, start_ms)):
            self.late[event.stream_id] += 1
            return "late"
        if self.is_closed_by_the_idle_watermark(start_ms):
            self.late[event.stream_id] += 1
            return "late_idle"
        if stream is None:
            if len(self.streams) >= self.rules.max_streams:
                self._move_partition_time(event.timestamp_ms, "STREAM_IDLE", offset)
                return "stream_limit"
            stream = self.streams[event.stream_id] = self.new_stream(event.timestamp_ms)
        stream.own_time_ms = now_ms
        self.close(event.stream_id, "WATERMARK", offset)
        self.count(stream, start_ms, event)
        self._move_partition_time(event.timestamp_ms, "STREAM_IDLE", offset)
        return "accepted"

    def step(self, to_ms: int, offset: int | None = None) -> None:
        """Let the clock of a quiet partition advance its time."""
        self._move_partition_time(to_ms, "PARTITION_IDLE", offset)

    def is_closed(self, start_ms: int, time_ms: int) -> bool:
        return start_ms + self.rules.bucket_ms + self.rules.grace_ms < time_ms

    def is_closed_by_the_idle_watermark(self, start_ms: int) -> bool:
        return self.idle_watermark_ms is not None and self.is_closed(start_ms, self.idle_watermark_ms)

    def was_closed(self, stream: StreamT, start_ms: int) -> bool:
        """Return whether the bucket was closed under rules that are no longer in force."""
        del stream, start_ms
        return False

    @abstractmethod
    def new_stream(self, time_ms: int) -> StreamT: ...

    @abstractmethod
    def count(self, stream: StreamT, start_ms: int, event: EventT) -> None:
        """Count an accepted event in its bucket."""

    @abstractmethod
    def close(self, stream_id: str, reason: str, offset: int | None) -> None:
        """Close the buckets that have ended at the stream's time."""

    @abstractmethod
    def is_forgettable(self, stream_id: str) -> bool: ...

    def _move_partition_time(self, timestamp_ms: int, reason: str, offset: int | None) -> None:
        before_ms = self.partition_time_ms
        if before_ms is None:
            self.partition_time_ms = timestamp_ms
            return
        self.partition_time_ms = max(before_ms, timestamp_ms)
        if self.start_of(self.partition_time_ms) == self.start_of(before_ms):
            return
        idle_watermark_ms = self.partition_time_ms - self.rules.stream_idle_ms
        self.idle_watermark_ms = (
            idle_watermark_ms if self.idle_watermark_ms is None else max(self.idle_watermark_ms, idle_watermark_ms)
        )
        for stream_id in list(self.streams):
            self.close(stream_id, reason, offset)
            if self.is_forgettable(stream_id):
                del self.streams[stream_id]
