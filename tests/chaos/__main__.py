"""`make chaos`: do harm to workers, brokers, topics, network and clocks by a seeded plan; judge what was published.

The exit code is 0 if every summary and dead letter is there exactly once, and no partition stopped that should not.
"""

import argparse
import contextlib
import faulthandler
import shlex
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from consumer.worker.warm_up import warm_up
from tests.chaos import faults
from tests.chaos.counting import COUNTINGS
from tests.chaos.crew import Crew
from tests.chaos.deployment import GROUP_PROTOCOLS, Deployment, deployment
from tests.chaos.journals import JournalLane
from tests.chaos.lanes import BrokerLane, BurstLane, ClockLane, Do, GrowthLane, Lanes, NetworkLane, WorkerLane
from tests.chaos.points import POINTS
from tests.chaos.proxied_cluster import cluster_behind_proxy, through
from tests.chaos.report import Report
from tests.chaos.resets import Resolver
from tests.chaos.retention import RetentionLane
from tests.chaos.transactions import Transactor
from tests.support.broker import kafka_jars
from tests.support.cluster import NODES, KafkaCluster
from tests.support.proxy import Proxy

PARTITIONS = len(faults.BUSY_PARTITIONS) + 1
REPLICAS = [sorted(NODES, key=lambda node: (node + partition) % len(NODES)) for partition in range(PARTITIONS)]
BEGIN_TIMEOUT_S = 120.0
SETTLE_TIMEOUT_S = 400.0
FAULTS_WITHIN_S = 25 * 60.0
"""No fault begins later; those that have begun are bounded, as is what comes behind them."""
RUN_WITHIN_S = 44 * 60
"""Of all; what takes longer is a failure."""


def main() -> int:
    """Run one plan, and judge what came of it."""
    options = _options()
    faulthandler.register(signal.SIGUSR1)  # for a run that does not get on
    with _directory(options.keep) as directory:
        report = Report(directory / "report.log")
        report.say(
            f"counting {options.counting}, seed {options.seed}, {options.length} faults, {options.workers} workers, "
            f"points {options.points}, lanes {options.lanes}, group protocol {options.group_protocol}"
        )
        warm_up()  # on a new machine: else each worker compiles by itself, while nothing gets on
        clean = _runs_cleanly(options, directory, report)
        if options.keep is not None:
            report.say(
                f"to look at the topics: java -cp '{kafka_jars()}/*' kafka.Kafka {directory}/broker-N.properties"
            )
        report.say("clean" if clean else "NOT clean")
        if not clean:
            logs = "" if options.keep is not None else ", with --keep DIR to look at all logs"
            report.say(f"again{logs}: make chaos ARGS={shlex.quote(_arguments(options))}")
    return 0 if clean else 1


def _runs_cleanly(options: argparse.Namespace, directory: Path, report: Report) -> bool:
    try:
        with _time_limit(RUN_WITHIN_S):
            return _run(options, directory, report)
    except Exception:  # noqa: BLE001  # whatever it is, it is told how to run it again
        report.say(traceback.format_exc())
        return False


@contextlib.contextmanager
def _time_limit(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in here once the time is up."""

    def end(*_: object) -> None:
        raise TimeoutError(f"the run took longer than {seconds / 60:.0f} minutes")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _run(options: argparse.Namespace, directory: Path, report: Report) -> bool:
    # Every other has a name that outlives it, and so keeps its partitions over a short absence.
    workers = {f"worker-{number}": f"fixed-{number}" if number % 2 else "" for number in range(options.workers)}
    with contextlib.ExitStack() as stack:
        cluster, proxy = stack.enter_context(cluster_behind_proxy(directory))
        report.say("the brokers are up")
        deployed = stack.enter_context(
            deployment(
                cluster.bootstrap_servers,
                directory,
                counting=options.counting,
                seed=options.seed,
                partitions=PARTITIONS,
                busy=faults.BUSY_PARTITIONS,
                replicas=REPLICAS,
                workers=workers,
                through=through(proxy),
                keep=True,  # they go with the brokers
                group_protocol=options.group_protocol,
            )
        )
        cluster.move(deployed.kafka.kafka.input_topic, faults.LONE_PARTITION, [faults.LONE_NODE])
        deployed.start_missing()
        deployed.wait_for_progress(100, BEGIN_TIMEOUT_S)
        end = threading.Event()
        lanes = Lanes(_lanes(deployed, cluster, proxy, options.seed, end), report, end)
        points = list(POINTS) if options.points == "all" else options.points.split(",")
        lanes.run(
            faults.plan(options.seed, options.length, list(workers), points, options.lanes.split(",")), FAULTS_WITHIN_S
        )
        report.say("no more faults; all workers are restarted, and may commit all there is")
        deployed.settle(SETTLE_TIMEOUT_S, restart=True)
        report.endings(deployed.endings)
        verdict = deployed.verdict()
        report.verdict(verdict)
        return verdict.clean and all(ending.how != "broke" for ending in deployed.endings)


def _lanes(deployed: Deployment, cluster: KafkaCluster, proxy: Proxy, seed: int, end: threading.Event) -> dict[str, Do]:
    crew = Crew(deployed.workers, deployed.flow)
    with_three_replicas = frozenset(faults.BUSY_PARTITIONS) - {faults.LONE_PARTITION}
    resolver = Resolver(deployed, crew, with_three_replicas)
    servers, topic = cluster.bootstrap_servers, deployed.kafka.kafka.input_topic
    lanes: dict[str, Do] = {worker.name: WorkerLane(worker, end.wait).do for worker in deployed.workers}
    return lanes | {
        faults.BROKERS: BrokerLane(cluster, deployed, with_three_replicas, end.wait).do,
        faults.NETWORK: NetworkLane(proxy, end.wait).do,
        faults.PRODUCERS: Transactor(servers, topic, with_three_replicas).do,
        faults.RETENTION: RetentionLane(deployed, crew, resolver, seed, faults.QUIET_PARTITION).do,
        faults.GROWTH: GrowthLane(deployed).do,
        faults.JOURNALS: JournalLane(deployed, crew, resolver).do,
        faults.BURSTS: BurstLane(deployed).do,
        faults.CLOCKS: ClockLane(deployed.workers, end.wait).do,
    }


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


def _arguments(options: argparse.Namespace) -> str:
    """Those of the same run."""
    names = ("counting", "seed", "length", "workers", "points", "lanes", "group_protocol")
    return " ".join(f"--{name.replace('_', '-')} {getattr(options, name)}" for name in names)


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos ARGS=…", description=__doc__)
    parser.add_argument("--counting", choices=COUNTINGS, default="sessions", help="how viewers are counted")
    parser.add_argument("--seed", type=int, default=1, help="decides the events and the choice of faults")
    parser.add_argument("--length", type=int, default=50, help="how many faults")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--points", default="all", help=f"all, or some of {','.join(POINTS)}")
    parser.add_argument("--lanes", type=_lane_names, default="all", help=f"all, or some of {','.join(faults.SHARES)}")
    parser.add_argument("--group-protocol", choices=GROUP_PROTOCOLS, default="classic", help="of the workers' group")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave the brokers' data and all logs there")
    return parser.parse_args(arguments)


def _lane_names(text: str) -> str:
    names = list(faults.SHARES) if text == "all" else text.split(",")
    unknown = [name for name in names if name not in faults.SHARES]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}; choose from {', '.join(faults.SHARES)}")
    return ",".join(names)


if __name__ == "__main__":
    sys.exit(main())
