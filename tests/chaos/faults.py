"""The plan: which faults, in which order; a seed decides it all, and nothing that happens meanwhile does.

Faults come in lanes that run side by side: one for each worker, and one for each of the other kinds. The faults of a
lane follow one another; those of different lanes meet as they may.
"""

import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from tests.chaos.deployment import SESSION_S, TRANSACTION_S
from tests.chaos.points import POINTS, Order
from tests.support.cluster import NODES

T = TypeVar("T")

WORKERS = "workers"
"""The name of all lanes of workers; each has the worker's own name in a plan."""
BROKERS = "brokers"
NETWORK = "network"
PRODUCERS = "producers"
RETENTION = "retention"
GROWTH = "growth"
JOURNALS = "journals"
BURSTS = "bursts"
CLOCKS = "clocks"

SHARES: Mapping[str, int] = {
    WORKERS: 3,
    BROKERS: 3,
    NETWORK: 2,
    PRODUCERS: 1,
    RETENTION: 1,
    GROWTH: 1,
    JOURNALS: 1,
    BURSTS: 1,
    CLOCKS: 1,
}
"""Of the faults; each worker has the workers' share."""

BUSY_PARTITIONS = range(8)
"""Of the input, with events that keep coming."""
LONE_PARTITION, LONE_NODE = 7, 1
"""The partition with one replica, and the broker that has it."""
QUIET_PARTITION = 8
"""Only the retention lane writes to it."""

PAST_THE_TRANSACTION_S = (TRANSACTION_S + SESSION_S) / 2
"""The broker has ended the transaction, and the group still takes the worker for alive."""

LONGEST_FREEZE_S = 30.0
"""Of a broker."""

CLOCK_STEPS_S = (-315_360_000, -86_400, -3_600, -65, -3, 3, 65, 3_600, 86_400, 315_360_000)
"""Steps of a worker's wall clock: from seconds, as a time server takes them, to ten years."""

POISONS = ("another digest", "a record too many", "an earlier offset", "no JSON")
"""What a journal is replaced by."""


class Fault(NamedTuple):
    """One fault."""

    kind: str
    point: Order | None = None
    dirty: bool = False
    """The process before is killed, so that the one with the point has something to replay; else it stops cleanly."""
    node: int = 0
    worker: str = ""
    partition: int | None = None
    streams: int = 0
    poison: str = ""
    shift_s: float = 0.0
    """By how much a clock is set forward."""
    for_s: float = 0.0
    """How long it lasts."""
    rest_s: float = 0.0
    """How long the lane rests after it."""

    def __str__(self) -> str:
        parts = (
            self.kind,
            self.point and f"at {self.point}",
            self.dirty and "after a kill",
            self.node and f"broker {self.node}",
            self.worker,
            self.partition is not None and f"partition {self.partition}",
            self.streams and f"{self.streams} streams",
            self.poison and f"with {self.poison}",
            self.shift_s and f"by {self.shift_s:+.0f} s",
            self.for_s and f"for {self.for_s:.1f} s",
        )
        return " ".join(str(part) for part in parts if part)


Plan = Mapping[str, Sequence[Fault]]
"""By lane."""


def plan(
    seed: int, length: int, workers: Sequence[str], points: Sequence[str], lanes: Collection[str] = tuple(SHARES)
) -> Plan:
    """So many faults over the lanes of these names."""
    shares = {worker: SHARES[WORKERS] for worker in workers if WORKERS in lanes}
    shares |= {lane: share for lane, share in SHARES.items() if lane in lanes and lane != WORKERS}
    sizes = _sizes(length, shares)
    return {lane: _lane(lane, size, random.Random(f"{seed} {lane}"), workers, points) for lane, size in sizes.items()}


def _sizes(length: int, shares: Mapping[str, int]) -> dict[str, int]:
    """The length cut by shares, without loss; smaller shares first, so that a short plan has one of each."""
    sizes, left, shares_left = {}, length, sum(shares.values())
    for lane, share in sorted(shares.items(), key=lambda each: each[1]):
        sizes[lane] = round(left * share / shares_left)
        left, shares_left = left - sizes[lane], shares_left - share
    return sizes


def _lane(lane: str, size: int, chance: random.Random, workers: Sequence[str], points: Sequence[str]) -> list[Fault]:
    makers: dict[str, Callable[[random.Random], Iterator[Fault]]] = {
        BROKERS: _of_brokers,
        NETWORK: _of_the_network,
        PRODUCERS: _of_producers,
        RETENTION: _of_retention,
        GROWTH: _of_growth,
        JOURNALS: _of_journals,
        BURSTS: _of_bursts,
        CLOCKS: partial(_of_clocks, workers),
    }
    faults = makers.get(lane, partial(_of_a_worker, points))(chance)
    return [next(faults)._replace(rest_s=chance.uniform(0.2, 4.0)) for _ in range(size)]


