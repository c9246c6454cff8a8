"""What rejects cost: the worker over events alone, and over as many records of which every second is poison."""

from argparse import Namespace
from collections.abc import Iterator
from typing import NamedTuple

from tests.bench.compare import Figures, stats_of
from tests.bench.load import Load, Records, load_ending_now
from tests.bench.measured import measured
from tests.bench.report import Goal, say_figure
from tests.bench.stage import Stage, stage

RECORDS = 1_000_000
POISON = (b"\1not what comes first", b"\0\0\0\0\1\xff\xff", b"\0\0\0\0\1\2s\2v\2\0trailing", b"\0\0\0\0\1\2\xff\2v\2\0")


class HalfPoison(NamedTuple):
    """A load with poison in the place of every second record."""

    load: Load

    def batches(self) -> Iterator[Records]:
        """In order of time."""
        for keys, values, timestamps_ms in self.load.batches():
            sent = [POISON[i // 2 % len(POISON)] if i % 2 else value for i, value in enumerate(values)]
            yield keys, sent, timestamps_ms


def measure_rejects(bootstrap_servers: str, options: Namespace) -> None:
    """In turn, with the same broker."""
    load = load_ending_now(RECORDS, options.streams, 60_000)
    with (
        stage(bootstrap_servers, options, options.partitions) as clean,
        stage(bootstrap_servers, options, options.partitions) as half,
    ):
        clean.fill(load)
        half.fill(HalfPoison(load))
        runs = [(_run(clean, RECORDS), _run(half, RECORDS // 2), _letters(half)) for _ in range(options.rounds)]
    for name, each in zip(("events alone", "half poison"), zip(*runs, strict=False), strict=False):
        say_figure(f"{name}: ns of CPU a record", [run.cpu_s / RECORDS * 1e9 for run in each])
    say_figure(
        "dead letters, client library alone: ns of CPU a letter", [run.cpu_s / RECORDS * 2e9 for *_, run in runs]
    )
    ratios = [mixed.cpu_s / alone.cpu_s for alone, mixed, _ in runs]
    say_figure("half poison / events alone, by record", ratios, "", Goal("<=", 2))
    # Where all but handing letters to the client library cost nothing, and poison were read like events.
    say_figure("the least it could be", [1 + letters.cpu_s / alone.cpu_s for alone, _, letters in runs])


def _letters(made: Stage) -> Figures:
    with measured("letters", made.options.cpu, RECORDS // 2, made.flags(made.new_group())) as process:
        return stats_of(process)


def _run(made: Stage, events: int) -> Figures:
    with made.worker(made.new_group(), events) as process:
        stats = stats_of(process)
        process.stop()
    return stats
