"""The plan: which faults, in which order; a seed decides it all, and nothing that happens meanwhile does.

Faults come in lanes that run side by side: one for each worker, one for the brokers, one for the network, and one for
producers with transactions. Those of a
lane follow one another, so no two of them want the same thing at once; those of different lanes meet as they may.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tests.chaos.points import POINTS, Order
from tests.chaos.scene import SESSION_S, TRANSACTION_S

NODES = (1, 2, 3)
BROKERS = "brokers"
NETWORK = "network"
PRODUCERS = "producers"

SHARES: Mapping[str, int] = {"worker": 3, BROKERS: 1, NETWORK: 2, PRODUCERS: 2}
"""Of the faults, by what a lane is for."""

PAST_THE_TRANSACTION_S = (TRANSACTION_S + SESSION_S) / 2
"""The broker has ended the transaction, and the group still takes the worker for alive."""


class Fault(NamedTuple):
    """One fault."""

    kind: str
    point: Order | None = None
    dirty: bool = False
    """The process before is killed, so that the one with the point has something to replay; else it stops cleanly."""
    node: int = 0
    for_s: float = 0.0
    """How long it lasts."""
    rest_s: float = 0.0
    """How long the lane rests behind it."""

    def __str__(self) -> str:
        parts = (
            self.kind,
            self.point and f"at {self.point}",
            self.dirty and "behind one that is killed",
            self.node and f"broker {self.node}",
            self.for_s and f"for {self.for_s:.1f} s",
        )
        return " ".join(str(part) for part in parts if part)


Plan = Mapping[str, Sequence[Fault]]
"""By lane."""


def plan(seed: int, length: int, workers: Sequence[str], points: Sequence[str]) -> Plan:
    """So many faults over all lanes."""
    shares = dict.fromkeys(workers, SHARES["worker"]) | {lane: SHARES[lane] for lane in (BROKERS, NETWORK, PRODUCERS)}
    sizes = _sizes(length, shares)
    return {lane: _lane(lane, size, random.Random(f"{seed} {lane}"), points) for lane, size in sizes.items()}


def _sizes(length: int, shares: Mapping[str, int]) -> dict[str, int]:
    """The length cut by shares, without loss."""
    sizes, left, shares_left = {}, length, sum(shares.values())
    for lane, share in shares.items():
        sizes[lane] = round(left * share / shares_left)
        left, shares_left = left - sizes[lane], shares_left - share
    return sizes


def _lane(lane: str, size: int, chance: random.Random, points: Sequence[str]) -> list[Fault]:
    make = {BROKERS: _of_brokers, NETWORK: _of_the_network, PRODUCERS: _of_producers}.get(lane)
    faults = _of_a_worker(chance, points) if make is None else make(chance)
    return [next(faults)._replace(rest_s=chance.uniform(0.2, 4.0)) for _ in range(size)]


def _of_a_worker(chance: random.Random, points: Sequence[str]) -> Iterator[Fault]:
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
    while True:
        kind = chance.choice(("stop", "kill"))
        yield Fault(kind, node=chance.choice(NODES), for_s=chance.uniform(0.5, 8.0))


def _of_the_network(chance: random.Random) -> Iterator[Fault]:
    while True:
        kind = chance.choice(("cut", "refuse", "hold", "slow", "throttle"))
        longest_s = {"cut": 0.0, "refuse": 5.0, "hold": 9.0}.get(kind, 10.0)
        yield Fault(kind, for_s=chance.uniform(min(0.5, longest_s), longest_s))


def _of_producers(chance: random.Random) -> Iterator[Fault]:
    """Transactions among the events: they leave markers and aborted records behind, and hold back what follows."""
    while True:
        yield Fault(chance.choice(("abort", "mark")), for_s=chance.choice((0.0, 0.0, chance.uniform(0.2, 3.0))))


def _each_in_turn(points: Sequence[str], chance: random.Random) -> Iterator[str]:
    """All of them before any comes again, each time in another order."""
    while True:
        yield from chance.sample(points, len(points))
