"""What the client library's statistics tell of the brokers: who answers, which partitions are held back, the group.

The library gives them as JSON every two seconds, inside a poll.
"""

import json
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from confluent_kafka import KafkaError

from consumer.kafka.clients import LastClientError, log_connections
from consumer.kafka.deadline import Clock
from consumer.kafka.protocols import HeldPartition

SILENT_S = 8.0
"""A broker that owes an answer for so long does not answer; a fetch at the end of a partition is answered in 0.5 s."""

SETTLED_S = 2.0
"""A connection of this age has answered a fetch, so that end offsets are known again."""

NEWS_S = 4.0
"""Statistics that have waited longer for a poll do not say who is connected now."""

HELD_S = 60.0
"""Records that stay behind the same last stable offset for so long are held by an open transaction."""

REBALANCE_S = 10.0
"""A rebalance that takes longer waits for a member."""


class Broker(NamedTuple):
    """One broker that the client knows."""

    name: str
    node: int
    connected: bool
    connected_s: float
    owes: bool
    """Whether a request waits for its answer."""
    idle_s: float
    """Since its last answer."""

    @property
    def is_silent(self) -> bool:
        """Whether it is connected and does not answer."""
        return self.connected and self.owes and self.idle_s >= SILENT_S


class ClientWatch(LastClientError):  # noqa: N818  # no exception: what a client said last
    """Keeps what the newest statistics and errors of one client say; its callbacks feed it.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.brokers: list[Broker] = []
        self.taken_s = float("-inf")
        self._created_s = clock()
        """The client is created right after."""
        self.answered_s = self._created_s
        self.owed = False
        self.broken_s = float("-inf")

    def client_created(self) -> None:
        """Call before another client takes the place of the one before: statistics count their age from there."""
        self._created_s = self.clock()

    def record_error(self, error: KafkaError) -> None:
        """Called for an error of a connection: end offsets are unknown until the next statistics."""
        super().record_error(error)
        self.broken_s = self.clock()

    def record_statistics(self, text: str) -> None:
        """Called with the library's statistics, inside a poll; never raises."""
        statistics = json.loads(text)
        # They may have waited for a poll: what they say was so when they were made.
        now_s = self._created_s + int(statistics["age"]) / 1e6
        if self.clock() - now_s <= NEWS_S:
            log_connections(statistics)
        self.taken_s = now_s
        self.brokers = [_broker(each) for each in statistics["brokers"].values()]
        self._note_answers(now_s)
        self._note(statistics, now_s)

    def _note(self, statistics: Mapping[str, Any], now_s: float) -> None:
        """What only some clients know."""

    def _note_answers(self, now_s: float) -> None:
        connected = [broker for broker in self.brokers if broker.connected]
        idle_s = min((broker.idle_s for broker in connected), default=float("inf"))
        self.answered_s = max(self.answered_s, now_s - idle_s)
        owed = not connected or any(broker.owes for broker in connected)
        # What is owed for long stays owed until an answer comes: a client that gives up asks nothing for a while.
        self.owed = owed or (self.owed and idle_s >= SILENT_S)


