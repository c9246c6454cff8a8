"""Time from the record that closes a bucket until a read_committed consumer has its summary."""

import json
import subprocess
import sys
import time
from argparse import Namespace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from confluent_kafka import Consumer, TopicPartition

from consumer.kafka.messages import batch_of
from tests.bench.measured import measured
from tests.bench.pinned import ANY_CPU
from tests.bench.report import Goal, report_value, say
from tests.bench.stage import Stage, stage

STREAMS = 1_000
RUN_S = 30
SETTLE_MS = 5_000
"""Not counted: threads start and the broker's files are new."""

QUIET_S = 3.0
ABOVE_PASS_THROUGH_MS = 150
"""What the p99 may be above that of a program that only forwards records, in the same run."""

PASSED_ON = 150
"""One record of so many is forwarded: as many a second as there are summaries."""

RULES = ["windows.bucket_ms=1000", "windows.window_duration_ms=6000", "windows.grace_ms=1000"]
"""Ten times as many summaries as by default; all streams close together, as by default."""


class Seen(NamedTuple):
    """A summary and when it was read."""

    partition: int
    offset: int
    """Offset of the record that closed the bucket."""
    seen_ms: float


def measure_freshness(bootstrap_servers: str, options: Namespace) -> None:
    """Send events at an even pace, and look when summaries, and records that are only forwarded, come out."""
    bare = _percentiles(bootstrap_servers, options, "pass_through", PASSED_ON)
    p99 = _percentiles(bootstrap_servers, options, "worker", 1)
    goal = Goal("<=", ABOVE_PASS_THROUGH_MS)
    report_value("p99 of the worker above that of the pass-through", [p99 - bare], "ms", goal)


def _percentiles(bootstrap_servers: str, options: Namespace, kind: str, number: int) -> float:
    """Print how long it takes until what a record gives can be read; return the 99th percentile in ms."""
    with stage(bootstrap_servers, options, options.partitions) as made:
        with measured(kind, ANY_CPU, number, made.flags(made.new_group(), *RULES)) as process:
            process.mark("restored")
            seen, sent = _watched(made, options.rate)
            process.stop()
        delays_ms = _delays_ms(seen, _timestamps_ms(made))
    say(f"{sent['sent'] / RUN_S:,.0f} events per second of {STREAMS:,} streams, up to {sent['behind_ms']:.0f} ms late")
    median, p99 = np.percentile(delays_ms, (50, 99))
    what = "can close" if kind == "worker" else "written"
    report_value(f"{kind}: {what} to committed and readable: median", [median], "ms")
    report_value(f"{kind}: {what} to committed and readable: p99", [p99], "ms")
    report_value(f"{kind}: {what} to committed and readable: largest", [delays_ms.max()], "ms")
    say(f"of {len(delays_ms):,} records")
    return float(p99)


def paced(
    made: Stage, rate: int, duration_s: int, streams: int, lifetime_s: int = 0, *, ready: bool = False
) -> "subprocess.Popen[str]":
    """Start a process that sends at an even pace; for a high rate it prepares all events first."""
    numbers = map(str, (rate, duration_s, streams, lifetime_s))
    how = "ready" if ready else "as it goes"
    command = [sys.executable, "-m", "tests.bench.paced", made.bootstrap_servers, made.topic, *numbers, how]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _watched(made: Stage, rate: int) -> tuple[list[Seen], dict[str, float]]:
    reader = _reader(made, f"{made.topic}-summaries")
    seen: list[Seen] = []
    with paced(made, rate, RUN_S, STREAMS, ready=True) as sender:
        last_s = time.monotonic()
        while sender.poll() is None or time.monotonic() - last_s < QUIET_S:
            messages = reader.consume(1000, 0.05)
            now_ms = time.time() * 1000
            for message in messages:
                summary = json.loads(message.value() or b"")
                seen.append(Seen(summary["partition"], summary["offset"], now_ms))
            last_s = time.monotonic() if messages else last_s
        assert sender.stdout is not None
        output = sender.stdout.read()
    reader.close()
    if sender.returncode != 0:
        raise SystemExit("the sender failed")
    return seen, json.loads(output)


def _reader(made: Stage, topic: str) -> Consumer:
    reader = Consumer(
        {
            "bootstrap.servers": made.bootstrap_servers,
            "group.id": f"{made.topic}-reader",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.queue.backoff.ms": 10,
        }
    )
    reader.assign([TopicPartition(topic, number, 0) for number in range(made.partitions)])
    return reader


def _timestamps_ms(made: Stage) -> list[npt.NDArray[np.int64]]:
    """Return the timestamp of every record by (partition, offset); there are no transactions, hence no gaps."""
    reader = _reader(made, made.topic)
    places = [TopicPartition(made.topic, number) for number in range(made.partitions)]
    found = [np.zeros(reader.get_watermark_offsets(place, 15)[1], np.int64) for place in places]
    left = sum(map(len, found))
    while left:
        batch = batch_of(reader.consume(1000, 1.0))
        for number, begin, end, _ in batch.runs:
            found[number][batch.offsets[begin:end]] = batch.timestamps_ms[begin:end]
        left -= len(batch)
    reader.close()
    return found


def _delays_ms(seen: list[Seen], timestamps_ms: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.float64]:
    by_record = [each for each in seen if each.offset is not None]
    begin_ms = min(int(each[0]) for each in timestamps_ms if len(each)) + SETTLE_MS
    closed_ms = np.array([timestamps_ms[each.partition][each.offset] for each in by_record], np.int64)
    delays_ms = np.array([each.seen_ms for each in by_record], np.float64) - closed_ms
    return delays_ms[closed_ms >= begin_ms]
