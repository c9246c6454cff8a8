"""Find partitions of the input that no member of a settled group owns, and make the group rebalance.

A worker with a group.instance.id that leads the group may be killed in the middle of a cooperative rebalance: after it
was told to give partitions up, and before it asked for the second rebalance, in which others get them. When it comes
back the group is stable, so the brokers give it the assignment of the first half without a rebalance (KIP-814), and
the partitions have no owner until the group next changes.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from confluent_kafka import KafkaException

from consumer.errors import ViewerConsumerError
from consumer.kafka.brokers import MemberWatch
from consumer.kafka.clients import ACCESS_DENIED, TOO_OLD, kafka_error
from consumer.kafka.deadline import Clock, Deadline
from consumer.kafka.group_member import member_id_of
from consumer.kafka.protocols import GroupMetadata

SETTLE_S = 5.0
"""A generation of this age has settled; between the halves of a rebalance partitions have no owner either."""

REBALANCE_AGAIN_S = 300.0
"""Between two rebalances that this worker makes."""

ASK_AGAIN_S = 30.0
"""After a question that had no answer."""

_TURN_S = 1.0
_CLOSE_S = 2.0

_log = logging.getLogger(__name__)


class GroupView(NamedTuple):
    """A group as its coordinator describes it."""

    is_stable: bool
    """Whether it has an assignment, and no rebalance is under way."""
    members: Sequence[str]
    """Their ids, in order."""
    unowned: frozenset[int]
    """Partitions of the input that no member is assigned."""


class Group(Protocol):
    """The worker's group; its calls may wait for seconds."""

    def view(self) -> GroupView:
        """Ask the coordinator.

        Raises:
            KafkaException: no answer in time, or it refuses.
            TimeoutError: no answer in time.
            ViewerConsumerError: no client can be made now, for want of a token.
        """

    def make_rebalance(self, closed: threading.Event) -> None:
        """Join and leave, or give up once closed.

        Raises:
            ViewerConsumerError: the brokers refuse.
        """


class OwnerCheck:
    """Asks once for each generation that has settled whether every partition has an owner; a thread waits for answers.

    Each member asks. If partitions have none, the first of the members makes the group rebalance, and the others do if
    that one did not.

    Args:
        group: the worker's.
        watch: is told which partitions have no owner.
        clock: monotonic seconds.
    """

    def __init__(self, group: Group, watch: MemberWatch, clock: Clock = time.monotonic) -> None:
        self._group = group
        self._watch = watch
        self._clock = clock
        self._next_turn = self._next_question = self._next_rebalance = Deadline.after(0, clock)
        self._generation: GroupMetadata | None = None
        self._known = False
        """Nothing more is to be asked about this generation."""
        self._thread: threading.Thread | None = None
        self._is_member = False
        """The member that makes the group rebalance may be in it."""
        self._closed = threading.Event()

    def turn(self, metadata: Callable[[], GroupMetadata | None]) -> None:
        """Start a question if it is time for one; call once per turn of the loop, it does not wait.

        Args:
            metadata: the member's; called once a second.
        """
        if not self._next_turn.passed or (self._thread is not None and self._thread.is_alive()):
            return
        self._next_turn = self._after(_TURN_S)
        generation = metadata()
        if generation is None or generation != self._generation:
            self._generation, self._known, self._watch.unowned = generation, False, frozenset()
            self._next_question = self._after(SETTLE_S)
        elif not self._known and self._next_question.passed:
            self._thread = threading.Thread(target=self._ask, args=(generation,), daemon=True, name="owner-check")
            self._thread.start()

    def close(self) -> None:
        """Give the thread a short time to leave the group, which would wait for a member that is gone."""
        self._closed.set()
        if self._thread is not None and self._is_member:
            self._thread.join(_CLOSE_S)

    def _ask(self, generation: GroupMetadata) -> None:
        try:
            view = self._group.view()
        except (KafkaException, TimeoutError) as error:
            reason = kafka_error(error)
            self._known = reason.code() in ACCESS_DENIED | TOO_OLD
            self._has_no_answer(reason.str())
            return
        except ViewerConsumerError as error:
            self._has_no_answer(str(error))
            return
        self._next_question = self._after(SETTLE_S * (1 + _rank(generation, view.members)))
        if view.is_stable:
            seen_before = view.unowned == self._watch.unowned
            self._watch.unowned, self._known = view.unowned, not view.unowned
            if view.unowned and seen_before and self._next_rebalance.passed:
                self._make_rebalance(sorted(view.unowned))

    def _has_no_answer(self, reason: str) -> None:
        self._next_question = self._after(ASK_AGAIN_S)
        _log.debug("whether all partitions have an owner is not known: %s", reason)

    def _make_rebalance(self, unowned: Sequence[int]) -> None:
        _log.warning("partitions %s of the input have no owner in a stable group; makes it rebalance", list(unowned))
        self._next_rebalance = self._after(REBALANCE_AGAIN_S)
        self._is_member = True
        try:
            self._group.make_rebalance(self._closed)
        except ViewerConsumerError as error:
            _log.warning("the group was not made to rebalance: %s", error)
        finally:
            self._is_member = False

    def _after(self, seconds: float) -> Deadline:
        return Deadline.after(seconds, self._clock)


def _rank(generation: GroupMetadata, members: Sequence[str]) -> int:
    """The place of this member; behind all if the group does not know it."""
    own = member_id_of(generation)
    return members.index(own) if own in members else len(members)
