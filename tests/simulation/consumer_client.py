"""The client library's consumer as the real `GroupMember` uses it: rebalance callbacks and heartbeats, no fetches."""

import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin._metadata import ClusterMetadata, TopicMetadata

from tests.simulation.group import Group
from tests.simulation.network import Network
from tests.simulation.scheduler import Answer, Process

HEARTBEAT_S = 0.5
Callback = Callable[["SimulatedConsumer", list[TopicPartition]], None]


class GroupRules(NamedTuple):
    session_s: float
    longest_poll_s: float
    """max.poll.interval.ms, and how long the group waits for a member to rejoin."""


class SimulatedConsumer:
    """One member of the group, with the thread of the client library in the process's background."""

    def __init__(
        self,
        process: Process,
        group: Group,
        network: Network,
        dice: random.Random,
        topic: str,
        instance: str,
        rules: GroupRules,
    ) -> None:
        self._process = process
        self._group = group
        self._network = network
        self._dice = dice
        self._topic = topic
        self._instance = instance
        self._rules = rules
        self._member = ""
        self._generation = -1
        self._owned: set[int] = set()
        self._callbacks: deque[tuple[str, list[int]]] = deque()
        self._serving = False
        self._rejoin_wanted = False
        self._joining = False
        self._closed = False
        self._replaced = False
        """Another has its group.instance.id."""
        self._fenced = False
        """It has heard of that."""
        self._last_poll_s = process.scheduler.now_s
        self._muted_since_s: float | None = None

    # What the worker calls.

    def subscribe(self, _topics: list[str], on_assign: Callback, on_revoke: Callback, on_lost: Callback) -> None:
        self._process.check()
        self._handlers = {"assign": on_assign, "revoke": on_revoke, "lost": on_lost}
        self._join()
        self._watch_polls()

    def consumer_group_metadata(self) -> bytes:
        """Packed as the client library does: generation, group, member, instance."""
        self._process.check()
        generation = self._generation.to_bytes(4, sys.byteorder, signed=True)
        return b"CGMDv2:" + generation + b"group\0" + self._member.encode() + b"\0" + self._instance.encode() + b"\0"

    def poll(self, timeout_s: float) -> Message | None:
        self._process.check()
        assert timeout_s == 0.0, "records are what a worker waits for"
        self._last_poll_s = self._process.scheduler.now_s
        self._serve_callbacks()
        if not self._fenced:
            return None
        text = "Fatal error: Broker: Static consumer fenced by other consumer with same group.instance.id"
        return Message(topic=self._topic, error=KafkaError(KafkaError._FATAL, text, fatal=True))

    def list_topics(self, topic: str, timeout: float) -> ClusterMetadata:
        """The topic is always there; the answer may come too late."""
        metadata = ClusterMetadata()
        metadata.topics = {topic: TopicMetadata()}
        if self._network.call(self._process, "Metadata", lambda: True, timeout) is None:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT, "Failed to get metadata"))
        return metadata

    def pause(self, places: Iterable[TopicPartition]) -> None:
        self._process.check()
        assert {place.partition for place in places} <= self._owned

    def incremental_assign(self, places: Iterable[TopicPartition]) -> None:
        self._process.check()
        self._owned.update(place.partition for place in places)

    def incremental_unassign(self, places: Iterable[TopicPartition]) -> None:
        self._process.check()
        self._owned.difference_update(place.partition for place in places)

    def close(self) -> None:
        """Give up all, then leave."""
        self._process.check()
        self._callbacks.clear()
        if self._owned:
            self._call("revoke" if self._member else "lost", list(self._owned))
        self._closed = True
        answer: Answer[None] = Answer()
        self._network.send(self._process, "group", lambda: self._group.drop(self), answer.set)
        self._process.wait(answer, 5.0)

    # What the brokers answer, and the client library's own thread.

    def rebalance_begins(self) -> None:
        """Maybe; heard with the next heartbeat."""
        self._process.background(self._dice.uniform(0.0, HEARTBEAT_S), self._beat)

    def synced(self, member: str, generation: int, partitions: Sequence[int]) -> None:
        self._process.background(
            self._network.way_s(self._process, "group"), lambda: self._assigned(member, generation, list(partitions))
        )

    def join_failed(self) -> None:
        self._process.background(self._network.way_s(self._process, "group"), self._refused)

    def mute(self, *, silent: bool) -> None:
        """Its heartbeats do not arrive any more, or do so again."""
        if not silent:
            self._muted_since_s = None
            self._process.background(self._dice.uniform(0.0, HEARTBEAT_S), self._beat)
        elif self._muted_since_s is None:
            since_s = self._muted_since_s = self._process.scheduler.now_s
            self._process.scheduler.after(self._rules.session_s, lambda: self._expire(since_s))

    def expelled(self) -> None:
        """The group has forgotten this member."""
        self._group.drop(self)
        self._process.background(self._dice.uniform(0.0, HEARTBEAT_S), self._beat)

    def fenced(self) -> None:
        """Heard with the next heartbeat, or as the answer to a join."""
        self._replaced = True
        self._process.background(self._dice.uniform(0.0, HEARTBEAT_S), self._beat)

    def _expire(self, since_s: float) -> None:
        if self._muted_since_s == since_s:
            self._group.drop(self)

    def _beat(self) -> None:
        """A heartbeat, whose answer may be that this is no member any more, or has to rejoin."""
        if self._muted_since_s is not None or self._closed:
            return
        if self._replaced:
            self._fenced = True
        elif not self._member:
            return
        elif self._member not in self._group.members:
            self._lose()
        elif self._group.waits_for(self._member):
            self._rejoin()

    def _watch_polls(self) -> None:
        left_s = self._last_poll_s + self._rules.longest_poll_s - self._process.scheduler.now_s
        if left_s <= 0.0 and self._member and not self._closed:
            self._group.remove(self._member)
            self._lose()
        self._process.background(max(left_s, 1.0), self._watch_polls)

    def _lose(self) -> None:
        self._member, self._generation = "", -1
        self._callbacks.clear()
        self._rejoin_wanted = True
        if self._owned:
            self._callbacks.append(("lost", list(self._owned)))
        else:
            self._rejoin()

    def _join(self) -> None:
        if self._closed or self._fenced:
            return
        if self._joining:
            self._rejoin_wanted = True  # behind the answer
            return
        self._joining, self._rejoin_wanted = True, False
        member, claims = self._member, list(self._owned)
        self._process.scheduler.after(
            self._network.way_s(self._process, "group"), lambda: self._join_at_coordinator(member, claims)
        )

    def _join_at_coordinator(self, member: str, claims: Sequence[int]) -> None:
        if self._closed or self._process.killed:
            return
        if not self._group.join(self, self._process.name, self._instance, member, claims):
            self.join_failed()

    def _refused(self) -> None:
        self._joining = False
        if not self._closed:
            self._lose()

    def _rejoin(self) -> None:
        """Now, or once all callbacks were served: what is owned must be known."""
        if self._callbacks or self._serving:
            self._rejoin_wanted = True
        else:
            self._join()

    def _assigned(self, member: str, generation: int, partitions: list[int]) -> None:
        self._joining = False
        if self._closed or (self._member and member != self._member):
            return  # of a membership that is over
        if member not in self._group.members:
            self._lose()
            return
        self._member, self._generation = member, generation
        self.rebalance_begins()  # it may have: an answer can be late
        revoked = [partition for partition in self._owned if partition not in partitions]
        added = [partition for partition in partitions if partition not in self._owned]
        if revoked:
            self._callbacks.append(("revoke", revoked))
            self._rejoin_wanted = True
        if added or not revoked:
            self._callbacks.append(("assign", added))

    def _serve_callbacks(self) -> None:
        while self._callbacks:
            self._call(*self._callbacks.popleft())
        if self._rejoin_wanted:
            self._join()

    def _call(self, what: str, partitions: list[int]) -> None:
        self._serving = True
        self._handlers[what](self, [TopicPartition(self._topic, each) for each in partitions])
        self._serving = False
