"""The judge: sessions counting from the presence of every viewer over the whole history; slow, close to the rules.

It shares no code with the engine. Kinds are the letters of the golden files; `facts` says what they mean.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.reference.facts import samples_of
from tests.reference.timing import Timing


class Event(NamedTuple):
    stream_id: str
    viewer_id: str
    timestamp_ms: int
    kind: str
    value: int = 0
    stall_ms: int = 0
    """Of events that say both B and S."""


@dataclass(frozen=True)
class Rules:
    window_duration_ms: int
    bucket_ms: int
    grace_ms: int
    viewer_timeout_ms: int = 90_000
    stream_idle_ms: int = 60_000
    max_streams: int = 1_000_000
    max_viewers: int = 5_000_000
    max_events_per_viewer_bucket: int = 64


class Stay(NamedTuple):
    """Presence in `[begin_ms, end_ms)`."""

    begin_ms: int
    end_ms: int
    by_leave: bool
    """Otherwise the stay ends by the time-out."""
    implicit: bool
    """The first event of the stay is not a join."""


class Stats(NamedTuple):
    """The presence statistics of one bucket."""

    peak: int
    joins: int
    leaves: int
    timeouts: int
    unique_viewers: int
    viewer_ms: int
    viewers_at_end: int
    orphan_leaves: int
    implicit_joins: int


@dataclass
class Bucket:
    start_ms: int
    bitrates: list[int] = field(default_factory=list)
    stalls_ms: list[int] = field(default_factory=list)
    untracked: int = 0


class Closed(NamedTuple):
    stream_id: str
    bucket: Bucket
    stats: Stats
    reason: str
    offset: int | None


@dataclass
class Stream:
    own_time_ms: int
    buckets: dict[int, Bucket] = field(default_factory=dict)
    """Buckets with an accepted event."""
    activities: dict[str, dict[tuple[int, bool], bool]] = field(default_factory=lambda: defaultdict(dict))
    """By viewer: (timestamp, is a leave), and whether a join was among them."""
    closed_to_ms: int | None = None
    summaries: list[Closed] = field(default_factory=list)


class Reference(Timing[Rules, Event, Stream]):
    """One input partition."""

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self.closed: list[Closed] = []
        self.untracked = 0

    def close_all(self) -> None:
        """Close up to and including the bucket of each stream's time."""
        for stream_id in self.streams:
            self._close_before(
                stream_id, self.start_of(self.time_of(stream_id)) + self.rules.bucket_ms, "END_OF_INPUT", None
            )

    def live(self, stream_id: str) -> int:
        """Return the number of viewers whose newest event is not a leave and not too old."""
        stream = self.streams.get(stream_id)
        if stream is None:
            return 0
        now_ms = self.time_of(stream_id)
        newest = [max(activities) for activities in stream.activities.values()]
        return sum(not leave and time_ms + self.rules.viewer_timeout_ms >= now_ms for time_ms, leave in newest)

    def window(self, stream_id: str) -> list[Closed]:
        """Return the closed buckets in the window, oldest first."""
        stream = self.streams.get(stream_id)
        if stream is None:
            return []
        begin_ms = self.time_of(stream_id) - self.rules.window_duration_ms
        return [c for c in stream.summaries if self._end_of(c.bucket) > begin_ms]

    def open_buckets(self, stream_id: str) -> list[int]:
        """Return the starts of open buckets with an event, and of the one that a viewer was carried into."""
        stream = self.streams[stream_id]
        open_to_ms = stream.closed_to_ms
        starts = {start for start in stream.buckets if open_to_ms is None or start >= open_to_ms}
        if open_to_ms is not None and self._carried(stream, open_to_ms):
            starts.add(open_to_ms)
        return sorted(starts)

    def viewers_held(self) -> int:
        """Return the number of viewers present at the end of closed buckets, or with activities in open ones."""
        return sum(len(self._held(stream)) for stream in self.streams.values())

    def activities_held(self) -> int:
        """Return the activities of all streams in open buckets."""
        return sum(
            stream.closed_to_ms is None or time_ms >= stream.closed_to_ms
            for stream in self.streams.values()
            for activities in stream.activities.values()
            for time_ms, _ in activities
        )

    def _end_of(self, bucket: Bucket) -> int:
        return bucket.start_ms + self.rules.bucket_ms

    # Counting

    def new_stream(self, time_ms: int) -> Stream:
        return Stream(time_ms)

    def count(self, stream: Stream, start_ms: int, event: Event) -> None:
        bucket = stream.buckets.setdefault(start_ms, Bucket(start_ms))
        samples = samples_of(event)
        bucket.bitrates += samples.bitrates
        bucket.stalls_ms += samples.stalls_ms
        activities = stream.activities.get(event.viewer_id, {})
        activity = (event.timestamp_ms, "L" in event.kind)
        if activity not in activities:
            in_bucket = sum(self.start_of(time_ms) == bucket.start_ms for time_ms, _ in activities)
            is_held = event.viewer_id in self._held(stream)
            if in_bucket >= self.rules.max_events_per_viewer_bucket or (
                not is_held and self.viewers_held() >= self.rules.max_viewers
            ):
                bucket.untracked += 1
                self.untracked += 1
                return
        activities = stream.activities[event.viewer_id]
        activities[activity] = activities.get(activity, False) or "J" in event.kind

    def _held(self, stream: Stream) -> set[str]:
        closed_to_ms = stream.closed_to_ms
        if closed_to_ms is None:
            return set(stream.activities)
        open_ones = {v for v, activities in stream.activities.items() if max(activities)[0] >= closed_to_ms}
        return open_ones | self._carried(stream, closed_to_ms)

    def _stays(self, activities: dict[tuple[int, bool], bool]) -> list[Stay]:
        """Return a viewer's stays; the last one ends at its time-out unless a leave ended it."""
        timeout_ms = self.rules.viewer_timeout_ms
        stays: list[Stay] = []
        begin_ms: int | None = None
        last_ms, implicit = 0, False
        for (time_ms, leave), joined in sorted(activities.items()):
            if begin_ms is not None and time_ms > last_ms + timeout_ms:
                stays.append(Stay(begin_ms, last_ms + timeout_ms, by_leave=False, implicit=implicit))
                begin_ms = None
            if leave:
                if begin_ms is not None:
                    stays.append(Stay(begin_ms, time_ms, by_leave=True, implicit=implicit))
                begin_ms = None
                continue
            if begin_ms is None:
                begin_ms, implicit = time_ms, not joined
            last_ms = time_ms
        if begin_ms is not None:
            stays.append(Stay(begin_ms, last_ms + timeout_ms, by_leave=False, implicit=implicit))
        return stays

    def _carried(self, stream: Stream, at_ms: int) -> set[str]:
        """Return who is present at the end of the bucket that ends there, by the activities before it."""
        carried = set()
        for viewer, activities in stream.activities.items():
            before = {activity: joined for activity, joined in activities.items() if activity[0] < at_ms}
            if any(stay.begin_ms < at_ms <= stay.end_ms for stay in self._stays(before)):
                carried.add(viewer)
        return carried

    def _stats(self, stream: Stream, start_ms: int) -> Stats:
        end_ms = start_ms + self.rules.bucket_ms
        by_viewer = {viewer: self._stays(activities) for viewer, activities in stream.activities.items()}
        stays = [stay for each in by_viewer.values() for stay in each]
        begun = [stay for stay in stays if start_ms <= stay.begin_ms < end_ms]
        ended = [stay for stay in stays if start_ms <= stay.end_ms < end_ms]
        leaves = sum(
            leave and start_ms <= time_ms < end_ms
            for activities in stream.activities.values()
            for time_ms, leave in activities
        )
        instants = {start_ms, *(stay.begin_ms for stay in begun)}
        return Stats(
            peak=max(sum(stay.begin_ms <= at < stay.end_ms for stay in stays) for at in instants),
            joins=len(begun),
            leaves=sum(stay.by_leave for stay in ended),
            timeouts=sum(not stay.by_leave for stay in ended),
            unique_viewers=sum(
                any(s.begin_ms < start_ms <= s.end_ms or start_ms <= s.begin_ms < end_ms for s in each)
                for each in by_viewer.values()
            ),
            viewer_ms=sum(max(0, min(stay.end_ms, end_ms) - max(stay.begin_ms, start_ms)) for stay in stays),
            viewers_at_end=sum(stay.begin_ms < end_ms <= stay.end_ms for stay in stays),
            orphan_leaves=leaves - sum(stay.by_leave for stay in ended),
            implicit_joins=sum(stay.implicit for stay in begun),
        )

    # Time

    def close(self, stream_id: str, reason: str, offset: int | None) -> None:
        # The first bucket that stays open: end + grace reaches the time.
        reach_ms = self.time_of(stream_id) - self.rules.bucket_ms - self.rules.grace_ms
        self._close_before(stream_id, -(-reach_ms // self.rules.bucket_ms) * self.rules.bucket_ms, reason, offset)

    def _close_before(self, stream_id: str, before_ms: int, reason: str, offset: int | None) -> None:
        """Close the buckets that start before that time."""
        stream = self.streams[stream_id]
        while (starts := self.open_buckets(stream_id)) and starts[0] < before_ms:
            bucket = stream.buckets.get(starts[0], Bucket(starts[0]))
            closed = Closed(stream_id, bucket, self._stats(stream, starts[0]), reason, offset)
            stream.summaries.append(closed)
            self.closed.append(closed)
            stream.closed_to_ms = self._end_of(bucket)

    def is_forgettable(self, stream_id: str) -> bool:
        assert self.idle_watermark_ms is not None
        if self.streams[stream_id].own_time_ms > self.idle_watermark_ms:
            return False
        return not self.open_buckets(stream_id) and not self.window(stream_id)
