"""One run: workers on a cluster where things go wrong, then a calm in which all must come to its end.

```
 chaos   records arrive; workers are killed, frozen, muted, stopped, started; answers are late or lost
 calm    all that arrived is committed, by workers of which none may end
 check   all stop; one fresh worker restores everything; the judge compares what is published
```
"""

import contextlib
import gc
import random
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar
from unittest.mock import patch

import structlog
from confluent_kafka import Consumer

from consumer.errors import ViewerConsumerError
from consumer.intake.intakes import Intakes
from consumer.kafka import group_member, live_input, transaction
from consumer.kafka.clients import LastClientError
from consumer.kafka.config import ClientConfig
from consumer.kafka.deadline import Deadline
from consumer.state import restore
from consumer.state.journal import Step
from consumer.worker import backpressure, restoring
from consumer.worker.checkpointing import StateWriter
from consumer.worker.task import PartitionTask
from tests.simulation.brokers import Brokers
from tests.simulation.consumer_client import GroupRules
from tests.simulation.feed import Feed
from tests.simulation.group import Group
from tests.simulation.judge import Wrong, judge
from tests.simulation.network import Network, Weather
from tests.simulation.plan import SESSION_S, Plan, plan_of
from tests.simulation.producer_client import Mishaps
from tests.simulation.scheduler import Action, Process, Scheduler
from tests.simulation.worker import EPOCH_S, WorkerProcess, World, notes_of

T = TypeVar("T")

CALM_S = 240.0
"""Longer than the slowest request and all time-outs."""
DRAIN_S = 60.0
LATE_EFFECTS_S = 60.0
"""So long into the calm a worker may end because of what went wrong before it."""
WRITE_EVERY_S = 0.3
DEAF, DUMB = Weather(lost_requests=1.0), Weather(lost_answers=1.0)
OUTAGES = ("InitProducerId", "Produce", "TxnOffsetCommit")

Trace = Callable[[str], object]


class Result(NamedTuple):
    """What became of a seed."""

    seed: int
    problem: str
    """Empty if all is as it must be."""
    simulated_s: float
    seen: Counter[str]
    """What happened, so that a run that shows nothing is noticed."""


def simulate(seed: int, trace: Trace = lambda _: None) -> Result:
    """Run one seed."""
    simulation = Simulation(plan_of(seed), trace)
    gc.collect()
    gc.disable()  # so that what is dropped is gone at the same moment in every run
    try:
        with simulation.patches():
            return simulation.run()
    finally:
        gc.enable()


