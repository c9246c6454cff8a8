"""What a worker needs from Kafka, as protocols. `LiveInput` and `TransactionOwner` are the real implementations."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

from consumer.kafka.batch import Batch
from consumer.kafka.record import OutgoingRecord, Record
from consumer.runtime.record_columns import Headers, RecordColumns

GroupMetadata: TypeAlias = bytes
"""Member and generation of a consumer in its group, as the client library packs them."""

Place = TypeVar("Place")
"""What names a partition to its reader: its number, or topic and number."""


class AssignmentHandler(Protocol):
    """Reacts to changes of the assignment; called inside `poll` and `close`."""

    def on_assigned(self, partitions: Sequence[int]) -> None:
        """These are assigned; none of their records is returned before `begin` sets the start offset."""

    def on_revoked(self, partitions: Sequence[int]) -> None:
        """These are revoked when this returns; until then they can be committed."""

    def on_lost(self, partitions: Sequence[int]) -> None:
        """These are lost: another member may own them, so they must not be committed."""


class HeldPartition(NamedTuple):
    """A partition with records that cannot be read, because a producer's transaction before them is open."""

    offset: int
    """The last stable offset."""
    records: int
    """Offsets behind it."""
    since_s: float
    """Monotonic seconds."""


class BrokerStatus(Protocol):
    """How the brokers are, as far as the client library says."""

    def silence(self) -> str:
        """Why Kafka does not answer; empty if it does."""

    def held(self) -> Mapping[int, HeldPartition]:
        """Partitions with records behind a producer's open transaction."""

    def held_reason(self) -> str:
        """Which partition has been held for long, and where; empty if none."""

    def group_reason(self) -> str:
        """Why the group gives this worker no partitions; empty if that is not known."""


class Membership(Protocol):
    """One member of the group: its assignment, and the metadata that commits need."""

    @property
    def assignment(self) -> frozenset[int]:
        """The partitions owned now."""

    @property
    def brokers(self) -> BrokerStatus:
        """How the brokers are."""

    def subscribe(self) -> None:
        """Join the group; assignments arrive inside `LiveReader.poll`."""

    def group_metadata(self) -> GroupMetadata | None:
        """Group metadata for a commit; None during a rebalance: `poll` first."""

    def close(self, within_s: float = math.inf) -> bool:
        """Revoke what is owned, in the caller's thread, then leave the group; return whether that was done in time."""


class PartitionReader(Protocol[Place]):
    """Committed records of partitions, from offsets that the caller sets; for live reading, restores and replays."""

    def poll(self, max_records: int, timeout_s: float) -> Batch:
        """The next records of all partitions that were begun; valid until the next poll.

        An error that does not heal is raised by the poll behind, so that no record is lost to it.
        """

    def begin(self, place: Place, offset: int) -> None:
        """Return the records from that offset on, and none that were fetched before.

        Called between polls, not by an `AssignmentHandler`.
        """

    def pause(self, places: Iterable[Place]) -> None:
        """Return no more records of these until `begin`, or `LiveReader.resume`; nothing for one that is not read."""

    def last_seen_end(self, place: Place) -> int:
        """The end when it was last read to its end since `begin`, hidden records included; 0 before."""

    def pop_failures(self) -> Mapping[Place, str]:
        """Partitions that cannot be read on since `begin`, each with the reason; returned once."""


class LiveReader(PartitionReader[int], Protocol):
    """Reads owned partitions of the input.

    After a partition was assigned, none of its records is returned before `begin`, whatever was fetched under an
    earlier assignment.
    """

    def resume(self, partitions: Iterable[int]) -> None:
        """Continue with these behind what was returned last."""

    def renew_reader(self) -> None:
        """Read on behind what was returned with another client: for one that has stopped fetching."""

    def end_offsets(self) -> Mapping[int, int]:
        """End offsets of owned partitions whose leader answers."""


class Input(Membership, LiveReader, Protocol):
    """Both; what needs only one of them asks for that one."""