def _of_a_worker(points: Sequence[str], chance: random.Random) -> Iterator[Fault]:
    in_turn = _each_in_turn(points, chance)
    kinds = ("die", "zombie", "kill", "terminate", "leave", "pause", "freeze")
    while True:
        kind = chance.choices(kinds, (8, 3, 2, 2, 2, 2, 2))[0]
        if kind in {"die", "zombie"}:
            name = next(in_turn)
            count = chance.randint(1, 60) if POINTS[name].often else 1
            order = Order(name, count, stop=kind == "zombie")
            dirty = chance.random() < 0.5 or name == "in_replay"
            yield Fault(kind, order, dirty, for_s=_absence_s(chance) if order.stop else 0.0)
        elif kind == "freeze":
            yield Fault(kind, for_s=_absence_s(chance))
        elif kind == "pause":
            yield Fault(kind, for_s=chance.uniform(0.2, 4.0))
        elif kind == "leave":
            yield Fault(kind, for_s=chance.uniform(1.0, 12.0))
        else:
            yield Fault(kind)


def _absence_s(chance: random.Random) -> float:
    """Past the transaction's timeout, or past the session's too."""
    return chance.choice((PAST_THE_TRANSACTION_S, SESSION_S + chance.uniform(1.0, 6.0)))


def _of_brokers(chance: random.Random) -> Iterator[Fault]:
    """The kinds in turn; `leaderless` is a kill that lasts until the other partitions have made progress."""
    kinds = _each_in_turn(("stop", "kill", "freeze", "leaderless", "freeze"), chance)
    for kind in kinds:
        if kind == "leaderless":
            yield Fault(kind, node=LONE_NODE, partition=LONE_PARTITION, for_s=chance.uniform(0.5, 15.0))
        else:
            longest_s = LONGEST_FREEZE_S if kind == "freeze" else 8.0
            yield Fault(kind, node=chance.choice(NODES), for_s=chance.uniform(0.5, longest_s))


def _of_the_network(chance: random.Random) -> Iterator[Fault]:
    while True:
        kind = chance.choice(("cut", "refuse", "hold", "slow", "throttle"))
        longest_s = {"cut": 0.0, "refuse": 5.0, "hold": 9.0}.get(kind, 10.0)
        yield Fault(kind, for_s=chance.uniform(min(0.5, longest_s), longest_s))


def _of_producers(chance: random.Random) -> Iterator[Fault]:
    """Transactions among the events: they leave markers and aborted records behind, and hold back what follows."""
    while True:
        yield Fault(chance.choice(("abort", "mark")), for_s=chance.choice((0.0, 0.0, chance.uniform(0.2, 3.0))))


def _of_retention(chance: random.Random) -> Iterator[Fault]:
    """Deletions of all records of the quiet partition.

    `trim` while workers run; `trim stopped` while none does; `trim uncounted` deletes aborted records and a marker
    that no worker has read, so that the partition must be reset with its rows kept.
    """
    for kind in _each_in_turn(("trim", "trim stopped", "trim uncounted"), chance):
        yield Fault(kind, partition=QUIET_PARTITION, dirty=kind == "trim stopped" and chance.random() < 0.5)


def _of_growth(_chance: random.Random) -> Iterator[Fault]:
    """One more partition of the input each."""
    while True:
        yield Fault("grow")


def _of_journals(chance: random.Random) -> Iterator[Fault]:
    """Journals replaced behind the workers' back; the partition must stop, and then be reset."""
    for poison in _each_in_turn(POISONS, chance):
        partition = chance.choice([each for each in BUSY_PARTITIONS if each != LONE_PARTITION])
        yield Fault("poison", partition=partition, poison=poison, dirty=chance.random() < 0.7)


def _of_bursts(chance: random.Random) -> Iterator[Fault]:
    """Many streams of one viewer, then ten minutes of silence, then a record at which all their buckets close."""
    while True:
        yield Fault("burst", partition=chance.choice(BUSY_PARTITIONS), streams=chance.randint(30, 150))


def _of_clocks(workers: Sequence[str], chance: random.Random) -> Iterator[Fault]:
    """A worker's wall clock is set to another time, and back later."""
    for shift_s in _each_in_turn(CLOCK_STEPS_S, chance):
        yield Fault("set clock", worker=chance.choice(workers), shift_s=shift_s, for_s=chance.uniform(1.0, 15.0))


def _each_in_turn(choices: Sequence[T], chance: random.Random) -> Iterator[T]:
    """All of them before any comes again, each time in another order."""
    while True:
        yield from chance.sample(choices, len(choices))
