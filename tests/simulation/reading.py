"""What a worker reads beside its group: bounds and records of restores, and the ends of quiet partitions.

These stand in for `KafkaRestoreReader` and `EndOffsets`, whose threads have no place in simulated time.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from consumer.kafka.protocols import Bounds, Message
from consumer.kafka.timeouts import TIMEOUTS
from tests.simulation.brokers import Brokers
from tests.simulation.network import Network
from tests.simulation.scheduler import Process


class Topics(NamedTuple):
    input: str
    state: str


class SimulatedLookUp:
    """As `BoundsLookUp`: one request after the other, while the world goes on between them."""

    def __init__(self, process: Process, brokers: Brokers, network: Network, topics: Topics, partitions: Sequence[int]):
        self._process = process
        self._brokers = brokers
        self._network = network
        self._topics = topics
        self._partitions = list(partitions)
        self._committed: dict[int, int | None] = {}
        self._state_ends: dict[int, int] = {}
        self._bounds: dict[int, Bounds] = {}
        self._ask_committed()

    def bounds(self, partition: int) -> Bounds | None:
        return self._bounds.get(partition)

    def reason(self, partition: int) -> str:
        return "" if partition in self._bounds else "its offsets are not known yet"

    def _ask_committed(self) -> None:
        self._network.send(self._process, "OffsetFetch", self._stable_offsets, self._have_committed)

    def _stable_offsets(self) -> dict[int, int | None] | None:
        offsets = self._brokers.offsets
        if not all(map(offsets.is_stable, self._partitions)):
            return None
        return {each: offsets.committed.get(each) for each in self._partitions}

    def _have_committed(self, committed: dict[int, int | None] | None) -> None:
        if committed is None:
            self._process.background(TIMEOUTS.retry_pause_s, self._ask_committed)
            return
        self._committed = committed
        logs = self._brokers.logs[self._topics.state]
        self._network.send(
            self._process, "ListOffsets", lambda: {each: logs[each].end for each in committed}, self._have_state_ends
        )

    def _have_state_ends(self, state_ends: dict[int, int]) -> None:
        self._state_ends = state_ends
        for partition in state_ends:
            self._ask_input_end(partition)

    def _ask_input_end(self, partition: int) -> None:
        log = self._brokers.logs[self._topics.input][partition]
        self._network.send(
            self._process, "ListOffsets", lambda: log.stable_end, lambda end: self._have_input_end(partition, end)
        )

    def _have_input_end(self, partition: int, end: int) -> None:
        self._bounds[partition] = Bounds(self._committed[partition], self._state_ends[partition], 0, end)


class SimulatedRestoreReader:
    """Reads what is committed."""

    def __init__(
        self, process: Process, brokers: Brokers, network: Network, dice: random.Random, topics: Topics
    ) -> None:
        self._process = process
        self._brokers = brokers
        self._network = network
        self._dice = dice
        self._topics = topics
        self._positions: dict[tuple[str, int], int] = {}
        self._ends_seen: dict[tuple[str, int], int] = {}

    def look_up(self, partitions: Sequence[int]) -> SimulatedLookUp:
        self._process.check()
        return SimulatedLookUp(self._process, self._brokers, self._network, self._topics, partitions)

    def begin(self, place: tuple[str, int], offset: int) -> None:
        self._process.check()
        self._positions[place] = offset
        self._ends_seen.pop(place, None)

    def pause(self, places: Iterable[tuple[str, int]]) -> None:
        self._process.check()
        for place in places:
            self._positions.pop(place, None)
            self._ends_seen.pop(place, None)

    def poll(self, max_messages: int, timeout_s: float) -> list[Message]:
        self._process.check()
        batch: list[Message] = []
        for (topic, partition), offset in self._positions.items():
            most = min(max_messages - len(batch), self._dice.choice((2, 10, 1_000)))
            log = self._brokers.logs[topic][partition]
            some, position = log.committed(offset, most)
            self._positions[topic, partition] = position
            if position == log.end:
                self._ends_seen[topic, partition] = position
            batch += some
        self._process.sleep(0.001 if batch else max(timeout_s, 0.001))
        return batch

    def last_seen_end(self, place: tuple[str, int]) -> int:
        return self._ends_seen.get(place, 0)

    def pop_failures(self) -> Mapping[tuple[str, int], str]:
        return {}

    def close(self, within_s: float = 0.0) -> None:
        del within_s  # nothing here waits
        self._process.check()


class SimulatedEndQuery:
    """Answers that come some turns later, or not at all."""

    def __init__(self, process: Process, brokers: Brokers, network: Network, topic: str) -> None:
        self._process = process
        self._logs = brokers.logs[topic]
        self._network = network
        self._answers: dict[int, int] | None = None
        self._asked_s: float | None = None
        self._failed = False

    def ask(self, partitions: Iterable[int]) -> bool:
        self._process.check()
        self._give_up_in_time()
        wanted = list(partitions)
        if self._asked_s is not None or not wanted:
            return False
        self._asked_s = asked_s = self._process.scheduler.now_s
        self._failed = False
        self._network.send(
            self._process,
            "ListOffsets",
            lambda: {each: self._logs[each].end for each in wanted},
            lambda ends: self._have(ends, asked_s),
        )
        return True

    def answers(self) -> Mapping[int, int] | None:
        self._process.check()
        self._give_up_in_time()
        answers, self._answers = self._answers, None
        if answers is not None:
            self._asked_s = None
        return answers

    def failed(self) -> bool:
        self._process.check()
        self._give_up_in_time()
        failed, self._failed = self._failed, False
        return failed

    def _have(self, ends: dict[int, int], asked_s: float) -> None:
        if self._asked_s == asked_s:
            self._answers = ends

    def _give_up_in_time(self) -> None:
        if self._asked_s is not None and self._process.scheduler.now_s - self._asked_s > TIMEOUTS.end_offsets_s:
            self._asked_s, self._answers, self._failed = None, None, True
