"""The cost of rejects: the worker over events alone, and over as many records of which every second is invalid."""

from argparse import Namespace
from collections.abc import Iterator
from typing import NamedTuple

from tests.bench.compare import RunStats, stats_of
from tests.bench.load import Load, Records, load_ending_now
from tests.bench.measured import measured
from tests.bench.report import Goal, report_value
from tests.bench.stage import Stage, stage

RECORDS = 1_000_000
POISON = (b"\1not what comes first", b"\0\0\0\0\1\xff\xff", b"\0\0\0\0\1\2s\2v\2\0trailing", b"\0\0\0\0\1\2\xff\2v\2\0")


class HalfPoison(NamedTuple):
    """A load in which every second record is invalid."""

    load: Load

    def batches(self) -> Iterator[Records]:
        """Yield batches in order of time."""
        for keys, values, timestamps_ms in self.load.batches():
            sent = [POISON[i // 2 % len(POISON)] if i % 2 else value for i, value in enumerate(values)]
            yield keys, sent, timestamps_ms


def measure_rejects(bootstrap_servers: str, options: Namespace) -> None:
    """Measure both in turn, on the same broker."""
    load = load_ending_now(RECORDS, options.streams, 60_000)
    with (
        stage(bootstrap_servers, options, options.partitions) as clean,
        stage(bootstrap_servers, options, options.partitions) as half,
    ):
        clean.fill(load)
        half.fill(HalfPoison(load))
        runs = [(_run(clean, RECORDS), _run(half, RECORDS // 2), _dead_letters(half)) for _ in range(options.rounds)]
    for name, each in zip(("events alone", "half poison"), zip(*runs, strict=False), strict=False):
        report_value(f"{name}: ns of CPU per record", [run.cpu_s / RECORDS * 1e9 for run in each])
    report_value(
        "dead letters, C functions alone, 50,000 a transaction: ns of CPU per dead letter",
        [run.cpu_s / RECORDS * 2e9 for *_, run in runs],
    )
    ratios = [mixed.cpu_s / alone.cpu_s for alone, mixed, _ in runs]
    report_value("half poison / events alone, by record", ratios, "", Goal("<=", 2))


def _dead_letters(made: Stage) -> RunStats:
    with measured("dead_letters", made.options.cpu, RECORDS // 2, made.flags(made.new_group())) as process:
        return stats_of(process)


def _run(made: Stage, events: int) -> RunStats:
    with made.worker(made.new_group(), events) as process:
        stats = stats_of(process)
        process.stop()
    return stats
