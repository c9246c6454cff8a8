"""One interface to real Kafka and to the fake, so that one suite runs on both."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from confluent_kafka import Producer

from consumer.kafka.config import admin_config, producer_config, restore_config
from consumer.kafka.end_offsets import EndOffsets
from consumer.kafka.live_input import LiveInput
from consumer.kafka.protocols import (
    AssignmentHandler,
    EndQuery,
    GroupMetadata,
    Input,
    PartitionReader,
    RestoreReader,
    Transactions,
)
from consumer.kafka.readers import live_input
from consumer.kafka.restore_reader import KafkaRestoreReader
from consumer.kafka.timeouts import TIMEOUTS, Timeouts
from consumer.kafka.transaction import TransactionOwner
from consumer.settings.model import KafkaSettings, Settings
from tests.support.fakes import (
    FakeCluster,
    FakeEndQuery,
    FakeInputConsumer,
    FakeRestoreReader,
    FakeTransactionOwner,
    Published,
)
from tests.support.topics import (
    committed_offsets,
    create_topic,
    delete_records,
    delete_topics,
    produce,
    read_committed,
    read_uncommitted,
    unique,
)
from tests.support.waiting import until

PARTITIONS = 2
CLASSIC, CONSUMER = PROTOCOLS = ("classic", "consumer")
"""Of groups; the second is KIP-848."""


class OutcomeLog:
    """Records how transactions ended."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str]] = []

    def committed(self, seconds: float) -> None:
        assert seconds >= 0
        self.entries.append(("committed", ""))

    def aborted(self, error: str) -> None:
        self.entries.append(("aborted", error))

    def lost(self, error: str) -> None:
        self.entries.append(("lost", error))

    def retried(self, error: str) -> None:
        """How often this is called depends on the brokers."""


class Stage(Protocol):
    """One empty input topic, one output topic, one group."""

    topic: str
    output: str
    state: str

    def write(self, partition: int, *values: bytes) -> None: ...

    def write_aborted(self, partition: int, *values: bytes) -> None:
        """Write records and the marker that hides them."""
        ...

    def delete_before(self, partition: int, offset: int) -> None:
        """Delete the oldest records of the input."""
        ...

    def input(self, handler: AssignmentHandler) -> Input:
        """Return a member that has joined once it owns all partitions."""
        ...

    def restore_reader(self) -> RestoreReader: ...

    def owner(self, name: str = "one", listener: OutcomeLog | None = None) -> Transactions: ...

    def end_query(self) -> EndQuery: ...

    def metadata(self) -> GroupMetadata:
        """Return the metadata of a member whose commits the group accepts."""
        ...

    def stale_metadata(self) -> GroupMetadata: ...

    def wait_until_written(self, topic: str, value: bytes) -> None:
        """Wait until the broker has a record, of whatever transaction."""
        ...

    def published(self) -> list[Published]: ...

    def committed(self) -> dict[int, int]: ...

    def close(self) -> None: ...


def read(member: PartitionReader[Any], count: int) -> list[tuple[int, int, bytes]]:
    """Return the next records as (partition, offset, value), by partition."""
    records: list[tuple[int, int, bytes]] = []

    def enough() -> bool:
        batch = member.poll(100, 0.05)
        records.extend((each.partition, each.offset, each.value or b"") for each in batch.records(0, len(batch)))
        return len(records) >= count

    until(enough, f"{count} records are read")
    return sorted(records)


def joined(member: Input) -> Input:
    """Wait until it owns all partitions, then read them from the start."""
    until(lambda: (member.poll(1, 0.05), len(member.assignment) == PARTITIONS)[1], "the member owns all partitions")
    for partition in member.assignment:
        member.begin(partition, 0)
    return member


class FakeStage:
    def __init__(self) -> None:
        self.cluster = FakeCluster(partitions=PARTITIONS)
        self.topic, self.output, self.state = self.cluster.topic, "summaries", "state"

    def write(self, partition: int, *values: bytes) -> None:
        for value in values:
            self.cluster.write(partition, value)

    def write_aborted(self, partition: int, *values: bytes) -> None:
        for _ in (*values, b"marker"):
            self.cluster.write_marker(partition)

    def delete_before(self, partition: int, offset: int) -> None:
        self.cluster.begins[partition] = offset

    def input(self, handler: AssignmentHandler) -> Input:
        member = FakeInputConsumer(self.cluster, handler)
        member.subscribe()
        return member

    def restore_reader(self) -> RestoreReader:
        return FakeRestoreReader(self.cluster, self.state)

    def owner(self, name: str = "one", listener: OutcomeLog | None = None) -> Transactions:
        del name  # the fake knows one transactional id per cluster
        return FakeTransactionOwner(self.cluster, listener)

    def end_query(self) -> EndQuery:
        return FakeEndQuery(self.cluster)

    def metadata(self) -> GroupMetadata:
        return self.cluster.metadata()

    def stale_metadata(self) -> GroupMetadata:
        stale = self.cluster.metadata()
        self.cluster.generation += 1
        return stale

    def wait_until_written(self, topic: str, value: bytes) -> None:
        """There is nothing to wait for."""

    def published(self) -> list[Published]:
        return self.cluster.published

    def committed(self) -> dict[int, int]:
        return self.cluster.committed

    def close(self) -> None:
        """Do nothing: the fake has no resources."""