class MemberWatch(ClientWatch):
    """Of the member of the group."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.consumer_protocol = False
        """Whether the member joins by KIP-848."""
        self.unowned: frozenset[int] = frozenset()
        """Partitions that no member of the group owns, as far as is known."""
        self._join_state = ""
        self._join_since_s = clock()

    def _note(self, statistics: Mapping[str, Any], now_s: float) -> None:
        join_state = statistics.get("cgrp", {}).get("join_state", "")
        if join_state != self._join_state:
            self._join_state, self._join_since_s = join_state, now_s

    def group_reason(self) -> str:
        """Why the group gives this worker no partitions; empty if that is not known."""
        waited_s = self.clock() - self._join_since_s
        if self.unowned:
            return f"partitions {sorted(self.unowned)} have no owner in the group; a worker will make it rebalance"
        if self._join_state == "steady":
            return "the group has no partition for this worker: other workers have them all"
        if self.consumer_protocol and self._join_state == "init" and waited_s >= REBALANCE_S:
            return (
                f"the group has given this worker no partition for {waited_s:.0f} s: other workers have them all, or "
                "one that may no longer be alive has yet to give some up, until the group's session time-out has passed"
            )
        if self._join_state and waited_s >= REBALANCE_S:
            return (
                f"the group has been rebalancing for {waited_s:.0f} s ({self._join_state}): it waits for members that "
                "may no longer be alive, until their session.timeout.ms has passed"
            )
        return ""


class ReaderWatch(ClientWatch):
    """Of the reader of the input.

    Args:
        topic: the input topic.
        clock: monotonic seconds.
    """

    def __init__(self, topic: str, clock: Clock) -> None:
        super().__init__(clock)
        self._topic = topic
        self._leaders: dict[int, int] = {}
        self.held: dict[int, HeldPartition] = {}

    def is_fresh(self, partition: int) -> bool:
        """Whether its end offset is known: its leader is connected and answers fetches."""
        if self.taken_s < self.broken_s or self.clock() - self.taken_s > SILENT_S:
            return self.taken_s == float("-inf") and self.broken_s == float("-inf")
        leader = self._leaders.get(partition, -1)
        return any(
            broker.node == leader and broker.connected and broker.connected_s >= SETTLED_S and not broker.is_silent
            for broker in self.brokers
        )

    def _note(self, statistics: Mapping[str, Any], now_s: float) -> None:
        del now_s
        partitions = statistics["topics"].get(self._topic, {}).get("partitions", {})
        known = {int(number): each for number, each in partitions.items() if int(number) >= 0}
        self._leaders = {number: int(each["leader"]) for number, each in known.items()}
        self.held = {
            number: held for number, each in known.items() if (held := self._held_by(number, each)) is not None
        }

    def _held_by(self, number: int, partition: Mapping[str, Any]) -> HeldPartition | None:
        stable, end = int(partition["ls_offset"]), int(partition["hi_offset"])
        if not 0 <= stable < end or int(partition["next_offset"]) < stable:
            return None
        before = self.held.get(number)
        same = before is not None and before.offset == stable
        return HeldPartition(stable, end - stable, before.since_s if before is not None and same else self.clock())


class BrokerWatch:
    """What both clients of the input say of the brokers.

    Args:
        servers: the configured addresses, for messages.
        topic: the input topic.
        clock: monotonic seconds.
    """

    def __init__(self, servers: str, topic: str, clock: Clock = time.monotonic) -> None:
        self._servers = servers
        self._topic = topic
        self._clock = clock
        self.member = MemberWatch(clock)
        self.reader = ReaderWatch(topic, clock)

    def silence(self) -> str:
        """Why Kafka does not answer; empty if it does."""
        clients: tuple[ClientWatch, ...] = (self.member, self.reader)
        silent_s = self._clock() - max(client.answered_s for client in clients)
        waits = any(client.owed or client.taken_s == float("-inf") for client in clients)
        if silent_s < SILENT_S or not waits:
            return ""
        silent = {each.name: each.idle_s for client in clients for each in client.brokers if each.is_silent}
        who = ", ".join(f"{name} for {idle_s:.0f} s" for name, idle_s in silent.items()) or self._servers
        error = self.member.error() or self.reader.error()
        why = "" if error is None or silent else f" ({error.str()})"
        return f"Kafka does not answer: {who}, no answer from any broker for {silent_s:.0f} s{why}"

    def is_fresh(self, partition: int) -> bool:
        """Whether its end offset is known: its leader is connected and answers fetches."""
        return self.reader.is_fresh(partition)

    def held(self) -> Mapping[int, HeldPartition]:
        """Partitions with records behind a producer's open transaction."""
        return self.reader.held

    def held_reason(self) -> str:
        """Which partition has been held for long, and where; empty if none."""
        now_s = self._clock()
        for number, held in sorted(self.reader.held.items()):
            if now_s - held.since_s >= HELD_S:
                return (
                    f"{self._topic}-{number}: an open transaction of a producer has held it at offset {held.offset} "
                    f"for {now_s - held.since_s:.0f} s, {held.records} offsets wait behind it; find it with: "
                    f"kafka-transactions.sh --bootstrap-server {self._servers} find-hanging --topic {self._topic}"
                )
        return ""

    def group_reason(self) -> str:
        """Why the group gives this worker no partitions; empty if that is not known."""
        return self.member.group_reason()


def _broker(each: Mapping[str, Any]) -> Broker:
    return Broker(
        name=str(each["nodename"] or each["name"]),
        node=int(each["nodeid"]),
        connected=each["state"] in {"UP", "UPDATE"},
        connected_s=int(each["stateage"]) / 1e6,
        owes=int(each["waitresp_cnt"]) > 0,
        idle_s=int(each["rxidle"]) / 1e6 if int(each["rxidle"]) >= 0 else float("inf"),
    )
