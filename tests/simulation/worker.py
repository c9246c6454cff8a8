"""One process with a real `Worker` in it: real loop, transaction owner and input consumer, on simulated clients."""

import contextlib
import random
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from confluent_kafka import Consumer

from consumer.errors import ViewerConsumerError
from consumer.intake.intakes import Intakes
from consumer.intake.rejects import Reject
from consumer.kafka.brokers import BrokerWatch
from consumer.kafka.clients import DeliveryReport, LastClientError
from consumer.kafka.config import MESSAGE_BYTES, ClientConfig, member_config, producer_config, transaction_timeout_ms
from consumer.kafka.deadline import Clock
from consumer.kafka.group_member import GroupMember
from consumer.kafka.live_input import LiveInput, ReadingHandler
from consumer.kafka.producers import TransactionalProducer
from consumer.kafka.protocols import AssignmentHandler, Transactions
from consumer.kafka.transaction import TimeLimits, TransactionOwner
from consumer.observe.metrics import WorkerMetrics
from consumer.observe.snapshot import SnapshotBoard
from consumer.output.encoders import encoder_from
from consumer.runtime.clocks import Clocks
from consumer.settings.model import Settings
from consumer.state.checkpoint import Identity
from consumer.windows.closing import CLOSE_REASONS
from consumer.worker.loop import Worker, WorkerDependencies
from consumer.worker.service import TransactionMetrics
from tests.simulation.brokers import Brokers
from tests.simulation.consumer_client import GroupRules, SimulatedConsumer
from tests.simulation.group import Group
from tests.simulation.network import Network
from tests.simulation.producer_client import Mishaps, ProducerClient, SimulatedProducer, Surroundings
from tests.simulation.reading import SimulatedEndQuery, SimulatedReader, SimulatedRestoreReader, Topics
from tests.simulation.scheduler import Process, Scheduler
from tests.support.fakes import FakeTopicIds

IDENTITY = Identity("cluster", "topic", "viewer-consumer")
EPOCH_S = 1_700_000_000.0


class World(NamedTuple):
    """What all workers share."""

    scheduler: Scheduler
    dice: random.Random
    brokers: Brokers
    group: Group
    network: Network
    settings: Settings
    keeps_names: bool
    group_rules: GroupRules
    intakes: Intakes
    limits: TimeLimits
    mishaps: Callable[[], Mishaps]
    seen: Counter[str]
    """How often things happened."""
    trace: Callable[[str], object]


class SeenOutcomes(TransactionMetrics):
    """Counts outcomes for the simulation, too."""

    def __init__(self, metrics: WorkerMetrics, world: World, name: str) -> None:
        super().__init__(metrics, lambda: world.scheduler.now_s)
        self._world = world
        self._name = name

    def committed(self, seconds: float) -> None:
        super().committed(seconds)
        self._count("committed")

    def aborted(self, error: str) -> None:
        super().aborted(error)
        self._count(f"aborted: {error}")

    def lost(self, error: str) -> None:
        super().lost(error)
        self._count(f"lost: {error}")

    def _count(self, outcome: str) -> None:
        self._world.seen[f"transactions {outcome}"] += 1
        self._world.trace(f"{self._name}: transaction {outcome}")


def notes_of(transactions: Transactions) -> dict[int, object]:
    """What is noted beside the open transaction of a worker."""
    producer: Any = cast("Any", transactions)._transactions._producer
    notes: dict[int, object] = producer._client.notes
    return notes


