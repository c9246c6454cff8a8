"""The whole path: against the client library that only reads and discards, and frequent against rare commits."""

import statistics
from argparse import Namespace
from typing import NamedTuple

from tests.bench.load import load_ending_now
from tests.bench.measured import Mark, Measured, measured
from tests.bench.report import Goal, report_value, say
from tests.bench.stage import Stage, stage

OFTEN_MS, SELDOM_MS = 100, 10_000


class RunStats(NamedTuple):
    """Events and CPU time of the span from the first event to the last."""

    events: int
    wall_s: float
    cpu_s: float
    main_cpu_s: float
    peak_mib: float

    @property
    def per_cpu_s(self) -> float:
        """Return events per second of CPU time."""
        return self.events / self.cpu_s

    @property
    def main_ns(self) -> float:
        """Return the CPU time of the main thread for an event."""
        return self.main_cpu_s / self.events * 1e9

    @property
    def library_ns(self) -> float:
        """Return that of the client library's threads, which fetch, decompress and send."""
        return (self.cpu_s - self.main_cpu_s) / self.events * 1e9


def stats_of(process: Measured) -> RunStats:
    """Return the stats of a process that counts to its last event."""
    first, counted = process.mark("first"), process.mark("counted")
    return between(first, counted, counted.events)


def between(begin: Mark, end: Mark, events: int) -> RunStats:
    """Return the stats of the span between two milestones."""
    return RunStats(
        events, end.wall_s - begin.wall_s, end.cpu_s - begin.cpu_s, end.main_cpu_s - begin.main_cpu_s, end.peak_mib
    )


class Round(NamedTuple):
    """One run of each, in turn, so that fluctuations affect all of them."""

    discarded: RunStats
    """The binding's consumer, which discards its message objects."""
    columns: RunStats
    """The worker's reader, which discards its columns."""
    by_events: RunStats
    by_sessions: RunStats


NAMES = ("read and discard", "read into columns", "by events", "by sessions")
GOALS = {"by_events": Goal(">=", 1.0), "by_sessions": Goal(">=", 0.6)}
TOO_FAR = 0.15
"""A round whose first run is off the median by more is repeated: something else ran on the machine."""


def measure_throughput(bootstrap_servers: str, options: Namespace) -> None:
    """Run read-and-discard, the reader alone and the worker with either counting in turn."""
    with stage(bootstrap_servers, options, options.partitions) as made:
        _fill(made)
        rounds = [_round(made) for _ in range(options.rounds)]
        for _ in range(options.rounds):
            middle = statistics.median(each.discarded.per_cpu_s for each in rounds)
            off = [i for i, each in enumerate(rounds) if abs(each.discarded.per_cpu_s / middle - 1) > TOO_FAR]
            if not off:
                break
            say(f"round {off[0] + 1} is repeated: its first run is off the median by more than {TOO_FAR:.0%}")
            rounds[off[0]] = _round(made)
    for field, name in zip(Round._fields, NAMES, strict=True):
        runs: list[RunStats] = [getattr(each, field) for each in rounds]
        report_value(f"{name}: k events per CPU second", [run.per_cpu_s / 1e3 for run in runs])
        report_value(f"{name}: k events per second", [run.events / run.wall_s / 1e3 for run in runs])
        report_value(f"{name}: main thread, CPU for an event", [run.main_ns for run in runs], "ns")
        report_value(f"{name}: the library's threads", [run.library_ns for run in runs], "ns")
        report_value(f"{name}: peak memory", [run.peak_mib for run in runs], "MiB")
    for field, name in zip(Round._fields[1:], NAMES[1:], strict=True):
        ratios = [getattr(each, field).per_cpu_s / each.discarded.per_cpu_s for each in rounds]
        report_value(f"{name} / read and discard, by CPU second", ratios, "", GOALS.get(field))


def _round(made: Stage) -> Round:
    return Round(
        _read(made, "read"),
        _read(made, "columns"),
        _work(made, "windows.counting=events"),
        _work(made, "windows.counting=sessions"),
    )


def measure_commits(bootstrap_servers: str, options: Namespace) -> None:
    """Run the worker with a commit every 100 ms and every 10 s, in alternating order."""
    with stage(bootstrap_servers, options, options.partitions) as made:
        _fill(made)
        runs: dict[int, list[RunStats]] = {OFTEN_MS: [], SELDOM_MS: []}
        for number in range(2 * options.rounds):
            for interval_ms in sorted(runs, reverse=number % 2 == 1):
                runs[interval_ms].append(_work(made, f"commit.interval_ms={interval_ms}"))
    for interval_ms, each in runs.items():
        report_value(f"a commit every {interval_ms} ms: k events per CPU second", [run.per_cpu_s / 1e3 for run in each])
    pairs = zip(runs[OFTEN_MS], runs[SELDOM_MS], strict=True)
    costs = [100 * (1 - often.per_cpu_s / seldom.per_cpu_s) for often, seldom in pairs]
    report_value("cost of commits every 100 ms instead of 10 s", costs, "%", Goal("<", 10))


def _fill(made: Stage) -> None:
    options = made.options
    load = load_ending_now(options.events, options.streams, options.duration_s * 1000)
    load = load._replace(wandering=options.wandering)
    size = made.fill(load)
    say(f"{load.events:,} events of {size / load.events:.0f} bytes in {load.streams:,} streams, lz4")


def _read(made: Stage, kind: str) -> RunStats:
    options = made.options
    with measured(kind, options.cpu, options.events, made.flags(made.new_group())) as process:
        return stats_of(process)


def _work(made: Stage, *flags: str) -> RunStats:
    with made.worker(made.new_group(), made.options.events, flags) as process:
        stats = stats_of(process)
        process.stop()
        return stats
