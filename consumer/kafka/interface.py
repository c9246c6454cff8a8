"""What a worker needs of Kafka: an input and transactions. `InputConsumer` and `TransactionOwner` are the real ones."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from confluent_kafka import Message as Message  # noqa: PLC0414  # for other rooms, which don't import the client

GroupMetadata: TypeAlias = bytes
"""Member and generation of a consumer in its group, as the client library packs them."""

Headers: TypeAlias = Sequence[tuple[str, str | bytes | None]]


class PartitionStart(NamedTuple):
    """Where reading a partition begins."""

    partition: int
    offset: int
    committed: bool
    """It is the group's committed offset; else there was none, and `input.start` has decided."""


class AssignmentHandler(Protocol):
    """What the owner of the partitions' state does as they come and go; called inside `poll` and `close`."""

    def on_assigned(self, starts: Sequence[PartitionStart]) -> None:
        """These are ours from now on; none of their messages has been returned yet."""

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

    def rewind(self) -> list[PartitionStart]:
        """Go back to the committed offsets of all owned partitions."""

    def end_offsets(self) -> Mapping[int, int]:
        """One past the newest known record of each owned partition."""

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

    def produce_all(self, topic: str, records: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        """Add many, as (key, value)."""

    def commit(self, offsets: Mapping[tuple[str, int], int], group_metadata: GroupMetadata) -> None:
        """Publish, with next offsets by (topic, partition)."""

    def abort(self) -> None:
        """Take back what was produced since the last end."""

    def close(self) -> None:
        """Abort what is open and let go."""


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
