"""Faults done: each lane of a plan in a thread of its own."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from tests.chaos.deployment import Deployment
from tests.chaos.faults import Fault, Plan
from tests.chaos.report import Report
from tests.chaos.waits import LIMIT_S, answer_of, until_kafka
from tests.chaos.workers import WorkerProcess
from tests.support.cluster import NODES, KafkaCluster
from tests.support.proxy import Proxy

DEATH_TIMEOUT_S = 30.0
"""Some points are passed in a rebalance only, and that needs another's fault."""

WAKE_TIMEOUT_S = 20.0

PROGRESS = 20
"""Offsets that must be committed of partitions that a fault does not concern."""

SLOW_S = 0.15
SLOW_BYTES_PER_S = 30_000.0

Do = Callable[[Fault], str]
"""Does a fault, and says what came of it where that isn't plain."""


class Lanes:
    """Does the faults of a plan.

    Args:
        by_lane: who does the faults of each lane.
        report: hears of each fault.
        end: is set when a lane fails, so that the others end early; faults wait on it.
    """

    def __init__(self, by_lane: Mapping[str, Do], report: Report, end: threading.Event) -> None:
        self._by_lane = by_lane
        self._report = report
        self._end = end
        self._failures: list[Exception] = []
        self._deadline_s = 0.0

    def run(self, plan: Plan, within_s: float) -> None:
        """All of it, but no fault begins after that time; back when every lane has ended.

        Raises:
            Exception: what a lane could not get over; the others end early then.
        """
        self._deadline_s = time.monotonic() + within_s
        threads = [
            threading.Thread(target=self._run, args=(lane, faults), name=lane, daemon=True)
            for lane, faults in plan.items()
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        finally:
            self._end.set()
        if self._failures:
            raise self._failures[0]

    def _run(self, lane: str, faults: Sequence[Fault]) -> None:
        try:
            for number, fault in enumerate(faults, 1):
                if self._end.is_set():
                    return
                if time.monotonic() > self._deadline_s:
                    self._report.say(f"{lane}: time is up; {len(faults) - number + 1} faults are left out")
                    return
                self._report.say(f"{lane} {number}/{len(faults)}: {fault}")
                outcome = self._by_lane[lane](fault)
                if outcome:
                    self._report.say(f"{lane} {number}/{len(faults)}: {outcome}")
                self._end.wait(fault.rest_s)
        except Exception as error:  # noqa: BLE001  # raised where the lanes were started
            self._failures.append(error)
            self._report.say(f"{lane}: {error!r}")
            self._end.set()


Wait = Callable[[float], object]


class WorkerLane:
    """Does the faults of one worker; it runs again after each."""

    def __init__(self, worker: WorkerProcess, wait: Wait) -> None:
        self._worker = worker
        self._wait = wait
        self._kinds: dict[str, Do] = {
            "die": self._die,
            "zombie": self._zombie,
            "kill": self._kill,
            "terminate": self._terminate,
            "leave": self._leave,
            "pause": self._freeze,
            "freeze": self._freeze,
        }

    def do(self, fault: Fault) -> str:
        """Do one, unless something else is being done to all workers: then wait for that."""
        with self._worker.reserved:
            outcome = self._kinds[fault.kind](fault)
            if not self._worker.running:
                self._worker.start()
                self._worker.wakes_within(WAKE_TIMEOUT_S)
        return outcome

    def _restart(self, fault: Fault) -> None:
        if fault.dirty:
            self._worker.kill()
        else:
            self._worker.terminate()
        self._worker.start(fault.point)

    def _die(self, fault: Fault) -> str:
        self._restart(fault)
        if self._worker.ends_within(DEATH_TIMEOUT_S):
            return f"it is {self._worker.endings[-1].how}"
        return "it did not get there"

    def _zombie(self, fault: Fault) -> str:
        self._restart(fault)
        if not self._worker.freezes_within(DEATH_TIMEOUT_S):
            return "it did not get there"
        self._wait(fault.for_s)
        self._worker.thaw()
        return f"it goes on, {fault.for_s:.1f} s later"

    def _kill(self, _fault: Fault) -> str:
        self._worker.kill()
        return ""

    def _terminate(self, _fault: Fault) -> str:
        self._worker.terminate()
        return ""

    def _leave(self, fault: Fault) -> str:
        self._worker.terminate()
        self._wait(fault.for_s)
        return ""

    def _freeze(self, fault: Fault) -> str:
        self._worker.freeze()
        self._wait(fault.for_s)
        self._worker.thaw()
        return ""


class BrokerLane:
    """Does the faults of brokers; all replicas are in sync after each."""

    def __init__(self, cluster: KafkaCluster, deployment: Deployment, others: frozenset[int], wait: Wait) -> None:
        self._cluster = cluster
        self._deployment = deployment
        self._others = others
        self._wait = wait

    def do(self, fault: Fault) -> str:
        """Take a broker away for some time.

        Raises:
            AssertionError: without the leader of one partition, the others made no progress.
        """
        if fault.kind == "freeze":
            self._cluster.freeze(fault.node)
            self._wait(fault.for_s)
            self._cluster.thaw(fault.node)
            return "all replicas are in sync again"
        if fault.kind == "stop":
            self._cluster.stop(fault.node)
        else:
            self._cluster.kill(fault.node)
        if fault.kind == "leaderless":
            self._see_others_go_on(fault.partition or 0)
        self._wait(fault.for_s)
        self._cluster.start(fault.node)
        if fault.kind == "leaderless":
            self._deployment.wait_for_commits([fault.partition or 0], 1, LIMIT_S)
            return "the others went on; it continues, and all replicas are in sync again"
        return "all replicas are in sync again"

    def _see_others_go_on(self, partition: int) -> None:
        topic = self._deployment.kafka.kafka.input_topic
        until_kafka(
            lambda: self._cluster.leader_of(topic, partition) not in NODES, f"partition {partition} has no leader"
        )
        self._deployment.wait_for_commits(self._others - {partition}, PROGRESS, LIMIT_S)


class GrowthLane:
    """Adds partitions to the input."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    def do(self, _fault: Fault) -> str:
        """Add one, and wait until records of it are counted.

        Raises:
            AssertionError: they were not in time.
        """
        partition = answer_of(lambda: self._deployment.grow(NODES))
        self._deployment.wait_for_commits([partition], PROGRESS, LIMIT_S)
        answer_of(self._deployment.follow_growth)
        return f"partition {partition} is counted"


class BurstLane:
    """Writes many streams of one viewer, then a record that is far ahead."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    def do(self, fault: Fault) -> str:
        """Write them, and wait until records behind them are counted.

        Raises:
            AssertionError: they were not in time.
        """
        partition = fault.partition or 0
        self._deployment.flow.burst(partition, fault.streams)
        self._deployment.wait_for_commits([partition], fault.streams + PROGRESS, LIMIT_S)
        return "it is counted"


class ClockLane:
    """Sets workers' wall clocks."""

    def __init__(self, workers: Sequence[WorkerProcess], wait: Wait) -> None:
        self._workers = {worker.name: worker for worker in workers}
        self._wait = wait

    def do(self, fault: Fault) -> str:
        """Set it, and back after a while."""
        worker = self._workers[fault.worker]
        worker.set_clock(fault.shift_s)
        self._wait(fault.for_s)
        worker.set_clock(0.0)
        return "it is right again"


class NetworkLane:
    """Does the faults of the network between workers and brokers."""

    def __init__(self, proxy: Proxy, wait: Wait) -> None:
        self._proxy = proxy
        self._wait = wait

    def do(self, fault: Fault) -> str:
        """Do one; afterwards nothing lies between."""
        kinds: dict[str, Callable[[], None]] = {
            "cut": self._proxy.cut,
            "refuse": self._proxy.refuse,
            "hold": self._proxy.hold,
            "slow": lambda: self._proxy.slow(delay_s=SLOW_S),
            "throttle": lambda: self._proxy.slow(bytes_per_s=SLOW_BYTES_PER_S),
        }
        kinds[fault.kind]()
        self._wait(fault.for_s)
        self._proxy.resume()
        return ""