class Simulation:
    """A cluster, its workers and what happens to them."""

    def __init__(self, plan: Plan, trace: Trace) -> None:
        self._plan = plan
        self._trace_line = trace
        self._scheduler = Scheduler()
        self._dice = random.Random(f"run {plan.seed}")
        kafka = plan.settings.kafka
        topics = {
            kafka.input_topic: plan.partitions,
            kafka.state_topic: plan.partitions,
            kafka.output_topic: 2,
            kafka.dead_letter_topic: 1,
        }
        self._brokers = Brokers(self._scheduler, self._dice, topics)
        self._steps = CommittedSteps()
        self._brokers.on_commit = self._steps.add
        self._network = Network(self._scheduler, self._dice)
        self._group = Group(self._scheduler, self._dice, plan.partitions, plan.longest_poll_s)
        self._mishaps = Mishaps()
        self._world = World(
            scheduler=self._scheduler,
            dice=self._dice,
            brokers=self._brokers,
            group=self._group,
            network=self._network,
            settings=plan.settings,
            keeps_names=plan.keeps_names,
            group_rules=GroupRules(SESSION_S, plan.longest_poll_s),
            intakes=Intakes(None, lambda: self._scheduler.now_s),
            limits=plan.limits,
            mishaps=lambda: self._mishaps,
            seen=Counter(),
            trace=self._trace,
        )
        self._feed = Feed(self._scheduler, self._dice, self._brokers.logs[kafka.input_topic], self._stamp_ms)
        self._workers: dict[str, WorkerProcess] = {}
        """All there ever were, by name."""
        self._slots: list[WorkerProcess] = []
        """The newest of each place."""
        self._calm_since_s: float | None = None

    def run(self) -> Result:
        """All of it; whatever is wrong is in the result."""
        summaries, problem = 0, ""
        try:
            summaries = self._run()
        except Wrong as wrong:
            problem = str(wrong)
        except Exception:  # noqa: BLE001  # a seed that fails in any way is reported, and the next one runs
            problem = traceback.format_exc()
        finally:
            for worker in self._workers.values():
                worker.kill()
        seen = self._world.seen
        seen["summaries"] += summaries
        return Result(self._plan.seed, problem, self._scheduler.now_s, seen)

    def _run(self) -> int:
        plan = self._plan
        self._network.weather = dict(plan.weather)
        self._mishaps, self._brokers.slow_markers = plan.mishaps, plan.slow_markers
        for slot in range(plan.workers):
            self._slots.append(self._new_worker(slot))
        self._supervise()
        self._often(self._feed.write_some, WRITE_EVERY_S)
        for kind, action in self._faults().items():
            self._often(action, plan.every_s[kind])
        self._scheduler.run(plan.chaos_s, self._look_for_trouble)
        self._heal()
        self._until(self._is_at_rest, CALM_S, "in the calm not all is committed")
        self._end_all()
        self._slots = [self._new_worker(0)]
        self._until(self._is_at_rest, CALM_S, "the last worker does not restore all partitions")
        self._end(self._slots, "the last worker does not stop")
        return judge(self._brokers, plan.settings, self._steps.all())

    # Workers come and go.

    def _new_worker(self, slot: int) -> WorkerProcess:
        name = f"worker {len(self._workers)}"
        worker = WorkerProcess(self._world, name, f"slot-{slot}" if self._plan.keeps_names else name)
        self._workers[name] = worker
        self._trace(f"{name} starts in slot {slot}")
        return worker

    def _replace(self, slot: int, seconds: float) -> None:
        """Start another worker in a slot, a little later."""
        old = self._slots[slot]

        def start() -> None:
            if self._slots[slot : slot + 1] == [old]:
                self._slots[slot] = self._new_worker(slot)

        self._scheduler.after(seconds, start)

    def _supervise(self) -> None:
        """Once a second: start again what has ended."""
        for slot, worker in enumerate(self._slots):
            if worker.process.ended and not worker.replaced:
                worker.replaced = True
                self._judge_end(worker)
                self._replace(slot, 0.5)
        self._scheduler.after(1.0, self._supervise)

    def _judge_end(self, worker: WorkerProcess) -> None:
        error = worker.process.error
        if error is None:
            return
        self._trace(f"{worker.name} has ended: {error!r}")
        if not isinstance(error, ViewerConsumerError):
            raise Wrong(f"{worker.name} has ended") from error
        if self._calm_since_s is not None and worker.process.ended_s > self._calm_since_s + LATE_EFFECTS_S:
            raise Wrong(f"{worker.name} has ended in the calm: {error}")
        self._world.seen["workers that ended with an error"] += 1

    # What goes wrong.

    def _faults(self) -> Mapping[str, Action]:
        """By the names that a plan has for them."""
        return {
            "kill": self._kill,
            "stop": self._stop,
            "freeze": self._freeze,
            "fence": self._fence,
            "mute": self._mute,
            "expel": self._expel,
            "outage": self._outage,
            "rebalance": self._rebalance,
            "compact": self._compact,
        }

    def _often(self, action: Action, mean_s: float) -> None:
        """Until the calm."""

        def happen() -> None:
            if self._calm_since_s is None:
                action()
                self._often(action, mean_s)

        self._scheduler.after(self._dice.expovariate(1 / mean_s), happen)

    def _victim(self) -> tuple[int, WorkerProcess] | None:
        slot = self._dice.randrange(len(self._slots))
        worker = self._slots[slot]
        return None if worker.process.ended or worker.process.frozen or worker.replaced else (slot, worker)

    def _kill(self) -> None:
        if victim := self._victim():
            slot, worker = victim
            self._trace(f"{worker.name} is killed")
            worker.replaced = True
            worker.kill()
            self._replace(slot, self._dice.choice((0.1, 3.0, 15.0)))

    def _stop(self) -> None:
        if victim := self._victim():
            self._trace(f"{victim[1].name} is stopped")
            victim[1].stop()

    def _freeze(self) -> None:
        if not (victim := self._victim()):
            return
        slot, worker = victim
        seconds = self._dice.choice((0.5, 3.0, 8.0, 15.0, 30.0))
        self._trace(f"{worker.name} is frozen for {seconds} s")
        worker.freeze()
        self._scheduler.after(seconds, lambda: self._thaw(worker))
        if self._plan.keeps_names and self._dice.random() < 0.3:
            # Another takes its place and its name, though it is not dead.
            worker.replaced = True
            self._replace(slot, 0.5)

    def _thaw(self, worker: WorkerProcess) -> None:
        if worker.process.frozen:
            self._trace(f"{worker.name} goes on")
            worker.thaw()

    def _mute(self) -> None:
        if victim := self._victim():
            worker = victim[1]
            self._trace(f"{worker.name} is cut off from its group")
            worker.mute(silent=True)
            self._scheduler.after(self._dice.choice((3.0, 12.0, 20.0)), lambda: worker.mute(silent=False))

    def _expel(self) -> None:
        """The group forgets a member, which hears of it at its next heartbeat."""
        if victim := self._victim():
            self._trace(f"{victim[1].name} is expelled from its group")
            victim[1].expel()

    def _fence(self) -> None:
        """The group takes a member for another with its group.instance.id."""
        if self._plan.keeps_names and (victim := self._victim()):
            self._trace(f"{victim[1].name} is fenced from its group")
            self._world.seen["members that were fenced"] += 1
            victim[1].fence()

    def _outage(self) -> None:
        """Of one worker's ends of transactions: nothing arrives, or all of it does and nothing comes back."""
        if victim := self._victim():
            worker, kind = victim[1], self._dice.choice(("EndTxn", "EndTxn", *OUTAGES))
            weather, seconds = self._dice.choice((DEAF, DUMB)), self._dice.choice((3.0, 12.0, 45.0))
            self._trace(f"{worker.name}: for {seconds} s {kind} has {weather}")
            self._network.outages[worker.name, kind] = weather
            self._scheduler.after(seconds, lambda: self._network.outages.pop((worker.name, kind), None))

    def _rebalance(self) -> None:
        self._group.rebalance()

    def _compact(self) -> None:
        self._dice.choice(self._brokers.logs[self._plan.settings.kafka.state_topic]).compact()

    # The calm.

    def _heal(self) -> None:
        self._trace("calm")
        self._calm_since_s = self._scheduler.now_s
        self._network.weather = {}
        self._network.outages.clear()
        self._mishaps, self._brokers.slow_markers = Mishaps(), 0.0
        for worker in self._workers.values():
            self._thaw(worker)
            worker.mute(silent=False)

    def _end_all(self) -> None:
        """Half of them cleanly, half of them not."""
        self._slots = []
        stopped = []
        for worker in self._workers.values():
            worker.replaced = True
            if self._dice.random() < 0.5:
                stopped.append(worker)
            else:
                worker.kill()
        self._end(stopped, "a worker does not stop")

    def _end(self, workers: Sequence[WorkerProcess], otherwise: str) -> None:
        for worker in workers:
            worker.replaced = True
            worker.stop()
        self._until(lambda: all(worker.process.ended for worker in workers), DRAIN_S, otherwise)
        for worker in workers:
            self._judge_end(worker)

    def _until(self, condition: Callable[[], bool], seconds: float, otherwise: str) -> None:
        if not self._scheduler.run(seconds, lambda: condition() or self._look_for_trouble()):
            raise Wrong(f"{otherwise}: {self._state()}")

    def _is_at_rest(self) -> bool:
        """All is committed, and nobody is about to do anything."""
        offsets, logs = self._brokers.offsets.committed, self._brokers.logs[self._plan.settings.kafka.input_topic]
        if self._feed.open or not self._brokers.quiet or any(offsets.get(log.partition) != log.end for log in logs):
            return False
        owned = [partition for worker in self._slots for partition in worker.owned]
        return sorted(owned) == [log.partition for log in logs] and all(worker.settled for worker in self._slots)

    def _look_for_trouble(self) -> bool:
        for worker in self._workers.values():
            if worker.trouble:
                raise Wrong(f"{worker.name}: {worker.trouble}")
        return False

    def _state(self) -> str:
        ends = [log.end for log in self._brokers.logs[self._plan.settings.kafka.input_topic]]
        workers = [f"{worker.name} owns {sorted(worker.owned)} {worker.reason}" for worker in self._slots]
        return f"{self._brokers.offsets.committed} of {ends}, {'; '.join(workers)}"

    # What is simulated.

    @contextlib.contextmanager
    def patches(self) -> Iterator[None]:
        """Put what is simulated in the place of clients, threads and dice."""
        structlog.configure(processors=[self._log])
        with contextlib.ExitStack() as stack:
            for place, name, value in (
                (group_member, "make_consumer", self._make_consumer),
                (group_member, "call_within", self._call_within),
                (live_input, "call_within", self._call_within),
                (transaction, "call_within", self._call_within),
                (restore, "new_hash_key", lambda: (self._dice.getrandbits(64), self._dice.getrandbits(64))),
                (restoring, "CLOSED_AT_ONCE", self._plan.piece),
                (backpressure, "HIGH_BYTES", self._plan.pending_bytes),
                (backpressure, "LOW_BYTES", self._plan.pending_bytes // 4),
                (StateWriter, "_write", noting_steps(StateWriter._write)),
            ):
                stack.enter_context(patch.object(place, name, value))
            yield
        structlog.reset_defaults()

    def _process(self) -> Process:
        process = self._scheduler.current
        assert process is not None
        return process

    def _make_consumer(
        self, config: ClientConfig, last_error: LastClientError, on_statistics: Callable[[str], None]
    ) -> Consumer:
        return self._workers[self._process().name].make_consumer(config, last_error, on_statistics)

    def _call_within(self, deadline: Deadline, function: Callable[[], T]) -> T:
        """In the same thread: the simulated clients look at the limit."""
        process = self._process()
        process.limit_s = self._scheduler.now_s + deadline.left_s()
        try:
            return function()
        finally:
            process.limit_s = None

    def _stamp_ms(self) -> int:
        return int((EPOCH_S + self._scheduler.now_s) * 1000)

    def _log(self, _logger: object, _method: str, event: Any) -> Any:
        self._trace(f"{self._process().name}: {event}" if self._scheduler.current else str(event))
        raise structlog.DropEvent

    def _trace(self, line: str) -> None:
        self._trace_line(f"{self._scheduler.now_s:9.3f}  {line}")


class CommittedSteps:
    """The clock steps of committed transactions; those since a checkpoint are written anew by each journal."""

    def __init__(self) -> None:
        self._before: dict[int, list[Step]] = defaultdict(list)
        self._since: dict[int, list[Step]] = {}

    def add(self, notes: Mapping[int, Any]) -> None:
        """Add those of one transaction."""
        for partition, (steps, with_checkpoint) in notes.items():
            self._since[partition] = [] if with_checkpoint else steps
            if with_checkpoint:
                self._before[partition] += steps

    def all(self) -> dict[int, list[Step]]:
        """In order, by partition."""
        return {
            partition: self._before[partition] + self._since.get(partition, [])
            for partition in sorted({*self._before, *self._since})
        }


def noting_steps(write: Callable[[StateWriter, PartitionTask], None]) -> Callable[[StateWriter, PartitionTask], None]:
    """`StateWriter._write`, with the steps that it commits noted beside the transaction."""

    def noted(self: StateWriter, partition: PartitionTask) -> None:
        steps = list(partition.journal.steps)
        write(self, partition)
        notes_of(self._transactions)[partition.number] = steps, partition.number in self._written

    return noted
