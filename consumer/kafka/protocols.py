"""What a worker needs from Kafka, as protocols. `InputConsumer` and `TransactionOwner` are the real implementations."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol, TypeAlias

from confluent_kafka import Message as Message  # noqa: PLC0414  # for other rooms, which don't import the client

GroupMetadata: TypeAlias = bytes
"""Member and generation of a consumer in its group, as the client library packs them."""

Headers: TypeAlias = Sequence[tuple[str, str | bytes | None]]

RecordWithHeaders: TypeAlias = tuple[bytes | None, bytes | None, list[tuple[str, str | bytes | None]]]
"""A record to publish: key, value and headers."""


class Record(NamedTuple):
    """A record as it is read where speed is no matter."""

    partition: int
    offset: int
    timestamp_ms: int
    """As Kafka has it; -1 where it has none."""
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class AssignmentHandler(Protocol):
    """What the owner of the partitions' state does as they come and go; called inside `poll` and `close`."""

    def on_assigned(self, partitions: Sequence[int]) -> None:
        """These are ours from now on; none of their messages is returned before `begin` says where."""

    def on_revoked(self, partitions: Sequence[int]) -> None:
        """These go to others when this returns; until then they can be committed."""

    def on_lost(self, partitions: Sequence[int]) -> None:
        """These may already be others'; committing for them is too late."""


class Input(Protocol):
    """The input topic as one member of the group reads it."""

    @property
    def assignment(self) -> frozenset[int]:
        """The partitions owned now."""

    def subscribe(self) -> None:
        """Join the group; what is assigned arrives inside `poll`."""

    def poll(self, max_messages: int, timeout_s: float) -> list[Message]:
        """The next messages, without errors among them."""

    def group_metadata(self) -> GroupMetadata | None:
        """What a commit under the known assignment needs; None while the group moves on: `poll` first."""

    def pause(self, partitions: Iterable[int]) -> None:
        """Return no more messages of these until `resume`."""

    def resume(self, partitions: Iterable[int]) -> None:
        """Go on with these from where they were paused."""

    def begin(self, partition: int, offset: int) -> None:
        """Return the messages of an owned partition from that offset on."""

    def end_offsets(self) -> Mapping[int, int]:
        """One past the newest known record of each owned partition."""

    def seen_to(self, partition: int) -> int:
        """Where the partition ended when it was last read to its end; 0 before."""

    def close(self) -> None:
        """Leave the group."""


class EndQuery(Protocol):
    """Where partitions of the input end, asked without waiting; one question at a time."""

    def ask(self, partitions: Iterable[int]) -> bool:
        """Begin to ask for all of these, unless an answer is awaited still; says whether it was begun."""

    def answers(self) -> Mapping[int, int] | None:
        """One past the newest record, of open transactions too; given once, None while there is nothing to give."""

    def failed(self) -> bool:
        """Whether the newest question got no answer in time, or an error for any partition; said once."""


class Transactions(Protocol):
    """What is published, and the input offsets it came from: together or not at all."""

    @property
    def ready(self) -> bool:
        """Transactions can begin."""

    @property
    def in_transaction(self) -> bool:
        """Something was produced since the last end."""

    def init(self) -> None:
        """Get ready; without it, first use does."""

    def produce(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers | None = None, partition: int = -1
    ) -> None:
        """Add one record."""

    def produce_all(
        self, topic: str, records: Iterable[tuple[bytes | None, bytes | None]], partition: int = -1
    ) -> None:
        """Add many, as (key, value)."""

    def produce_with_headers(self, topic: str, records: Iterable[RecordWithHeaders]) -> None:
        """Add many that have headers."""

    def commit(self, offsets: Mapping[tuple[str, int], int], group_metadata: GroupMetadata) -> None:
        """Publish, with next offsets by (topic, partition)."""

    def abort(self) -> None:
        """Take back what was produced since the last end."""

    def time_limit(self, seconds: float) -> AbstractContextManager[None]:
        """Within it, all calls together take no longer than that, or end as they do when they take too long."""

    def close(self) -> None:
        """Abort what is open and let go."""


class Bounds(NamedTuple):
    """What a restore of a partition goes by; looked up in this order."""

    committed: int | None
    """The group's offset, no transaction pending on it; None where it has none."""
    state_end: int
    """Of the state partition, records of open transactions included."""
    input_begin: int
    input_end: int


class LookUp(Protocol):
    """An answer on its way."""

    def bounds(self, partition: int) -> Bounds | None:
        """None while it is not known."""


class RestoreReader(Protocol):
    """Reads state and input of partitions on their way to being ours; belongs to no group's assignment."""

    def look_up(self, partitions: Sequence[int]) -> LookUp:
        """Begin to look up bounds; doesn't wait for them."""

    def read(self, topic: str, partition: int, offset: int) -> None:
        """Return what is committed of that partition, from the offset on, in `poll`."""

    def stop(self, topic: str, partition: int) -> None:
        """Return no more of it; does nothing where it is not read."""

    def poll(self, max_messages: int, timeout_s: float) -> list[Message]:
        """The next messages of all that is read."""

    def reached(self, topic: str, partition: int) -> int:
        """All that is committed below this offset has been returned, and all that is aborted is out of the way."""

    def close(self) -> None:
        """Let go."""


class DeadLetterSource(Protocol):
    """The dead-letter topic, of which only what is committed is seen."""

    def read(self, since_ms: int | None = None) -> Iterator[Record]:
        """All that are there now, each partition in order; from the first that was set aside at a time, if given."""

    def at(self, partition: int, offset: int) -> Record | None:
        """The one at a place; None where there is none (any more)."""


class TransactionListener(Protocol):
    """Hears how transactions end; for metrics."""

    def committed(self, seconds: float) -> None:
        """One was committed; so long it took from the call to the answer."""

    def aborted(self, error: str) -> None:
        """One was aborted, for an error of that name."""

    def lost(self, error: str) -> None:
        """One was given up with its producer, for an error of that name."""

    def retried(self, error: str) -> None:
        """A call was made again, for an error of that name."""