class EndQuery(Protocol):
    """End offsets of the input without blocking; one query at a time."""

    def ask(self, partitions: Iterable[int]) -> bool:
        """Start a query for all of these unless one is pending; return whether it was started."""

    def answers(self) -> Mapping[int, int] | None:
        """End offsets, records of open transactions included; returned once, None while there is no answer."""

    def failed(self) -> bool:
        """Whether the newest query failed or timed out; returned once per query."""


class TopicIds(Protocol):
    """The id of the input topic, which changes when the topic is deleted and created again."""

    def topic_id(self) -> str:
        """The newest known id, without waiting; empty if the cluster does not report it."""


class Transactions(Protocol):
    """Publishes records together with the input offsets they came from, in transactions."""

    @property
    def ready(self) -> bool:
        """Whether transactions can begin."""

    def init(self) -> None:
        """Initialize the producer; the first use does it otherwise."""

    def renew(self) -> None:
        """Initialize another producer if the last one was dropped; the next use does it otherwise."""

    def produce(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers | None = None, partition: int = -1
    ) -> None:
        """Add one record."""

    def produce_all(
        self, topic: str, records: Iterable[tuple[bytes | None, bytes | None]], partition: int = -1
    ) -> None:
        """Add many, as (key, value)."""

    def produce_columns(self, topic: str, records: RecordColumns) -> None:
        """Add many records with headers."""

    def commit(self, offsets: Mapping[tuple[str, int], int], group_metadata: GroupMetadata) -> None:
        """Publish, with next offsets by (topic, partition)."""

    def abort(self) -> None:
        """Abort: discard the records produced since the last commit or abort."""

    def time_limit(self, seconds: float) -> AbstractContextManager[None]:
        """Limit the total time of all calls within this context."""

    def close(self) -> None:
        """Abort an open transaction and close."""


class Bounds(NamedTuple):
    """Offsets that a restore needs, looked up in this order."""

    committed: int | None
    """The group's stable offset; None if it has none."""
    state_end: int
    """End offset of the state partition, records of open transactions included."""
    input_begin: int
    input_end: int


class LookUp(Protocol):
    """A pending answer."""

    def bounds(self, partition: int) -> Bounds | None:
        """The value; None while unknown."""

    def reason(self, partition: int) -> str:
        """Why it is still unknown; empty before the first failure."""


class RestoreReader(PartitionReader[tuple[str, int]], Protocol):
    """Reads state and input of partitions that are being restored, outside the group's assignment.

    A place is a topic and a partition. Offset 0 is the beginning of its log, where that is now.
    """

    def look_up(self, partitions: Sequence[int]) -> LookUp:
        """Start to look up bounds, without waiting."""

    def serve(self) -> None:
        """Hand on what the clients say; called now and then, as it would pile up while nothing is restored."""

    def close(self, within_s: float = math.inf) -> None:
        """Close the clients; what takes longer is left behind."""


class DeadLetterSource(Protocol):
    """Reads committed records of the dead-letter topic."""

    def read(self, since_ms: int | None = None) -> Iterator[Record]:
        """All current dead letters, each partition in order; optionally from a time on."""

    def read_in_order(self, since_ms: int | None = None) -> Iterator[Record]:
        """The same in the order in which all partitions were written, up to where they end at the call."""

    def at(self, partition: int, offset: int) -> Record | None:
        """The dead letter at an offset; None if there is none, or none any more."""


class Sent(NamedTuple):
    """What became of records that were written."""

    written: Sequence[bool]
    """Of each, whether a broker has acknowledged it."""
    error: str
    """Why some were not, for people; empty if all were."""


class RecordSender(Protocol):
    """Writes records to the input topic, without transactions."""

    def send(self, records: Sequence[OutgoingRecord]) -> Sent:
        """Write these and wait until each is acknowledged or has failed; after a failure nothing more is written."""


class TransactionListener(Protocol):
    """Is told how transactions end; for metrics."""

    def committed(self, seconds: float) -> None:
        """A transaction was committed; the call took that long."""

    def aborted(self, error: str) -> None:
        """A transaction was aborted because of an error of that name."""

    def lost(self, error: str) -> None:
        """A transaction was lost and its producer dropped because of an error of that name."""

    def retried(self, error: str) -> None:
        """A call was retried because of an error of that name."""
