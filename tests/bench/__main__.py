"""`make bench`: what the client library alone reads, what the worker counts, on one processor each, in one run."""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator

from consumer.kafka.config import plain_producer_config
from consumer.kafka.embedded import EventProducer
from tests.bench.load import Load, load_ending_now
from tests.bench.pinned import Figures, settings_for
from tests.bench.rooms import measure_rooms, state_bytes_per_stream
from tests.support.broker import real_broker
from tests.support.topics import create_topic, delete_topics, unique

RUN_WITHIN_S = 300.0
PART = 4


def main() -> None:
    """Measure and print a table."""
    options = _options()
    load = load_ending_now(options.events, options.streams, options.duration_s * 1000)
    # A part of the load, as dense as all of it.
    part = load._replace(events=load.events // PART, duration_ms=load.duration_ms // PART)
    for batch in (1_000, 10_000):
        rooms = measure_rooms(part, batch)
        for name, ns in (("decode", rooms.decode_ns), ("windows", rooms.windows_ns)):
            say(f"{name:8} alone, {batch:6,} a batch {ns:6.0f} ns an event  {1e3 / ns:6.1f} M/s")
    state_bytes = state_bytes_per_stream(load._replace(events=20 * load.streams))
    say(f"state {state_bytes:.0f} bytes a stream, {load.streams:,} streams, at the default settings")
    with real_broker() as bootstrap_servers:
        topic = unique("bench")
        topics = [topic, f"{topic}-summaries", f"{topic}-dead", f"{topic}-state"]
        for name in topics:
            create_topic(bootstrap_servers, name, options.partitions)
        try:
            _fill(bootstrap_servers, topic, load)
            _compare(options, bootstrap_servers, topic)
        finally:
            delete_topics(bootstrap_servers, topics)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("--events", type=int, default=4_000_000)
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument("--duration-s", type=int, default=120, help="of event time")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cpu", type=int, default=max(os.sched_getaffinity(0)), help="the measured one")
    return parser.parse_args()


def _fill(bootstrap_servers: str, topic: str, load: Load) -> None:
    settings = settings_for(bootstrap_servers, topic, "bench")
    producer = EventProducer(plain_producer_config(settings.kafka), topic)
    size = 0
    for keys, values, timestamps_ms in load.batches():
        producer.produce(zip(keys, values, timestamps_ms, strict=True))
        size += sum(map(len, values))
    producer.flush(60.0)
    say(f"{load.events:,} events of {size / load.events:.0f} bytes in {load.streams:,} streams, lz4")


def _compare(options: argparse.Namespace, bootstrap_servers: str, topic: str) -> None:
    """In turn, so that a swing of the machine hits both."""
    reads, works = [], []
    for number in range(options.rounds):
        reads.append(measured("read", options.cpu, options.events, bootstrap_servers, topic, number))
        works.append(measured("worker", options.cpu, options.events, bootstrap_servers, topic, number))
    for name, runs in (("read and discard", reads), ("worker", works)):
        for line in _lines(name, runs):
            say(line)
    ratios = [_per_cpu_s(work) / _per_cpu_s(read) for work, read in zip(works, reads, strict=True)]
    say(f"worker / read and discard, by CPU second: {spread(ratios)}")


def measured(kind: str, cpu: int, events: int, bootstrap_servers: str, topic: str, number: int) -> Figures:
    """Figures of one measured process, which is done when it has counted so many events."""
    command = [sys.executable, "-m", "tests.bench.pinned", kind, str(cpu), str(events)]
    command += [bootstrap_servers, topic, f"{topic}-{kind}-{number}", "100"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_WITHIN_S, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{kind} failed:\n{done.stderr[-2000:]}")
    return Figures(**json.loads(done.stdout))


def _lines(name: str, runs: list[Figures]) -> Iterator[str]:
    yield f"{name:17} k events a CPU second {spread([_per_cpu_s(run) / 1e3 for run in runs])}"
    yield f"{'':17} k events a second     {spread([run.events / run.wall_s / 1e3 for run in runs])}"
    yield f"{'':17} peak MiB              {spread([run.peak_mib for run in runs])}"


def _per_cpu_s(run: Figures) -> float:
    return run.events / run.cpu_s


def spread(values: list[float]) -> str:
    """Median, least and most."""
    return f"{statistics.median(values):8.2f}  ({min(values):.2f} to {max(values):.2f})"


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