class KafkaStage:
    """On a real broker.

    Args:
        bootstrap_servers: its addresses.
        protocol: the members' `group.protocol`.
    """

    def __init__(self, bootstrap_servers: str, protocol: str = CLASSIC) -> None:
        self.protocol = protocol
        self.topic, self.output, self.state = unique("input"), unique("output"), unique("state")
        self.group = unique("group")
        self.bootstrap_servers = bootstrap_servers
        create_topic(bootstrap_servers, self.topic, PARTITIONS)
        create_topic(bootstrap_servers, self.output, 1)
        create_topic(bootstrap_servers, self.state, PARTITIONS)
        self._ends: list[Callable[[], object]] = []
        self._member: Input | None = None

    def settings(self) -> Settings:
        return Settings(kafka=self._topics())

    def _topics(self) -> KafkaSettings:
        return KafkaSettings(
            bootstrap_servers=self.bootstrap_servers,
            group_id=self.group,
            input_topic=self.topic,
            output_topic=self.output,
            state_topic=self.state,
            client={"group.protocol": self.protocol},
        )

    def write(self, partition: int, *values: bytes) -> None:
        produce(self.bootstrap_servers, self.topic, [(partition, None, value) for value in values])

    def write_aborted(self, partition: int, *values: bytes) -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap_servers, "transactional.id": unique("aborting")})
        producer.init_transactions(15)
        producer.begin_transaction()
        for value in values:
            producer.produce(self.topic, value, partition=partition)
        assert producer.flush(15) == 0
        producer.abort_transaction(15)

    def delete_before(self, partition: int, offset: int) -> None:
        delete_records(self.bootstrap_servers, self.topic, partition, offset)

    def input(
        self,
        handler: AssignmentHandler,
        client: Mapping[str, str | int] | None = None,
        timeouts: Timeouts = TIMEOUTS,
    ) -> LiveInput:
        settings = self.settings()
        kafka = settings.kafka.model_copy(update={"client": {**settings.kafka.client, **(client or {})}})
        member = live_input(settings.model_copy(update={"kafka": kafka}), handler, timeouts)
        self._ends.append(member.close)
        member.subscribe()
        return member

    def restore_reader(self) -> KafkaRestoreReader:
        settings = self.settings()
        reader = KafkaRestoreReader(restore_config(settings), admin_config(settings.kafka), settings.kafka)
        self._ends.append(reader.close)
        return reader

    def owner(
        self, name: str = "one", listener: OutcomeLog | None = None, client: Mapping[str, int] | None = None
    ) -> TransactionOwner:
        config = producer_config(self.settings(), name)
        owner = TransactionOwner({**config, **(client or {})}, listener or OutcomeLog())
        self._ends.append(owner.close)
        return owner

    def end_query(self) -> EndOffsets:
        return EndOffsets(admin_config(self.settings().kafka), self.topic)

    def metadata(self) -> GroupMetadata:
        self._member = self._member or joined(self.input(_Indifferent()))
        until(lambda: self._member_metadata() is not None, "the group is stable")
        return self._member_metadata() or b""

    def stale_metadata(self) -> GroupMetadata:
        # The generation is the 4 bytes after the format's name and version.
        packed = self.metadata()
        return (
            packed[:7] + (int.from_bytes(packed[7:11], "little") - 1).to_bytes(4, "little", signed=True) + packed[11:]
        )

    def _member_metadata(self) -> GroupMetadata | None:
        assert self._member is not None
        self._member.poll(1, 0)
        return self._member.group_metadata()

    def wait_until_written(self, topic: str, value: bytes) -> None:
        until(
            lambda: value in {each.value() for each in read_uncommitted(self.bootstrap_servers, topic)},
            f"the broker has {value!r}",
        )

    def published(self) -> list[Published]:
        return [
            Published(self.output, each.key(), each.value(), tuple(each.headers() or ()))  # type: ignore[arg-type]  # its stub allows a dict, which only producers may give
            for each in read_committed(self.bootstrap_servers, self.output)
        ]

    def committed(self) -> dict[int, int]:
        return committed_offsets(self.bootstrap_servers, self.group, self.topic, PARTITIONS)

    def close(self) -> None:
        for end in self._ends:
            end()
        delete_topics(self.bootstrap_servers, [self.topic, self.output, self.state])


class _Indifferent:
    def on_assigned(self, starts: object) -> None: ...

    def on_revoked(self, partitions: object) -> None: ...

    def on_lost(self, partitions: object) -> None: ...
