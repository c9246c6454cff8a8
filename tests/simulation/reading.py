"""What a worker reads beside its group: bounds and records of restores, and the ends of quiet partitions.

These stand in for `KafkaRestoreReader` and `EndOffsets`, whose threads have no place in simulated time.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from confluent_kafka import KafkaError, Message

from consumer.kafka.batch import Batch
from consumer.kafka.protocols import Bounds
from consumer.kafka.reading import ReadEvent, RecordReader
from consumer.kafka.timeouts import TIMEOUTS
from tests.simulation.brokers import Brokers
from tests.simulation.network import Network
from tests.simulation.scheduler import Process
from tests.support.lent import BatchLender


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


class SimulatedReader(RecordReader):
    """Fetches what is committed; some of what is there, sooner or later."""

    def __init__(self, process: Process, brokers: Brokers, dice: random.Random, late_s: Sequence[float]) -> None:
        super().__init__()
        self._process = process
        self._brokers = brokers
        self._dice = dice
        self._late_s = late_s
        self._fetching: dict[tuple[str, int], int] = {}
        """The offset to fetch next."""
        self._ends_told: dict[tuple[str, int], int] = {}
        self._ends: list[ReadEvent] = []
        self._lender = BatchLender()

    def known_end(self, place: tuple[str, int]) -> int:
        self._process.check()
        topic, partition = place
        return self._brokers.logs[topic][partition].end

    def close(self) -> None:
        self._process.check()

    def _fetch(self, max_records: int, timeout_s: float) -> Batch:
        self._process.check()
        self._lender.take_back()
        self._ends = []
        batch = self._fetched(max_records)
        # A machine under load comes back late.
        self._process.sleep(self._dice.uniform(0.0005, 0.01) if batch else timeout_s + self._dice.choice(self._late_s))
        return self._lender.lend(batch or self._fetched(max_records))

    def _pop_events(self) -> Iterator[ReadEvent]:
        yield from self._ends

    def _assign(self, place: tuple[str, int], offset: int) -> None:
        self._process.check()
        assert place not in self._fetching, "what is assigned is not assigned again"
        self._fetching[place] = max(0, offset)
        self._ends_told.pop(place, None)

    def _unassign(self, place: tuple[str, int]) -> None:
        self._process.check()
        del self._fetching[place]

    def _renew_client(self) -> None:
        self._process.check()
        self._fetching.clear()

    def _fetched(self, most: int) -> list[Message]:
        batch: list[Message] = []
        for place, offset in list(self._fetching.items()):
            topic, partition = place
            log = self._brokers.logs[topic][partition]
            if len(batch) >= most or (offset >= log.end and self._ends_told.get(place) == log.end):
                continue
            some, position = log.committed(offset, min(most - len(batch), self._dice.choice((1, 3, 1_000))))
            self._fetching[place] = position
            batch += some
            if position == log.end:
                self._ends_told[place] = position
                self._ends.append(ReadEvent(KafkaError(KafkaError._PARTITION_EOF), place, position))
        return batch


class SimulatedRestoreReader:
    """As `KafkaRestoreReader`."""

    def __init__(
        self, process: Process, brokers: Brokers, network: Network, dice: random.Random, topics: Topics
    ) -> None:
        self._process = process
        self._brokers = brokers
        self._network = network
        self._topics = topics
        self._reader = SimulatedReader(process, brokers, dice, late_s=(0.001,))

    def serve(self) -> None:
        """Its clients say nothing."""

    def look_up(self, partitions: Sequence[int]) -> SimulatedLookUp:
        self._process.check()
        return SimulatedLookUp(self._process, self._brokers, self._network, self._topics, partitions)

    def begin(self, place: tuple[str, int], offset: int) -> None:
        self._reader.begin(place, offset)

    def pause(self, places: Iterable[tuple[str, int]]) -> None:
        self._reader.drop(places)

    def poll(self, max_records: int, timeout_s: float) -> Batch:
        return self._reader.poll(max_records, timeout_s)

    def last_seen_end(self, place: tuple[str, int]) -> int:
        return self._reader.last_seen_end(place)

    def pop_failures(self) -> Mapping[tuple[str, int], str]:
        return {}

    def close(self, within_s: float = 0.0) -> None:
        del within_s  # nothing here waits
        self._reader.close()


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
