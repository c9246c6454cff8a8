"""Faults done: each lane of a plan in a thread of its own."""

import threading
from collections.abc import Callable, Sequence

from tests.chaos.faults import BROKERS, NETWORK, PRODUCERS, Fault, Plan
from tests.chaos.report import Report
from tests.chaos.workers import WorkerProcess
from tests.support.cluster import KafkaCluster
from tests.support.proxy import Proxy

DEATH_TIMEOUT_S = 30.0
"""Some points are passed in a rebalance only, and that needs another's fault."""

WAKE_TIMEOUT_S = 20.0

SLOW_S = 0.15
SLOW_BYTES_PER_S = 30_000.0

Do = Callable[[Fault], str]
"""Does a fault, and says what came of it where that isn't plain."""


class Lanes:
    """Hurts workers, brokers and the network by a plan.

    Args:
        workers: all of the plan's.
        cluster: the brokers.
        proxy: between the workers and the brokers.
        transact: writes a transaction among the events.
        report: hears of each fault.
    """

    def __init__(
        self,
        workers: Sequence[WorkerProcess],
        cluster: KafkaCluster,
        proxy: Proxy,
        transact: Callable[[Fault], str],
        report: Report,
    ) -> None:
        self._by_lane: dict[str, Do] = {worker.name: _WorkerLane(worker, self._wait).do for worker in workers}
        self._by_lane |= {BROKERS: _BrokerLane(cluster, self._wait).do, NETWORK: _NetworkLane(proxy, self._wait).do}
        self._by_lane[PRODUCERS] = transact
        self._report = report
        self._end = threading.Event()
        self._failures: list[Exception] = []

    def run(self, plan: Plan) -> None:
        """All of it; back when every lane has ended.

        Raises:
            Exception: what a lane couldn't get over; the others end early then.
        """
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
                self._report.say(f"{lane} {number}/{len(faults)}: {fault}")
                outcome = self._by_lane[lane](fault)
                if outcome:
                    self._report.say(f"{lane} {number}/{len(faults)}: {outcome}")
                self._wait(fault.rest_s)
        except Exception as error:  # noqa: BLE001  # raised where the lanes were started
            self._failures.append(error)
            self._report.say(f"{lane}: {error!r}")
            self._end.set()

    def _wait(self, for_s: float) -> None:
        self._end.wait(for_s)


Wait = Callable[[float], None]


class _WorkerLane:
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


class _BrokerLane:
    def __init__(self, cluster: KafkaCluster, wait: Wait) -> None:
        self._cluster = cluster
        self._wait = wait

    def do(self, fault: Fault) -> str:
        if fault.kind == "stop":
            self._cluster.stop(fault.node)
        else:
            self._cluster.kill(fault.node)
        self._wait(fault.for_s)
        self._cluster.start(fault.node)
        return "all replicas are in sync again"


class _NetworkLane:
    def __init__(self, proxy: Proxy, wait: Wait) -> None:
        self._proxy = proxy
        self._wait = wait

    def do(self, fault: Fault) -> str:
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
