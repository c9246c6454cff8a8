"""The whole path: against the client library that only reads and discards, and frequent against rare commits."""

from argparse import Namespace
from collections.abc import Sequence
from typing import NamedTuple

from tests.bench.load import AUDIENCE, load_ending_now
from tests.bench.measured import Mark, Measured, measured
from tests.bench.report import Goal, report_value, say
from tests.bench.stage import Stage, stage

OFTEN_MS, SELDOM_MS = 100, 10_000


class RunStats(NamedTuple):
    """Events and CPU time of the span from the first event to the last."""

    events: int
    wall_s: float
    cpu_s: float
    peak_mib: float

    @property
    def per_cpu_s(self) -> float:
        """Return events per second of CPU time."""
        return self.events / self.cpu_s


def stats_of(process: Measured) -> RunStats:
    """Return the stats of a process that counts to its last event."""
    first, counted = process.mark("first"), process.mark("counted")
    return between(first, counted, counted.events)


def between(begin: Mark, end: Mark, events: int) -> RunStats:
    """Return the stats of the span between two milestones."""
    return RunStats(events, end.wall_s - begin.wall_s, end.cpu_s - begin.cpu_s, end.peak_mib)


def measure_throughput(bootstrap_servers: str, options: Namespace) -> None:
    """Run read-and-discard and the worker with either counting in turn, so that fluctuations affect all of them."""
    with stage(bootstrap_servers, options, options.partitions) as made:
        _fill(made)
        reads, by_events, by_sessions = [], [], []
        for _ in range(options.rounds):
            reads.append(_read(made))
            by_events.append(_work(made, "windows.counting=events"))
            by_sessions.append(_work(made, "windows.counting=sessions"))
    for name, runs in (("read and discard", reads), ("by events", by_events), ("by sessions", by_sessions)):
        report_value(f"{name}: k events per CPU second", [run.per_cpu_s / 1e3 for run in runs])
        report_value(f"{name}: k events per second", [run.events / run.wall_s / 1e3 for run in runs])
        report_value(f"{name}: peak memory", [run.peak_mib for run in runs], "MiB")
    report_value("by events / read and discard, by CPU second", _ratios(by_events, reads), "", Goal(">=", 0.55))
    report_value("by sessions / read and discard, by CPU second", _ratios(by_sessions, reads))
    ratios = _ratios(by_sessions, by_events)
    report_value(f"by sessions / by events, {AUDIENCE:,} viewers, by CPU second", ratios, "", Goal(">=", 0.8))


def _ratios(runs: Sequence[RunStats], others: Sequence[RunStats]) -> list[float]:
    return [run.per_cpu_s / other.per_cpu_s for run, other in zip(runs, others, strict=True)]


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
    size = made.fill(load)
    say(f"{load.events:,} events of {size / load.events:.0f} bytes in {load.streams:,} streams, lz4")


def _read(made: Stage) -> RunStats:
    options = made.options
    with measured("read", options.cpu, options.events, made.flags(made.new_group())) as process:
        return stats_of(process)


def _work(made: Stage, *flags: str) -> RunStats:
    with made.worker(made.new_group(), made.options.events, flags) as process:
        stats = stats_of(process)
        process.stop()
        return stats
