"""A worker as HTTP sees it, with many streams, behind a real server; a test moves it bucket by bucket."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from consumer.observe.history import BucketHistory
from consumer.observe.server import StatusServer
from consumer.observe.snapshot import Health, OutputStatus, Snapshot
from consumer.windows.layout import CLOSED
from tests.observe.samples import READY, Clock, partition, stream
from tests.observe.site import BUCKET_MS, Worker

START_MS = 1_700_000_000_000 // BUCKET_MS * BUCKET_MS
PARTITIONS = 4


class RunningClock(Clock):
    """The real monotonic clock, which a test may set ahead."""

    ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


@dataclass
class Stage:
    """`streams` names, the largest first; figures follow from place and bucket."""

    streams: Sequence[str]
    counting: str = "sessions"
    health: Health = READY
    bucket: int = 0
    waiting: tuple[int, ...] = ()
    left_out: int = 0
    clock: RunningClock = field(init=False)
    worker: Worker = field(init=False)
    server: StatusServer = field(init=False)

    def __post_init__(self) -> None:
        self.clock = RunningClock()
        self.worker = Worker(self.counting, history_size=131_072, clock=self.clock)
        for number in range(PARTITIONS):
            self.worker.history.begin(number, START_MS)
        self.worker.board.starting("")
        self.publish()
        self.server = StatusServer("127.0.0.1", 0, self.worker.routes, time.monotonic)
        self.server.start()

    @property
    def history(self) -> BucketHistory:
        return self.worker.history

    def viewers(self, place: int, bucket: int) -> int:
        """Large at the top, in waves of its own."""
        size = 40_000 / (place + 2)
        return round(size * (1 + 0.25 * math.sin(bucket / 5 + place) + 0.01 * (bucket * 17 % 13)))

    def stalls(self, place: int, bucket: int) -> tuple[int, int]:
        """Buffer events of a bucket, and their milliseconds."""
        events = self.viewers(place, bucket) // 900 + 1 if (place * 13 + bucket * 5) % 17 < 2 else 0
        return events, events * (800 + place % 5 * 700)

    def close_buckets(self, number: int = 1) -> None:
        """Close the next buckets of all streams, and publish what the gauges show then."""
        for _ in range(number):
            for owner in range(PARTITIONS):
                places = range(owner, len(self.streams), PARTITIONS)
                if places:
                    self.history.add(owner, [self.streams[place].encode() for place in places], self._closed(places))
            self.bucket += 1
        self.publish()

    def _closed(self, places: range) -> Any:
        rows = np.zeros(len(places), CLOSED)
        bucket, presence = rows["bucket"], rows["presence"]
        peaks = np.array([self.viewers(place, self.bucket) for place in places])
        place = np.array(places)
        bucket["start_ms"] = START_MS + self.bucket * BUCKET_MS
        bucket["peak"], presence["viewer_ms"] = peaks, peaks * 9_300
        bucket["joins"], bucket["leaves"] = peaks // 9 + 1, peaks // 11
        presence["timeouts"], presence["unique_viewers"] = peaks // 90, peaks + peaks // 9
        samples = np.maximum(peaks // 3, place % 7 != 6)
        average = 1_200_000 + place % 11 * 400_000 + ((self.bucket * 7 + place) % 10) * 30_000
        bucket["bitrate_samples"], bucket["bitrate_sum_low"] = samples, samples * average + samples // 3
        bucket["bitrate_min_bps"] = np.where(samples, average // 3, 0)
        bucket["bitrate_max_bps"] = np.where(samples, average * 2, 0)
        bucket["buffer_events"], bucket["stall_ms"] = zip(
            *(self.stalls(place, self.bucket) for place in places), strict=True
        )
        rows["reason"] = self.bucket % 2
        return rows

    def snapshot(self) -> Snapshot:
        """The gauges of this moment."""
        shown = [
            stream(
                name,
                self.viewers(place, self.bucket),
                window_peak_concurrent_viewers=max(self.viewers(place, self.bucket - each) for each in range(6)),
                window_bitrate_samples=0 if place % 7 == 6 else 40 + place,
                window_bitrate_avg_bps=0.0 if place % 7 == 6 else 1_234_567.25 + place % 11 * 400_000,
                window_bitrate_min_bps=0 if place % 7 == 6 else 400_000,
                window_bitrate_max_bps=0 if place % 7 == 6 else 6_000_000,
                window_buffer_events=sum(self.stalls(place, self.bucket - each)[0] for each in range(6)),
                window_stall_ms=sum(self.stalls(place, self.bucket - each)[1] for each in range(6)),
                last_closed_bucket_start_ms=START_MS + (self.bucket - 1) * BUCKET_MS if self.bucket else None,
                partitions=(place % PARTITIONS,),
            )
            for place, name in enumerate(self.streams)
        ]
        shown.sort(key=lambda one: (-one.concurrent_viewers, one.stream_id))
        return Snapshot(
            health=self.health,
            streams=tuple(shown),
            streams_left_out=self.left_out,
            partitions=tuple(self._partition(number, shown) for number in range(PARTITIONS)),
            output=OutputStatus(pending_records=17, open_transaction_s=0.04, last_commit_s=1_700_000_000.0),
            waiting=self.waiting,
            taken_s=self.clock(),
            rates={"events": 51_234.4, "late_events": 0.2, "rejects": 0.0, "summaries": 199.8, "commits": 9.9},
            history_buckets=len(self.history),
        )

    def _partition(self, number: int, shown: Sequence[Any]) -> Any:
        own = [one for one in shown if one.partitions == (number,)]
        return partition(
            number,
            next_offset=1_000_000 + self.bucket * 1_000,
            end_offset=1_000_000 + self.bucket * 1_000 + number * 7,
            time_lag_s=0.4 + number,
            streams=len(own),
            buckets=len(own) * 9,
            viewers=sum(one.concurrent_viewers for one in own),
            state_bytes=3_000_000,
            checkpoint_age_s=12.0,
        )

    def publish(self) -> None:
        """As the loop does twice a second."""
        self.worker.board.tick(self.clock())
        self.worker.board.publish(self.snapshot())

    def close(self) -> None:
        self.server.close()
