"""One member of the group: its assignment, and the metadata that commits need. It fetches nothing.

Rebalance callbacks run inside `poll`, and at the beginning of `close`, in the caller's thread. They never raise into
the client library; `poll` raises their errors instead.
"""

import contextlib
import logging
import math
import sys
import time
from typing import NoReturn

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from consumer.errors import ViewerConsumerError
from consumer.kafka.brokers import BrokerWatch
from consumer.kafka.clients import FORBIDDEN, explain, make_consumer
from consumer.kafka.config import ClientConfig, is_consumer_protocol
from consumer.kafka.deadline import CallTimedOutError, Clock, Deadline, call_within
from consumer.kafka.failure_budget import FenceCount
from consumer.kafka.protocols import AssignmentHandler, GroupMetadata
from consumer.kafka.timeouts import TIMEOUTS, Timeouts

_log = logging.getLogger(__name__)

_MOST_ERRORS = 100
"""Errors that one poll looks at."""

_JOIN_PAUSE_S = 2.0
"""Before another attempt to join with an instance id that is in use."""

_DROP_S = 1.0
"""To close a client that has failed."""

_LOOK_AFTER_S = 5.0
"""From a sign that the topic is gone until it is looked for: it may be about to be created again."""

_LOOK_S = 0.2
"""For one look, in which no signal is handled."""


