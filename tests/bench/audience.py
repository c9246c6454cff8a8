"""What viewers cost: memory at rest, finalizing one huge stream, and a huge audience in a worker."""

import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from consumer.intake.intake import Intake
from consumer.intake.schemas.cache import SchemaCache
from consumer.runtime.joined import joined
from consumer.settings.model import load_settings
from consumer.settings.window_rules import window_rules
from consumer.simulate.batch import EventBatch
from consumer.simulate.encode import EventEncoder
from consumer.windows.events import BITRATE, JOIN, LEAVE
from consumer.windows.partition import PartitionWindows
from consumer.windows.viewers.layout import viewer_array_bytes
from consumer.worker.warm_up import warm_up
from tests.bench.load import AT_ONCE, AUDIENCE, FRAME, Records
from tests.bench.pinned import SCHEMA
from tests.bench.report import Goal, report_value, say
from tests.bench.stage import stage

HEARTBEAT_MS = 30_000
HUGE_STREAM = 1_000_000
HUGE_AUDIENCE, ITS_STREAMS, ITS_ROUNDS = 5_000_000, 2_000, 3
SETTLED_WITHIN_MS = 100
MOST_MIB = 1.5e9 / 2**20


class Visit(NamedTuple):
    """Visit every viewer once, in a fixed random order, evenly over a time span."""

    fact: int
    start_ms: int
    span_ms: int


class Heartbeats(NamedTuple):
    """Several rounds of visits; each viewer watches one stream."""

    viewers: int
    streams: int
    visits: Sequence[Visit]

    @property
    def events(self) -> int:
        """Return the number of events."""
        return self.viewers * len(self.visits)

    def batches(self) -> Iterator[Records]:
        """Yield batches in order of time."""
        ids = [f"channel/stream-{number:07d}" for number in range(self.streams)]
        encoder, keys, rng = EventEncoder(ids, 1, FRAME), [one.encode() for one in ids], np.random.default_rng(1)
        for visit in self.visits:
            order = rng.permutation(self.viewers)
            for begin in range(0, self.viewers, AT_ONCE):
                viewer = order[begin : begin + AT_ONCE]
                at_ms = visit.start_ms + (begin + np.arange(len(viewer))) * visit.span_ms // self.viewers
                facts = np.full(len(viewer), visit.fact, np.uint8)
                bitrate_bps = np.full(len(viewer), 3_000_000 if visit.fact == BITRATE else 0)
                none = np.zeros(len(viewer), np.int64)
                stream = (viewer % self.streams).astype(np.int32)
                events = EventBatch(at_ms, at_ms, stream, viewer, facts, bitrate_bps, none)
                yield [keys[number] for number in stream.tolist()], encoder.avro(events), at_ms.tolist()


class SessionWindows:
    """Windows alone with sessions counting, at the default settings."""

    def __init__(self) -> None:
        source = load_settings(None, [f'input.ids={{1 = "{SCHEMA}"}}', "windows.counting=sessions"], {})
        self._intake = Intake(source.input, SchemaCache(source.input))
        self.rules = window_rules(source.windows)
        self.windows = PartitionWindows(self.rules, (1, 2))

    def process(self, made: Heartbeats) -> float:
        """Return the CPU time of the windows for all batches, in ms."""
        took_s = 0.0
        for _, values, stamps in made.batches():
            events = self._intake.decode(joined(values), np.array(stamps), stamps[-1]).events
            began_s = time.process_time()
            self.windows.apply(events, 0, len(values), np.arange(len(values)))
            took_s += time.process_time() - began_s
            self.windows.pop_closed()
        return took_s * 1e3


def measure_audience(bootstrap_servers: str, options: Namespace) -> None:
    """Measure in this process, then in a worker."""
    warm_up()
    _say_bytes_at_rest(options.streams)
    for name, kind in (("are seen", BITRATE), ("leave", LEAVE)):
        took_ms = [_finalized_ms(kind) for _ in range(options.rounds)]
        goal = Goal("<", SETTLED_WITHIN_MS)
        report_value(f"a bucket in which {HUGE_STREAM:,} viewers {name} is finalized", took_ms, "ms", goal)
    _say_huge_audience(bootstrap_servers, options)


def _say_bytes_at_rest(streams: int) -> None:
    room, start_ms = SessionWindows(), _whole_buckets_ago(600_000)
    seen = [Visit(JOIN, start_ms, HEARTBEAT_MS), Visit(BITRATE, start_ms + HEARTBEAT_MS, HEARTBEAT_MS)]
    room.process(Heartbeats(AUDIENCE, streams, seen))
    # One viewer per stream continues until the buckets of all others are closed and their activities are dropped.
    room.process(Heartbeats(streams, streams, [Visit(BITRATE, start_ms + 3 * HEARTBEAT_MS, HEARTBEAT_MS // 2)]))
    assert room.windows.stats().viewers_held == AUDIENCE
    held = viewer_array_bytes(room.windows._state.viewer_arrays, 0, 0)
    report_value(f"{AUDIENCE:,} viewers at rest: bytes per viewer", [held / AUDIENCE], "", Goal("<=", 64))


def _finalized_ms(kind: int) -> float:
    """All viewers are present, each is active in one bucket, and one event closes that bucket."""
    room, start_ms = SessionWindows(), _whole_buckets_ago(600_000)
    bucket_ms, grace_ms = room.rules.bucket_ms, room.rules.grace_ms
    room.process(
        Heartbeats(HUGE_STREAM, 1, [Visit(JOIN, start_ms, bucket_ms), Visit(kind, start_ms + bucket_ms, bucket_ms)])
    )
    return room.process(Heartbeats(1, 1, [Visit(BITRATE, start_ms + 2 * bucket_ms + grace_ms + 1, 0)]))


def _say_huge_audience(bootstrap_servers: str, options: Namespace) -> None:
    """Run a worker that ends with a checkpoint of all viewers."""
    start_ms = _whole_buckets_ago(60_000 + ITS_ROUNDS * HEARTBEAT_MS)
    visits = [
        Visit(BITRATE if number else JOIN, start_ms + number * HEARTBEAT_MS, HEARTBEAT_MS)
        for number in range(ITS_ROUNDS)
    ]
    made = Heartbeats(HUGE_AUDIENCE, ITS_STREAMS, visits)
    with stage(bootstrap_servers, options, options.partitions) as topic:
        topic.fill(made)
        with topic.worker(topic.new_group(), made.events, ["windows.counting=sessions"]) as process:
            first, counted = process.mark("first"), process.mark("counted")
            process.stop()
            stopped = process.mark("stopped")
    say(f"{made.events:,} events of {made.viewers:,} viewers in {made.streams:,} streams, {ITS_ROUNDS} each")
    report_value("a huge audience: k events per CPU second", [made.events / (counted.cpu_s - first.cpu_s) / 1e3])
    report_value("a huge audience: last commit, with a checkpoint of all", [stopped.wall_s - counted.wall_s], "s")
    report_value("a huge audience: peak memory, all included", [stopped.peak_mib], "MiB", Goal("<=", MOST_MIB))


def _whole_buckets_ago(ms: int) -> int:
    return (int(time.time() * 1000) - ms) // 10_000 * 10_000
