"""The worker's input: one client is the member of the group, another one reads what it owns."""

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from confluent_kafka import KafkaError

from consumer.kafka.batch import Batch
from consumer.kafka.brokers import BrokerWatch
from consumer.kafka.clients import explain
from consumer.kafka.deadline import CallTimedOutError, Deadline, call_within
from consumer.kafka.group_member import GroupMember
from consumer.kafka.owner_check import OwnerCheck
from consumer.kafka.protocols import AssignmentHandler, GroupMetadata
from consumer.kafka.reading import Place, ReadError, RecordReader

_CLOSE_S = 2.0
"""For the reader, behind leaving the group."""


class LiveInput:
    """Implements `Input`.

    Args:
        member: its handler is a `ReadingHandler`.
        reader: reads the partitions that the member owns.
        brokers: hears of both clients.
        topic: the input topic.
        servers: for messages.
        owner_check: sees that every partition has an owner; None where the brokers do.
    """

    def __init__(
        self,
        member: GroupMember,
        reader: RecordReader,
        brokers: BrokerWatch,
        topic: str,
        servers: str,
        owner_check: OwnerCheck | None = None,
    ) -> None:
        self._member = member
        self._reader = reader
        self._topic = topic
        self._servers = servers
        self._owner_check = owner_check
        self.brokers = brokers
        """How the brokers are."""

    @property
    def assignment(self) -> frozenset[int]:
        """The partitions owned now."""
        return self._member.assignment

    def subscribe(self) -> None:
        """Join the group; assignments arrive inside `poll`."""
        self._member.subscribe()

    def group_metadata(self) -> GroupMetadata | None:
        """Group metadata for a commit; None during a rebalance: `poll` first."""
        return self._member.group_metadata()

    def poll(self, max_records: int, timeout_s: float) -> Batch:
        """Serve rebalances, then return the next records.

        Raises:
            ViewerConsumerError: an error that does not heal, such as a deleted topic.
            Exception: raised by the handler; no record is lost.
        """
        self._member.poll()
        if self._owner_check is not None:
            self._owner_check.turn(self._member.group_metadata)
        try:
            return self._reader.poll(max_records, timeout_s)
        except ReadError as failed:
            last_error = self.brokers.reader.error()
            what = self._member.purpose if failed.place is None else f"read {failed.what}"
            raise explain(f"can't {what}", self._servers, failed.error, last_error) from None

    def begin(self, partition: int, offset: int) -> None:
        """Return the records of an owned partition from that offset on, and none that were fetched before."""
        self._reader.begin((self._topic, partition), offset)

    def pause(self, partitions: Iterable[int]) -> None:
        """Return no more records of these until `resume` or `begin`."""
        self._reader.pause(self._places(partitions))

    def resume(self, partitions: Iterable[int]) -> None:
        """Continue with these behind what was returned last."""
        self._reader.resume(self._places(partitions))

    def renew_reader(self) -> None:
        """Read on with another client, behind what was returned: for one that has stopped fetching."""
        self._reader.renew()

    def last_seen_end(self, partition: int) -> int:
        """The end when it was last read to its end since `begin`, transaction markers included; 0 before."""
        return self._reader.last_seen_end((self._topic, partition))

    def pop_failures(self) -> Mapping[int, str]:
        """Owned partitions that cannot be read on, each with the reason; returned once.

        If the topic is gone, the member of the group says so.
        """
        return {place[1]: self._reason(place, error) for place, error in self._reader.pop_errors().items()}

    def end_offsets(self) -> Mapping[int, int]:
        """End offsets of owned partitions as of their last fetch; without those whose leader does not answer."""
        fresh = filter(self.brokers.is_fresh, self.assignment)
        ends = {partition: self._reader.known_end((self._topic, partition)) for partition in fresh}
        return {partition: end for partition, end in ends.items() if end >= 0}

    def close(self, within_s: float = math.inf) -> bool:
        """Leave the group; owned partitions are revoked first, in this thread.

        Returns:
            Whether the group was told in time.

        Raises:
            Exception: whatever the handler raised.
        """
        deadline = Deadline.after(within_s)
        if self._owner_check is not None:
            self._owner_check.close()
        try:
            return self._member.close(within_s)
        finally:
            with suppress(CallTimedOutError):
                call_within(Deadline.after(min(_CLOSE_S, deadline.left_s())), self._reader.close)

    def _places(self, partitions: Iterable[int]) -> list[Place]:
        return [(self._topic, partition) for partition in partitions]

    def _reason(self, place: Place, error: KafkaError) -> str:
        name = f"{self._topic}-{place[1]}"
        if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001  # the library's name
            return f"{name}: the offset to read on from is not in it ({error.str()})"
        return f"{name}: the brokers do not know this partition ({error.str()})"


class ReadingHandler:
    """Stops reading what goes to others, behind the worker's own handler.

    Args:
        handler: the worker's.
        reader: reads what is owned.
        topic: the input topic.
    """

    def __init__(self, handler: AssignmentHandler, reader: RecordReader, topic: str) -> None:
        self._handler = handler
        self._reader = reader
        self._topic = topic

    def on_assigned(self, partitions: Sequence[int]) -> None:
        """Nothing is read before `begin`."""
        self._handler.on_assigned(partitions)

    def on_revoked(self, partitions: Sequence[int]) -> None:
        """First of all they are committed: behind this call the group may take no commit of them."""
        try:
            self._handler.on_revoked(partitions)
        finally:
            self._drop(partitions)

    def on_lost(self, partitions: Sequence[int]) -> None:
        """Others may own them."""
        try:
            self._handler.on_lost(partitions)
        finally:
            self._drop(partitions)

    def _drop(self, partitions: Sequence[int]) -> None:
        self._reader.drop((self._topic, partition) for partition in partitions)