class GroupMember:
    """The worker's member of the group; used by one thread.

    What it owns stays paused: a reader of its own fetches the records.

    Args:
        config: from `member_config`.
        topic: the input topic.
        handler: is called when the assignment changes.
        brokers: is told of this client's errors and statistics.
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
        brokers: BrokerWatch | None = None,
        timeouts: Timeouts = TIMEOUTS,
        clock: Clock = time.monotonic,
    ) -> None:
        self._config = config
        self._servers = str(config["bootstrap.servers"])
        self._group = str(config["group.id"])
        self._topic = topic
        self.purpose = f'read topic "{topic}" as group "{self._group}"'
        """For messages."""
        self._handler = handler
        self._timeouts = timeouts
        self._clock = clock
        self._watch = (brokers or BrokerWatch(self._servers, topic, clock)).member
        self._consumer = make_consumer(config, self._watch, self._watch.record_statistics)
        self._owned: set[int] = set()
        self._closing = False
        """The handler is not called any more."""
        self._metadata: GroupMetadata | None = None
        self._takes_over_epochs = self._watch.consumer_protocol = is_consumer_protocol(config)
        self._rebalanced = False
        """A callback has run since the last call of the client's poll began."""
        self._failure: Exception | None = None
        self._join_by: Deadline | None = None
        """How long joining is tried; None before the first refusal."""
        self._next_join: Deadline | None = None
        """When to join again; until then the client is one that has failed."""
        self._fences = FenceCount(clock)
        self._next_look: Deadline | None = None
        """When to look whether the topic is there; None while nothing says that it is not."""

    def subscribe(self) -> None:
        """Join the group; assignments arrive inside `poll`."""
        self._consumer.subscribe(
            [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        if self._would_not_be_told():
            self._look_later()

    @property
    def assignment(self) -> frozenset[int]:
        """The partitions owned now."""
        return frozenset(self._owned)

    def poll(self, timeout_s: float = 0.0) -> None:
        """Serve rebalances, and look at errors.

        Args:
            timeout_s: how long to wait for one.

        Raises:
            ViewerConsumerError: an error that does not heal, such as a deleted topic.
            Exception: raised by the handler.
        """
        if self._next_join is not None and self._next_join.passed:
            self._join_again()
        if self._next_look is not None and self._next_look.passed:
            self._look_for_topic()
        message = self._next(timeout_s)
        for _ in range(_MOST_ERRORS):
            if message is None or self._failure is not None:
                break
            error = message.error()
            if error is not None:
                self._look_at(error)
            message = self._next(0)
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def group_metadata(self) -> GroupMetadata | None:
        """Group metadata to commit offsets under the assignment that the handler knows.

        None during a rebalance or after this member was dropped: `poll` first, so that the handler is called. Brokers
        would accept a commit under the new generation although other members may have owned the partitions.
        """
        if self._metadata is None or self._metadata != self._consumer.consumer_group_metadata():
            return None
        return self._metadata

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
            self._next(0)

    def _next(self, timeout_s: float) -> Message | None:
        """Serve the callbacks that wait, and take over a member epoch that came without one.

        Under KIP-848 an epoch comes with every change of the group, mostly without a callback. It is taken over if it
        was there before this poll, and the poll left nothing in the queue and ran no callback: then the handler knows
        the assignment of that epoch. For a partition leaves a member only after its revoke callback, and a member that
        was expelled joins again, under a new epoch, only after the one for its loss.
        """
        self._rebalanced = False
        epoch = _current(self._consumer) if self._takes_over_epochs and self._owned else None
        message = self._consumer.poll(timeout_s)
        if epoch is not None and message is None and not self._rebalanced:
            self._metadata = epoch
        return message

    def _revoke_all(self) -> None:
        """Give up all partitions while their offsets can still be committed."""
        if self._owned:
            if self.group_metadata() is None:
                self._metadata = None  # they may have other owners
            self._tell(sorted(self._owned), lost=self._metadata is None)
            self._owned.clear()

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._has_failed(consumer, partitions):
            return
        self._rebalanced = True
        self._metadata = _current(consumer)
        try:
            self._assign(consumer, [each.partition for each in partitions])
        except Exception as error:  # noqa: BLE001  # the client library has no place for it
            self._fail(error)

    def _assign(self, consumer: Consumer, partitions: list[int]) -> None:
        if not partitions or self._closing:
            consumer.incremental_assign([])
            return
        # Paused for good: records are read by the reader, from where the state says.
        # From the end, since a fetch may begin before the pause.
        places = [TopicPartition(self._topic, partition, OFFSET_END) for partition in partitions]
        consumer.incremental_assign(places)
        consumer.pause(places)
        self._owned.update(partitions)
        self._join_by = None
        self._handler.on_assigned(partitions)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Commits under this generation are possible until this callback returns. A late callback may find that the
        # group has dropped this member; then the partitions are lost.
        if self._has_failed(consumer, partitions):
            return
        self._rebalanced = True
        self._metadata = _current(consumer)
        self._give_up(consumer, partitions, lost=self._metadata is None)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._has_failed(consumer, partitions):
            return
        self._rebalanced = True
        self._metadata = None
        self._give_up(consumer, partitions, lost=True)

    def _has_failed(self, consumer: Consumer, partitions: list[TopicPartition]) -> bool:
        """Whether a callback comes from a client that another one replaces; it closes, maybe in another thread."""
        if consumer is self._consumer and self._next_join is None:
            return False
        with contextlib.suppress(KafkaException, RuntimeError):
            consumer.incremental_unassign(partitions)
        return True

    def _give_up(self, consumer: Consumer, partitions: list[TopicPartition], *, lost: bool) -> None:
        if not self._closing:
            numbers = [each.partition for each in partitions if each.partition in self._owned]
            self._tell(numbers, lost=lost)
            self._owned.difference_update(numbers)
            if not self._owned:
                self._look_later()
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

    def _look_at(self, error: KafkaError) -> None:
        if self._next_join is not None or self._may_join_later(error) or self._may_join_after_fence(error):
            return
        if error.fatal() or error.code() in _FINAL:
            self._raise_final(error)
        if error.code() in _GONE:
            self._look_later()
        _log.warning("group %s: %s", self._group, error.str())

    def _look_later(self) -> None:
        """Look for the topic in a while.

        An error says that it is unknown, or all partitions were taken away: under KIP-848 a deleted topic may show in
        that alone.
        """
        if self._next_look is None:
            self._next_look = Deadline.after(_LOOK_AFTER_S, self._clock)

    def _would_not_be_told(self) -> bool:
        """Whether nothing says that the topic is gone: under KIP-848, to a member that owns no partition of it."""
        return self._takes_over_epochs and not self._owned

    def _look_for_topic(self) -> None:
        """See whether the topic is gone. A broker that was just made a leader does not know it for a moment either."""
        self._next_look = None
        try:
            error = self._consumer.list_topics(self._topic, _LOOK_S).topics[self._topic].error
        except KafkaException:
            self._look_later()
            return
        if error is not None and error.code() in _GONE:
            raise ViewerConsumerError(
                f'input topic "{self._topic}" is not there any more on {self._servers}: {error.str()}'
            )
        if error is not None or self._would_not_be_told():
            self._look_later()

    def _may_join_later(self, error: KafkaError) -> bool:
        """Whether joining failed for an instance id in use: under KIP-848 a killed worker's is until its session ends.

        For the client library that is final, so another client joins.
        """
        if self._owned or not _is_fatal_for(error, KafkaError.UNRELEASED_INSTANCE_ID):
            return False
        if self._join_by is None:
            self._join_by = Deadline.after(self._timeouts.join_s, self._clock)
            _log.warning("group %s: %s; tried again for %.0f s", self._group, error.str(), self._timeouts.join_s)
        if not self._join_by.passed:
            self._next_join = Deadline.after(_JOIN_PAUSE_S, self._clock)
        return self._next_join is not None

    def _may_join_after_fence(self, error: KafkaError) -> bool:
        """Whether this is one of few fences: then another client joins.

        Its cause may be this member's own request to join, whose answer was lost and that was sent again. Another
        worker with the same instance id will fence it again and again.
        """
        if not _is_fatal_for(error, KafkaError.FENCED_INSTANCE_ID) or self._fences.is_too_many():
            return False
        _log.warning("group %s: %s; joins again", self._group, error.str())
        self._metadata = None
        self._revoke_all()
        self._next_join = Deadline.after(_JOIN_PAUSE_S, self._clock)
        return True

    def _join_again(self) -> None:
        failed = self._consumer
        with contextlib.suppress(CallTimedOutError, RuntimeError):
            call_within(Deadline.after(_DROP_S, self._clock), failed.close)
        self._next_join = None
        self._watch.client_created()
        self._consumer = make_consumer(self._config, self._watch, self._watch.record_statistics)
        self.subscribe()

    def _raise_final(self, error: KafkaError) -> NoReturn:
        doing = f"can't {self.purpose}"
        if error.code() == KafkaError._FATAL:  # noqa: SLF001  # as above
            codes = (KafkaError.UNRELEASED_INSTANCE_ID, KafkaError.FENCED_INSTANCE_ID)
            what = "at what the brokers support: kafka.client group.protocol, group.remote.assignor"
            if not self._takes_over_epochs or any(_is_fatal_for(error, code) for code in codes):
                what = "for another with the same kafka.client group.instance.id"
            raise ViewerConsumerError(
                f"{doing} any more ({error.str()}): start the worker again; where that doesn't last, look {what}"
            )
        raise explain(doing, self._servers, error, self._watch.error())


def _is_fatal_for(error: KafkaError, code: int) -> bool:
    """Whether a fatal error has this reason, which it has as text only."""
    return error.code() == KafkaError._FATAL and KafkaError(code).str() in error.str()  # noqa: SLF001  # the library's name


def _current(consumer: Consumer) -> GroupMetadata | None:
    try:
        return _of_a_member(consumer.consumer_group_metadata())
    except RuntimeError:  # the client library is closing and has left the group
        return None


_PACKED = b"CGMDv2:"
_GENERATION_END = len(_PACKED) + 4


def _of_a_member(metadata: GroupMetadata) -> GroupMetadata | None:
    """The metadata if brokers will check it: without member or generation they accept any commit.

    Under KIP-848 the generation is the member's epoch; 0 is one that has not joined.

    Packed by the client library as: format, generation (32 bits, this machine's order), group, 0, member, 0, instance.
    """
    if not metadata.startswith(_PACKED):
        raise ViewerConsumerError(f"this release of confluent-kafka packs group metadata as {metadata[:7]!r}; use 2.16")
    generation = int.from_bytes(metadata[len(_PACKED) : _GENERATION_END], sys.byteorder, signed=True)
    return metadata if generation > 0 and member_id_of(metadata) else None


def member_id_of(metadata: GroupMetadata) -> str:
    """The id that the group gave this member; empty before it has one."""
    _group, member, *_ = metadata[_GENERATION_END:].split(b"\0")
    return member.decode()


_GONE = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})  # noqa: SLF001  # as above
# A fatal error arrives as a message with another code, which is not marked as fatal.
_FINAL = (
    FORBIDDEN | {KafkaError.INCONSISTENT_GROUP_PROTOCOL, KafkaError._FATAL}  # noqa: SLF001  # as above
)
