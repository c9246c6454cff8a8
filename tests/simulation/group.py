"""The coordinator of the input's consumer group: classic protocol, cooperative, sticky.

```
 stable ── a member joins, leaves, expires ──► preparing ── all have rejoined ──► stable, one generation later
```
A partition that moves takes two rounds: its owner gives it up in the first, and rejoins without it.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from confluent_kafka import KafkaError

from tests.simulation.scheduler import Scheduler


class Client(Protocol):
    """The member's side."""

    def rebalance_begins(self) -> None:
        """Heard with a heartbeat."""

    def synced(self, member: str, generation: int, partitions: Sequence[int]) -> None:
        """The answer to a join."""

    def join_failed(self) -> None:
        """The other answer: it is no member any more."""

    def fenced(self) -> None:
        """Another has its group.instance.id."""


@dataclass
class Member:
    client: Client
    claims: Sequence[int]
    """What it owned when it rejoined."""
    instance: str
    """Its group.instance.id; empty if it has none."""
    generation: int = -1
    rejoined: bool = True


class Group:
    """One group on one topic."""

    def __init__(self, scheduler: Scheduler, dice: random.Random, partitions: int, rebalance_s: float) -> None:
        self.members: dict[str, Member] = {}
        self.generation = 0
        self._scheduler = scheduler
        self._dice = dice
        self._partitions = partitions
        self._rebalance_s = rebalance_s
        self._preparing = False
        self._completing = False
        self._joined = 0

    def join(self, client: Client, name: str, instance: str, member: str, claims: Sequence[int]) -> bool:
        """JoinGroup; an empty member is a new one. Return False where the member is unknown."""
        if not member:
            self._joined += 1
            member = f"{name}-{self._joined}"
            self._fence(instance)
            self.members[member] = Member(client, (), instance)
        elif member not in self.members:
            return False
        mine = self.members[member]
        mine.claims, mine.rejoined = tuple(claims), True
        self.rebalance()
        return True

    def _fence(self, instance: str) -> None:
        for name in [name for name, each in self.members.items() if instance and each.instance == instance]:
            self.members.pop(name).client.fenced()

    def rebalance(self) -> None:
        """Have all members rejoin."""
        if not self._preparing:
            self._preparing, generation = True, self.generation
            self._scheduler.after(self._rebalance_s, lambda: self._expel_slow(generation))
            for each in self.members.values():
                if not each.rejoined:
                    each.client.rebalance_begins()
        self._complete_soon()

    def remove(self, member: str) -> None:
        """It has left, or its session is over."""
        mine = self.members.pop(member, None)
        if mine is not None:
            if mine.rejoined:
                mine.client.join_failed()
            self.rebalance()

    def drop(self, client: Client) -> None:
        """The sessions of all members that a client has been are over."""
        for name in [name for name, each in self.members.items() if each.client is client]:
            self.remove(name)

    def waits_for(self, member: str) -> bool:
        """Whether it has to rejoin."""
        return self._preparing and not self.members[member].rejoined

    def check(self, member: str, generation: int) -> int:
        """Whether a member may commit offsets: an error, 0 if it may."""
        if member not in self.members:
            return KafkaError.UNKNOWN_MEMBER_ID
        return 0 if generation == self.generation else KafkaError.ILLEGAL_GENERATION

    def _expel_slow(self, generation: int) -> None:
        if self._preparing and self.generation == generation:
            for name in [name for name, each in self.members.items() if not each.rejoined]:
                self.members.pop(name).client.rebalance_begins()  # its next heartbeat says more
            self._complete_soon()

    def _complete_soon(self) -> None:
        if not self._completing and all(each.rejoined for each in self.members.values()):
            self._completing = True
            self._scheduler.after(self._dice.uniform(0.0, 0.05), self._complete)

    def _complete(self) -> None:
        self._completing = False
        if not all(each.rejoined for each in self.members.values()):
            return
        self._preparing = False
        self.generation += 1
        for name, partitions in self._targets().items():
            mine = self.members[name]
            mine.rejoined, mine.generation = False, self.generation
            mine.client.synced(name, self.generation, partitions)

    def _targets(self) -> dict[str, list[int]]:
        """Keep what is balanced; what has to move is nobody's in this round."""
        targets: dict[str, list[int]] = {name: [] for name in self.members}
        if not targets:
            return targets
        for name, each in self.members.items():
            targets[name] = list(each.claims)
        claimed = {partition for mine in targets.values() for partition in mine}
        assert len(claimed) == sum(map(len, targets.values())), "two members own one partition"
        for partition in sorted(set(range(self._partitions)) - claimed):
            min(targets.values(), key=len).append(partition)
        while True:
            most, least = max(targets.values(), key=len), min(targets.values(), key=len)
            # Now and then one moves that would not have to.
            unasked = len(targets) > 1 and self._dice.random() < 0.1 and most
            if not unasked and (len(most) - len(least) < 2):
                return targets
            movable = [partition for partition in most if partition in claimed]
            if not movable:
                return targets
            most.remove(self._dice.choice(movable))
            if unasked:
                return targets
