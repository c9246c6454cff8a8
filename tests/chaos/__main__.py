"""`make chaos`: hurt workers, brokers and the network by a seeded plan; 0 if every summary is there exactly once."""

import argparse
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from consumer.worker.warm_up import warm_up
from tests.chaos.arena import cluster_behind_proxy, through
from tests.chaos.counting import COUNTINGS
from tests.chaos.faults import plan
from tests.chaos.lanes import Lanes
from tests.chaos.points import POINTS
from tests.chaos.report import Report
from tests.chaos.scene import scene
from tests.chaos.transactions import Transactor
from tests.support.broker import kafka_jars

PARTITIONS = 8
BEGIN_TIMEOUT_S = 120.0
SETTLE_TIMEOUT_S = 180.0


def main() -> int:
    """Run one plan, and judge what came of it."""
    options = _options()
    with _directory(options.keep) as directory:
        report = Report(directory / "report.log")
        report.say(
            f"counting {options.counting}, seed {options.seed}, {options.length} faults, {options.workers} workers, "
            f"points {options.points}"
        )
        warm_up()  # on a new machine: else each worker compiles by itself, while nothing gets on
        clean = _run(options, directory, report)
        if options.keep is not None:
            report.say(
                f"to look at the topics: java -cp '{kafka_jars()}/*' kafka.Kafka {directory}/broker-N.properties"
            )
        report.say("clean" if clean else "NOT clean")
    return 0 if clean else 1


def _run(options: argparse.Namespace, directory: Path, report: Report) -> bool:
    # Every other has a name that outlives it, and so keeps its partitions over a short absence.
    workers = {f"worker-{number}": f"fixed-{number}" if number % 2 else "" for number in range(options.workers)}
    points = list(POINTS) if options.points == "all" else options.points.split(",")
    with contextlib.ExitStack() as stack:
        cluster, proxy = stack.enter_context(cluster_behind_proxy(directory))
        report.say("the brokers are up")
        hurt = stack.enter_context(
            scene(
                cluster.bootstrap_servers,
                directory,
                counting=options.counting,
                seed=options.seed,
                partitions=PARTITIONS,
                workers=workers,
                through=through(proxy),
                keep=True,  # they go with the brokers
            )
        )
        hurt.start_missing()
        hurt.wait_for_progress(100, BEGIN_TIMEOUT_S)
        transactor = Transactor(cluster.bootstrap_servers, hurt.kafka.kafka.input_topic, PARTITIONS)
        lanes = Lanes(hurt.workers, cluster, proxy, transactor.do, report)
        lanes.run(plan(options.seed, options.length, list(workers), points))
        report.say("no more faults; the workers may commit all there is")
        hurt.settle(SETTLE_TIMEOUT_S)
        report.endings(hurt.endings)
        verdict = hurt.verdict()
        report.verdict(verdict)
        return verdict.clean and all(ending.how != "broke" for ending in hurt.endings)


@contextlib.contextmanager
def _directory(keep: Path | None) -> Iterator[Path]:
    """Where data and logs are; gone at the end unless they are to be kept."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    directory = Path(tempfile.mkdtemp(prefix="chaos-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos ARGS=…", description=__doc__)
    parser.add_argument("--counting", choices=COUNTINGS, default="sessions", help="how viewers are counted")
    parser.add_argument("--seed", type=int, default=1, help="decides the events and the choice of faults")
    parser.add_argument("--length", type=int, default=50, help="how many faults")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--points", default="all", help=f"all, or some of {','.join(POINTS)}")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave the brokers' data and all logs there")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