class WorkerProcess:
    """A worker from its start to its end."""

    def __init__(self, world: World, name: str, process_id: str) -> None:
        self.name = name
        self.process_id = process_id
        self.worker: Worker | None = None
        self.consumer: SimulatedConsumer | None = None
        self.stopping = False
        self.replaced = False
        """Another has its place, or will have it."""
        self.trouble = ""
        """Why a partition has stopped, which it never should."""
        self._world = world
        self._since_s = world.dice.uniform(0.0, 1e6)
        self._skew_s = world.dice.uniform(-1.0, 1.0)
        self.process = Process(world.scheduler, name, self._main)

    @property
    def settled(self) -> bool:
        """Whether all that it owns is live, committed and at rest."""
        worker = self.worker
        return worker is not None and worker._restoring.done and not any(map(self._is_busy, worker._tasks.values()))

    @property
    def reason(self) -> str:
        """Why it is not ready."""
        return "" if self.worker is None else self.worker._health().reason

    @property
    def owned(self) -> frozenset[int]:
        return frozenset(() if self.worker is None else self.worker._tasks)

    def stop(self) -> None:
        """Once this turn is over: commit, leave and end."""
        self.stopping = True

    def mute(self, *, silent: bool) -> None:
        """Its heartbeats do not arrive any more, or do so again."""
        if self.consumer is not None and not self.process.frozen and not self.process.ended:
            self.consumer.mute(silent=silent)

    def freeze(self) -> None:
        self.mute(silent=True)
        self.process.freeze()

    def thaw(self) -> None:
        self.process.thaw()
        self.mute(silent=False)

    def fence(self) -> None:
        """As if a request of its own to join, whose answer was lost, had been answered again."""
        if self.consumer is not None:
            self.consumer.expelled()
            self.consumer.fenced()

    def expel(self) -> None:
        if self.consumer is not None:
            self.consumer.expelled()

    def kill(self) -> None:
        self.mute(silent=True)
        self.process.kill()

    @staticmethod
    def _is_busy(task: Any) -> bool:
        return bool(task.to_commit or task.jumping or task.held or task.paused)

    def _main(self, process: Process) -> None:
        """As the service runs a worker."""
        self.worker = worker = Worker(self._world.settings, self._dependencies(process))
        try:
            worker.start()
            while not self.stopping:
                worker.turn()
                self._look_at(worker)
        except Exception:
            with contextlib.suppress(ViewerConsumerError):
                worker.abandon()
            raise
        worker.stop()

    def _look_at(self, worker: Worker) -> None:
        """One that was expelled unheard may see that the state has moved on; that must stop no partition either."""
        if worker._restoring._stopped or worker._processor.tripped:
            self.trouble = f"{worker._restoring._stopped} {worker._processor.tripped}"

    def _dependencies(self, process: Process) -> WorkerDependencies:
        world, settings, intakes = self._world, self._world.settings, self._world.intakes
        metrics = WorkerMetrics({"version": "0", "librdkafka": "0"}, [each.label for each in Reject], CLOSE_REASONS)
        topics = Topics(settings.kafka.input_topic, settings.kafka.state_topic)
        clocks = Clocks(
            monotonic_s=lambda: world.scheduler.now_s + self._since_s,
            wall_s=lambda: EPOCH_S + world.scheduler.now_s + self._skew_s,
        )
        return WorkerDependencies(
            make_input=lambda handler: self._make_input(process, handler, clocks.monotonic_s),
            transactions=TransactionOwner(
                producer_config(settings, self.process_id),
                SeenOutcomes(metrics, world, self.name),
                world.limits,
                clock=clocks.monotonic_s,
                make=self._make_producer,
            ),
            reader=SimulatedRestoreReader(process, world.brokers, world.network, world.dice, topics),
            topic_ids=FakeTopicIds(IDENTITY.topic_id),
            ends=SimulatedEndQuery(process, world.brokers, world.network, topics.input),
            intake=intakes.make(settings.input),
            make_intake=intakes.make,
            identity=IDENTITY,
            encode=encoder_from(settings),
            metrics=metrics,
            board=SnapshotBoard(clocks.monotonic_s()),
            clocks=clocks,
            message_bytes=MESSAGE_BYTES,
        )

    def _make_input(self, process: Process, handler: AssignmentHandler, clock: Clock) -> LiveInput:
        world, settings = self._world, self._world.settings
        topic, servers = settings.kafka.input_topic, settings.kafka.bootstrap_servers
        brokers = BrokerWatch(servers, topic, clock)
        reader = SimulatedReader(process, world.brokers, world.dice, late_s=(0.001, 0.2))
        told = ReadingHandler(handler, reader, topic)
        member = GroupMember(member_config(settings), topic, told, brokers, clock=clock)
        return LiveInput(member, reader, brokers, topic, servers)

    def make_consumer(self, _config: ClientConfig, _last_error: LastClientError, _on_statistics: object) -> Consumer:
        world = self._world
        self.consumer = SimulatedConsumer(
            self.process,
            world.group,
            world.network,
            world.dice,
            world.settings.kafka.input_topic,
            self.process_id if world.keeps_names else "",
            world.group_rules,
        )
        return cast("Consumer", self.consumer)

    def _make_producer(
        self, config: ClientConfig, _: LastClientError, on_delivery: DeliveryReport
    ) -> TransactionalProducer:
        world = self._world
        surroundings = Surroundings(self.process, world.brokers, world.group, world.network, world.dice, world.mishaps)
        timeout_s = transaction_timeout_ms(world.settings.kafka) / 1000
        client = ProducerClient(surroundings, str(config["transactional.id"]), timeout_s, on_delivery)
        return cast("TransactionalProducer", SimulatedProducer(client))
