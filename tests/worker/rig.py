"""A worker on fakes: a cluster in memory, clocks that tests move, and the real intake, windows and outboxes between."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from consumer.intake.intakes import Intakes
from consumer.intake.rejects import Reject
from consumer.intake.schemas.access import RegistryAccess
from consumer.intake.schemas.lookups import SchemaLookups
from consumer.intake.schemas.registry import Registry
from consumer.kafka.batch import Batch
from consumer.kafka.config import MESSAGE_BYTES
from consumer.kafka.protocols import AssignmentHandler, GroupMetadata, Input
from consumer.observe.history import BucketHistory
from consumer.observe.metrics import WorkerMetrics
from consumer.observe.snapshot import SnapshotBoard
from consumer.output.encoders import encoder_from
from consumer.runtime.clocks import Clocks
from consumer.settings.field_sources import FieldSettings
from consumer.settings.model import (
    CommitSettings,
    EventNameSettings,
    HttpSettings,
    InputSettings,
    Settings,
    WindowSettings,
)
from consumer.state.checkpoint import Identity
from consumer.windows.closing import CLOSE_REASONS
from consumer.windows.layout import CLOSED
from consumer.worker.loop import Worker, WorkerDependencies
from consumer.worker.restoring import CONFIRM_AFTER_S
from consumer.worker.service import TransactionMetrics
from tests.intake.payloads import confluent, join, leave
from tests.intake.schemas.in_place import lookups_in_place
from tests.support.fakes import (
    FakeCluster,
    FakeEndQuery,
    FakeInputConsumer,
    FakeRestoreReader,
    FakeTopicIds,
    FakeTransactionOwner,
    Published,
)

BUCKET_MS = 1_000
IDENTITY = Identity("cluster", "topic", "viewer-consumer")
WINDOWS = WindowSettings(
    window_duration_ms=5_000, bucket_ms=BUCKET_MS, grace_ms=0, stream_idle_ms=3_600_000, counting="events"
)


@dataclass
class FakeClock:
    """Time that stands still until a test moves it."""

    now_s: float = 1_000.0
    wrong_by_s: float = 0.0
    """How far the worker's wall clock is ahead of the true time; its monotonic clock does not know of it."""

    def clocks(self) -> Clocks:
        return Clocks(monotonic_s=self.time, wall_s=lambda: self.now_s + self.wrong_by_s)

    def now_ms(self) -> int:
        """The true time."""
        return round(self.now_s * 1000)

    def time(self) -> float:
        return self.now_s


class Transactions(FakeTransactionOwner):
    """Writes down which offsets each commit carried, failed ones too."""

    def __init__(self, cluster: FakeCluster, metrics: WorkerMetrics, monotonic_s: Callable[[], float]) -> None:
        super().__init__(cluster, TransactionMetrics(metrics, monotonic_s))
        self.carried: list[dict[int, int]] = []

    def commit(self, offsets: Mapping[tuple[str, int], int], group_metadata: GroupMetadata) -> None:
        self.carried.append({partition: offset for (_, partition), offset in offsets.items()})
        super().commit(offsets, group_metadata)


class Polled(FakeInputConsumer):
    """Writes down how long each poll was ready to wait, and where reading began."""

    def __init__(self, cluster: FakeCluster, handler: AssignmentHandler) -> None:
        super().__init__(cluster, handler)
        self.waits: list[float] = []
        self.begun: list[tuple[int, int]] = []
        """Partition and offset of each beginning."""

    def begin(self, partition: int, offset: int) -> None:
        super().begin(partition, offset)
        self.begun.append((partition, offset))

    def poll(self, max_records: int, timeout_s: float) -> Batch:
        self.waits.append(timeout_s)
        return super().poll(max_records, timeout_s)


