"""Read batches of messages of the owned partitions, and handle rebalances.

Rebalance callbacks run inside `poll`, and at the beginning of `close`, in the caller's thread. They never raise into
the client library, which would then lose the batch it is about to return. `poll` raises their errors instead, and the
batch comes with the next call.
"""

import contextlib
import logging
import math
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NoReturn, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from consumer.errors import ViewerConsumerError
from consumer.kafka.brokers import BrokerWatch
from consumer.kafka.clients import ACCESS_DENIED, explain, kafka_error, make_consumer
from consumer.kafka.config import ClientConfig
from consumer.kafka.deadline import CallTimedOutError, Clock, Deadline, call_within
from consumer.kafka.protocols import AssignmentHandler, GroupMetadata
from consumer.kafka.retries import call_until
from consumer.kafka.timeouts import TIMEOUTS, Timeouts

_log = logging.getLogger(__name__)

LONGEST_POLL_S = 0.2
"""The longest wait inside the client library, during which signals are not handled."""

_NO_OFFSET = -1001
_SEEK_PAUSE_S = 0.01


class InputConsumer:
    """The worker's consumer of the input topic; used by one thread.

    Args:
        config: from `consumer_config`.
        topic: the input topic.
        handler: is called when the assignment changes.
        timeouts: how long to wait.
        clock: monotonic seconds.

    Raises:
        UsageError: librdkafka doesn't take the configuration.
    """

    def __init__(
        self,
        config: ClientConfig,
        topic: str,
        handler: AssignmentHandler,
        timeouts: Timeouts = TIMEOUTS,
        clock: Clock = time.monotonic,
    ) -> None:
        self._servers = str(config["bootstrap.servers"])
        self._group = str(config["group.id"])
        self._topic = topic
        self._handler = handler
        self._timeouts = timeouts
        self._clock = clock
        self.brokers = BrokerWatch(self._servers, topic, clock)
        """How the brokers are."""
        self._consumer = make_consumer(config, self.brokers, self.brokers.record_statistics)
        self._owned: dict[int, int] = {}
        """Owned partitions, each with the number of its assignment."""
        self._assignments = 0
        self._begun: dict[int, int] = {}
        """Under which assignment reading was last begun, by partition."""
        self._reassigned = False
        self._closing = False
        """The handler is not called any more."""
        self._metadata: GroupMetadata | None = None
        self._failure: Exception | None = None
        self._held: list[Message] = []
        self._ends_seen: dict[int, int] = {}
        self._failures: dict[int, str] = {}
        self.transient_errors: Counter[str] = Counter()
        """Number of errors from which the client library recovers by itself, by name."""

    def subscribe(self) -> None:
        """Join the group; assignments arrive inside `poll`."""
        self._consumer.subscribe(
            [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    @property
    def assignment(self) -> frozenset[int]:
        """The partitions owned now."""
        return frozenset(self._owned)

    def poll(self, max_messages: int, timeout_s: float) -> list[Message]:
        """The next messages, errors removed; returns when `max_messages` have arrived or the time is up.

        None is of a partition that was not begun since its last assignment, even if it was fetched before.

        Args:
            max_messages: at most so many.
            timeout_s: limited to `LONGEST_POLL_S`.

        Raises:
            ViewerConsumerError: an error that does not heal, such as a deleted topic.
            Exception: raised by the handler; no message is lost.
        """
        messages = self._held or self._consume(max_messages, min(timeout_s, LONGEST_POLL_S))
        self._held = []
        if self._failure is not None:
            failure, self._failure, self._held = self._failure, None, messages
            raise failure
        if any(map(Message.error, messages)):
            return self._without_errors(messages)
        return messages

    def group_metadata(self) -> GroupMetadata | None:
        """Group metadata to commit offsets under the assignment that the handler knows.

        None during a rebalance or after this member was dropped: `poll` first, so that the handler is called. Brokers
        would accept a commit under the new generation although other members may have owned the partitions.
        """
        if self._metadata is None or self._metadata != self._consumer.consumer_group_metadata():
            return None
        return self._metadata

    def pause(self, partitions: Iterable[int]) -> None:
        """Stop fetching these and drop fetched messages, until `resume` or a new assignment."""
        self._consumer.pause(self._pairs(partitions))

    def resume(self, partitions: Iterable[int]) -> None:
        """Continue to fetch these from the paused position."""
        self._consumer.resume(self._pairs(partitions))

    def begin(self, partition: int, offset: int) -> None:
        """Return the messages of an owned partition from that offset on.

        Raises:
            ViewerConsumerError: the client library refused the seek.
        """
        # In this order: a paused partition notices a seek only after a second.
        self.resume([partition])
        self._seek(TopicPartition(self._topic, partition, offset), Deadline.after(self._timeouts.seek_s, self._clock))
        self._begun[partition] = self._owned[partition]
        self._forget(partition)
        self._held = [message for message in self._held if message.partition() != partition]

    def end_offsets(self) -> Mapping[int, int]:
        """End offsets of owned partitions as of their last fetch; without those whose leader does not answer."""
        fresh = filter(self.brokers.is_fresh, self._owned)
        ends = {partition: self._known_end(partition) for partition in fresh}
        return {partition: end for partition, end in ends.items() if end >= 0}

    def last_seen_end(self, partition: int) -> int:
        """The end when it was last read to its end since `begin`, transaction markers included; 0 before."""
        return self._ends_seen.get(partition, 0)

    def pop_failures(self) -> Mapping[int, str]:
        """Owned partitions that cannot be read on, each with the reason and what resolves it; returned once."""
        failures, self._failures = self._failures, {}
        return failures

    def close(self, within_s: float = math.inf) -> bool:
        """Leave the group; owned partitions are revoked first, in this thread.

        The client library's own close may hang, so it runs in a thread that can be left behind. No handler is called
        in there: it could still be committing when the caller, out of patience, closes the producer.

        Args:
            within_s: limited to the time-out for leaving.

        Returns:
            Whether the group was told; if not, it notices after the session's time-out.

        Raises:
            Exception: whatever the handler raised.
        """
        self._serve_rebalance()
        self._revoke_all()
        self._closing = True
        left = self._leave(Deadline.after(min(within_s, self._timeouts.close_s), self._clock))
        if self._failure is not None:
            raise self._failure
        return left

    def _leave(self, deadline: Deadline) -> bool:
        try:
            call_within(deadline, self._consumer.close)
        except CallTimedOutError:
            _log.warning("leaving group %s took too long; it will notice by itself", self._group)
            return False
        return True

    def _serve_rebalance(self) -> None:
        """Call the handler for what the group has decided meanwhile; under an older generation nothing is committed."""
        with contextlib.suppress(KafkaException, RuntimeError):  # closing goes on without
            self._consumer.consume(1, 0)

    def _revoke_all(self) -> None:
        """Give up all partitions while their offsets can still be committed."""
        if self._owned:
            if self.group_metadata() is None:
                self._metadata = None  # they may have other owners
            self._tell(sorted(self._owned), lost=self._metadata is None)
            self._owned.clear()

    def _consume(self, max_messages: int, timeout_s: float) -> list[Message]:
        self._reassigned = False
        messages = self._consumer.consume(max_messages, timeout_s)
        # Callbacks run between the messages of a batch: those before may be of an assignment that is over. Their
        # offsets do not tell, a partition may come back with a lower one.
        return list(filter(self._is_current, messages)) if self._reassigned else messages

    def _is_current(self, message: Message) -> bool:
        """Whether a message is of the present assignment of its partition, or an error that concerns none."""
        error, partition = message.error(), cast("int", message.partition())
        if error is not None and error.code() not in _OF_ONE_PARTITION:
            return True
        return partition in self._owned and self._begun.get(partition) == self._owned[partition]

    def _forget(self, partition: int) -> None:
        """What was seen before `begin`, or under an earlier assignment, is outdated."""
        self._ends_seen.pop(partition, None)
        self._failures.pop(partition, None)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._metadata = _of_a_member(consumer.consumer_group_metadata())
        try:
            self._assign(consumer, [each.partition for each in partitions])
        except Exception as error:  # noqa: BLE001  # raising here would lose the batch in hand
            self._fail(error)

    def _assign(self, consumer: Consumer, partitions: list[int]) -> None:
        if not partitions or self._closing:
            consumer.incremental_assign([])
            return
        # The start offset is unknown until the state is restored; nothing is fetched before.
        places = [TopicPartition(self._topic, partition, OFFSET_BEGINNING) for partition in partitions]
        consumer.incremental_assign(places)
        consumer.pause(places)
        self._assignments += 1
        self._owned.update(dict.fromkeys(partitions, self._assignments))
        self._reassigned = True
        self._handler.on_assigned(partitions)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Commits under this generation are possible until this callback returns. A late callback may find that the
        # group has dropped this member; then the partitions are lost.
        try:
            self._metadata = _of_a_member(consumer.consumer_group_metadata())
        except RuntimeError:  # the client library is closing and has left the group
            self._metadata = None
        self._give_up(consumer, partitions, lost=self._metadata is None)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._metadata = None
        self._give_up(consumer, partitions, lost=True)

    def _give_up(self, consumer: Consumer, partitions: list[TopicPartition], *, lost: bool) -> None:
        if not self._closing:
            numbers = [each.partition for each in partitions if each.partition in self._owned]
            self._tell(numbers, lost=lost)
            for number in numbers:
                del self._owned[number]
                self._forget(number)
            self._reassigned = True
        try:
            consumer.incremental_unassign(partitions)
        except KafkaException as error:
            self._fail(error)

    def _tell(self, numbers: list[int], *, lost: bool) -> None:
        try:
            if numbers:
                (self._handler.on_lost if lost else self._handler.on_revoked)(numbers)
        except Exception as error:  # noqa: BLE001  # as in _on_assign
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Keep the first error for `poll` to raise; later ones usually follow from it."""
        if self._failure is None:
            self._failure = error
        else:
            _log.error("and in the same rebalance: %s", error)

    def _seek(self, position: TopicPartition, deadline: Deadline) -> None:
        """Seek, and retry: a partition that was just assigned is not fetched yet."""
        try:
            call_until(
                deadline,
                lambda: self._consumer.seek(position),
                lambda: time.sleep(_SEEK_PAUSE_S),
                lambda error: not error.fatal(),
            )
        except KafkaException as error:
            doing = f"can't begin at offset {position.offset} of {self._topic}-{position.partition}"
            raise explain(doing, self._servers, kafka_error(error), self.brokers.error()) from None

    def _known_end(self, partition: int) -> int:
        known = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
        return known[1] if known is not None else _NO_OFFSET

    def _pairs(self, partitions: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition) for partition in partitions]

    def _without_errors(self, messages: list[Message]) -> list[Message]:
        good = []
        for position, message in enumerate(messages):
            error = message.error()
            if error is None:
                good.append(message)
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001  # the library's name
                self._failures[cast("int", message.partition())] = self._lost_offset(message, error)
            elif _is_final(error):
                self._held = good + messages[position + 1 :]
                self._raise_final(error)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # the library's name
                self._ends_seen[cast("int", message.partition())] = cast("int", message.offset())
            else:
                self.transient_errors[error.name()] += 1
                _log.warning("reading %s: %s", self._topic, error.str())
        return good

    def _lost_offset(self, message: Message, error: KafkaError) -> str:
        return (
            f"{self._topic}-{message.partition()}: the offset to read on from is not in it ({error.str()}), so some "
            "records were never counted"
        )

    def _raise_final(self, error: KafkaError) -> NoReturn:
        if error.code() in _GONE:
            raise ViewerConsumerError(
                f'input topic "{self._topic}" is not there any more on {self._servers}: {error.str()}'
            )
        doing = f'can\'t read topic "{self._topic}" as group "{self._group}"'
        if error.code() == KafkaError._FATAL:  # noqa: SLF001  # as above
            raise ViewerConsumerError(
                f"{doing} any more ({error.str()}): start the worker again; where that doesn't last, look for another "
                f"with the same kafka.client group.instance.id"
            )
        raise explain(doing, self._servers, error, self.brokers.error())


_PACKED = b"CGMDv2:"


def _of_a_member(metadata: GroupMetadata) -> GroupMetadata | None:
    """The metadata if brokers will check it: without member or generation they accept any commit.

    Packed by the client library as: format, generation (32 bits, this machine's order), group, 0, member, 0, instance.
    """
    if not metadata.startswith(_PACKED):
        raise ViewerConsumerError(f"this release of confluent-kafka packs group metadata as {metadata[:7]!r}; use 2.16")
    generation_end = len(_PACKED) + 4
    generation = int.from_bytes(metadata[len(_PACKED) : generation_end], sys.byteorder, signed=True)
    _group, member, *_ = metadata[generation_end:].split(b"\0")
    return metadata if generation >= 0 and member else None


_OF_ONE_PARTITION = frozenset({KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET})  # noqa: SLF001  # as above
_GONE = frozenset(
    {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}  # noqa: SLF001  # as above
)
# A fatal error arrives as a message with another code, which is not marked as fatal.
_FINAL = (
    _GONE | ACCESS_DENIED | {KafkaError.INCONSISTENT_GROUP_PROTOCOL, KafkaError._FATAL}  # noqa: SLF001  # as above
)


def _is_final(error: KafkaError) -> bool:
    return error.fatal() or error.code() in _FINAL
