"""An audience that keeps coming: seeded, in some disorder, some events too late, some that are no events at all."""

import contextlib
import random
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

from tests.chaos.waits import until_kafka
from tests.end_to_end.stage import Record
from tests.end_to_end.viewings import encoded, varied
from tests.reference.sessions_counting import Event

REASON = "reject"
"""The header of a record that is no event: why it must be rejected."""

BEGIN_MS = 1_000_000_000_000
"""Event time begins long ago, so that it may run faster than the clock."""

EVERY_S = 0.1
STEP_MS = 250
STREAMS = 5
SILENCE_MS = 12_000
"""Of a stream: long enough to be forgotten."""
VIEWERS = 8
"""Of a stream; a few of them are there at a time."""
FAR_AHEAD_MS = 2**45
JUMP_MS = 600_000
"""Of event time, behind a burst."""

_DEEDS, _SHARES = ("join", "leave", "stray leave", "fall silent", "report"), (20, 10, 4, 6, 60)
_REJECTS_ONE_IN = 150


class PartitionEvents:
    """Events of one partition, a step of event time after the other; the same seed gives the same."""

    def __init__(self, seed: int, partition: int) -> None:
        self._random = random.Random(f"events {seed} {partition}")
        self._partition = partition
        self._time_ms = BEGIN_MS
        self._present: dict[str, list[str]] = defaultdict(list)
        self._bursts = 0

    def step(self) -> Iterator[Record]:
        """What the next `STEP_MS` bring."""
        self._time_ms += STEP_MS
        for stream in range(STREAMS):
            # Each is silent for one fifth of the time.
            if (self._time_ms // SILENCE_MS + stream) % STREAMS:
                yield self._record(f"p{self._partition}-s{stream}")

    def burst(self, streams: int) -> Iterator[Record]:
        """Many new streams with one viewer each, then a record that is `JUMP_MS` later; time goes on from there."""
        self._bursts += 1
        for number in range(streams):
            stream_id = f"p{self._partition}-burst-{self._bursts}-{number}"
            yield self._valid(Event(stream_id, "v", self._time_ms, "J"))
        self._time_ms += JUMP_MS
        yield self._valid(Event(f"p{self._partition}-s0", "v0", self._time_ms, "B", 1))

    def _record(self, stream_id: str) -> Record:
        chance = self._random
        viewer_id, kind = self._deed(self._present[stream_id])
        event = varied(Event(stream_id, viewer_id, self._time_ms - self._delay_ms(), kind, chance.randrange(5_000_000)))
        if chance.randrange(_REJECTS_ONE_IN) == 0:
            reason, value = self._reject(event)
            return Record(stream_id.encode(), value, 0, self._partition, ((REASON, reason.encode()),))
        return self._valid(event)

    def _valid(self, event: Event) -> Record:
        return Record(event.stream_id.encode(), encoded(event), 0, self._partition)

    def _deed(self, present: list[str]) -> tuple[str, str]:
        """Who does what; those present are what the audience itself takes for present."""
        chance = self._random
        anybody = f"v{chance.randrange(VIEWERS)}"
        somebody = chance.choice(present) if present else anybody
        deed = chance.choices(_DEEDS, _SHARES)[0]
        if deed == "fall silent" and present:
            present.remove(somebody)  # the leave that is lost
            somebody = chance.choice(present) if present else anybody
        elif deed == "join":
            present += [anybody] * (anybody not in present)
            return anybody, "J"  # once more, from one who is there
        elif deed == "leave" and present:
            present.remove(somebody)
            return somebody, "L"
        elif deed == "stray leave":
            return anybody, "L"
        return somebody, chance.choice("BBBS")

    def _delay_ms(self) -> int:
        """Most come at once, some within the grace, a few when their bucket is closed."""
        longest_ms = self._random.choices((STEP_MS, 1_000, 6_000), (80, 15, 5))[0]
        return self._random.randrange(longest_ms)

    def _reject(self, event: Event) -> tuple[str, bytes | None]:
        good = encoded(event)
        return self._random.choice(
            (
                ("null_value", None),
                ("bad_framing", b"\x01" + good[1:]),
                ("truncated", good[:-1]),
                ("trailing_bytes", good + b"\0"),
                ("future", encoded(event._replace(timestamp_ms=FAR_AHEAD_MS))),
            )
        )


class Flow:
    """Writes the events of partitions in a thread, a step every `EVERY_S`, until it is stopped."""

    def __init__(self, bootstrap_servers: str, topic: str, seed: int, partitions: Iterable[int]) -> None:
        self._topic = topic
        self._seed = seed
        self._events = {partition: PartitionEvents(seed, partition) for partition in partitions}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._paused = False
        self._thread = threading.Thread(target=self._run, name="producer")
        self._failure: str | None = None
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "linger.ms": 5,
                "enable.idempotence": True,
                "acks": "all",
                "delivery.timeout.ms": 300_000,
                "log_level": 2,
                "on_delivery": self._on_delivery,
            }
        )

    def __enter__(self) -> "Flow":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def partitions(self) -> list[int]:
        """Those it writes to."""
        return list(self._events)

    def add(self, partition: int) -> None:
        """Write to one more, which the topic has already."""
        until_kafka(
            lambda: partition in self._producer.list_topics(self._topic, 15).topics[self._topic].partitions,
            f"the producer knows partition {partition}",
        )
        with self._lock:
            self._events = {**self._events, partition: PartitionEvents(self._seed, partition)}

    def burst(self, partition: int, streams: int) -> None:
        """Write a burst between two steps."""
        with self._lock:
            self._write(self._events[partition].burst(streams))

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, nothing is written, so that workers that are down do not fall behind for the rest of the run."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def stop(self) -> None:
        """Write no more, and wait until all is there.

        Raises:
            RuntimeError: a record could not be written.
        """
        if self._thread.is_alive():
            self._stop.set()
            self._thread.join()
            left = self._producer.flush(300)
            if left or self._failure is not None:
                raise RuntimeError(f"{left} events were not written: {self._failure}")

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            if self._paused:
                continue
            with self._lock:
                for each in self._events.values():
                    self._write(each.step())
            self._producer.poll(0)

    def _write(self, records: Iterable[Record]) -> None:
        for record in records:
            self._producer.produce(
                self._topic, record.value, record.key, record.partition, headers=list(record.headers)
            )

    def _on_delivery(self, error: KafkaError | None, _message: Message | Any) -> None:
        if error is not None:
            self._failure = error.str()