class Rig:
    """A worker that owns all partitions once `start` has returned."""

    def __init__(
        self,
        partitions: int = 1,
        registry_url: str = "",
        in_background: bool = False,
        max_stream_series: int = 2_000,
        max_future_ms: int = 60_000,
        names: EventNameSettings | None = None,
        fields: FieldSettings | None = None,
        framed_keys: bool = False,
        commit: CommitSettings | None = None,
        **windows: int | str,
    ) -> None:
        names = names or EventNameSettings()
        self.settings = Settings(
            input=InputSettings(
                schema_registry_url=registry_url,
                unknown_schema_wait_ms=30_000,
                max_future_ms=max_future_ms,
                events=names,
                fields=fields or FieldSettings(),
                key_format="confluent" if framed_keys else "text",
            ),
            windows=WINDOWS.model_copy(update=windows),
            commit=commit or CommitSettings(),
            http=HttpSettings(max_stream_series=max_stream_series),
        )
        self.clock = FakeClock()
        self.cluster = FakeCluster(self.settings.kafka.input_topic, partitions)
        self.registry_url = registry_url
        self._in_background = in_background
        self.identity = IDENTITY
        self.metrics: WorkerMetrics
        self.board: SnapshotBoard
        self.history: BucketHistory
        self.transactions: Transactions
        self.input: Polled
        self.reader: FakeRestoreReader
        self.ends: FakeEndQuery
        self.topic_ids: FakeTopicIds
        self.worker = self._new_worker()

    def _new_worker(self) -> Worker:
        versions = {"version": "0", "librdkafka": "0"}
        self.metrics = WorkerMetrics(versions, [reject.label for reject in Reject], CLOSE_REASONS)
        self.board = SnapshotBoard(self.clock.now_s)
        self.history = BucketHistory(CLOSED, 1_000)
        self.transactions = Transactions(self.cluster, self.metrics, self.clock.time)
        self.ends = FakeEndQuery(self.cluster)
        self.topic_ids = FakeTopicIds(self.identity.topic_id)
        self.reader = FakeRestoreReader(self.cluster, self.settings.kafka.state_topic)
        return Worker(self.settings, self._dependencies(self.registry_url))

    def kill(self) -> None:
        """The worker is gone with all its memory; another takes its place, by the settings of the rig as they are."""
        self.cluster.generation += 1
        self.worker = self._new_worker()
        self.start()

    def _dependencies(self, registry_url: str) -> WorkerDependencies:
        self.lookups = self._make_lookups(registry_url) if registry_url else None
        intakes = Intakes(self.lookups, self.clock.time)
        return WorkerDependencies(
            make_input=self._make_input,
            transactions=self.transactions,
            reader=self.reader,
            ends=self.ends,
            topic_ids=self.topic_ids,
            intake=intakes.make(self.settings.input),
            make_intake=intakes.make,
            identity=self.identity,
            encode=encoder_from(self.settings),
            metrics=self.metrics,
            board=self.board,
            clocks=self.clock.clocks(),
            message_bytes=MESSAGE_BYTES,
            history=self.history,
        )

    def _make_lookups(self, registry_url: str) -> SchemaLookups:
        """Without a thread, so that answers are there at once, unless a test wants them in the background."""
        registry, wait_s = Registry(RegistryAccess(registry_url), self.clock.time), 30.0
        make = SchemaLookups if self._in_background else lookups_in_place
        return make(registry, wait_s, self.clock.time)

    def _make_input(self, handler: AssignmentHandler) -> Input:
        self.input = Polled(self.cluster, handler)
        return self.input

    def start(self) -> "Rig":
        """All partitions are assigned, restored and live."""
        self.worker.start()
        self.worker.turn()
        self.until_live()
        return self

    def until_live(self) -> None:
        for _ in range(100):
            if not self.worker._restoring.active:
                return
            self.turn(CONFIRM_AFTER_S if self.worker._restoring._doubted else 0.0)
        raise AssertionError(f"still restoring: {self.worker._restoring.reason}")

    def turn(self, after_s: float = 0.0, times: int = 1) -> None:
        """Move the clock, then the worker."""
        for _ in range(times):
            self.clock.now_s += after_s
            self.worker.turn()

    def join(self, bucket: int, partition: int = 0, stream_id: str = "s") -> None:
        """One viewer joins, in the bucket of that number; it closes those before."""
        self.write(join(stream_id, timestamp_ms=bucket * BUCKET_MS + 1), partition)

    def leave(self, bucket: int, partition: int = 0, stream_id: str = "s") -> None:
        self.write(leave(stream_id, timestamp_ms=bucket * BUCKET_MS + 1), partition)

    def write(self, payload: bytes, partition: int = 0, schema_id: int = 1, timestamp_ms: int | None = None) -> None:
        self.write_raw(confluent(payload, schema_id), partition, timestamp_ms)

    def write_raw(self, value: bytes | None, partition: int = 0, timestamp_ms: int | None = None) -> None:
        """A record, by default with the true time as its Kafka timestamp."""
        self.cluster.write(partition, value, self.clock.now_ms() if timestamp_ms is None else timestamp_ms)

    def waits(self) -> list[float]:
        """How long each poll was ready to wait."""
        return self.input.waits

    def summaries(self) -> list[dict[str, Any]]:
        """What is published, in order."""
        topic = self.settings.kafka.output_topic
        return [json.loads(each.value or b"") for each in self.cluster.published if each.topic == topic]

    def buckets(self, partition: int = 0, stream_id: str = "s") -> list[int]:
        """Numbers of the buckets that are published of a stream, in order."""
        return [
            each["bucket_start_ms"] // BUCKET_MS
            for each in self.summaries()
            if (each["partition"], each["stream_id"]) == (partition, stream_id)
        ]

    def shown(self, partition: int = 0, stream_id: str = "s") -> list[int]:
        """Numbers of the buckets that the page shows of a stream, in order."""
        (rows,) = self.history.buckets_of([stream_id.encode()], [partition], 1_000)
        return [int(start_ms) // BUCKET_MS for start_ms in rows["bucket"]["start_ms"]]

    def states(self, partition: int = 0) -> list[Published]:
        """What is published of a partition's state, in order."""
        return self.cluster.records(self.settings.kafka.state_topic, partition)

    def dead_letters(self) -> list[bytes | None]:
        topic = self.settings.kafka.dead_letter_topic
        return [each.value for each in self.cluster.published if each.topic == topic]

    def counted(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"viewer_consumer_{name}", labels) or 0.0


INTERVAL_S = 0.1
"""The commit interval of a rig."""
