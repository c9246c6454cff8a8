"""The input: events of a few streams and viewers, records that are no events, and transactions around some of them."""

import random
from collections.abc import Callable

from confluent_kafka import Message

from tests.end_to_end import viewings
from tests.reference import events_counting, sessions_counting
from tests.simulation.brokers import Log, NewRecord
from tests.simulation.scheduler import Scheduler

NO_EVENT = b"no event"
JUMP_MS = 20_000


class Feed:
    """Writes to the input, a burst at a time."""

    def __init__(self, scheduler: Scheduler, dice: random.Random, logs: list[Log], stamp_ms: Callable[[], int]) -> None:
        self._scheduler = scheduler
        self._dice = dice
        self._logs = logs
        self._stamp_ms = stamp_ms
        self._newest_ms = [0 for _ in logs]
        self._producers = 0
        self.open = 0
        """Transactions that have not ended."""

    def write_some(self) -> None:
        """A few records to one partition; some in a transaction, which may be aborted."""
        dice, log = self._dice, self._dice.choice(self._logs)
        records = [self._record(log.partition) for _ in range(dice.choice((1, 2, 6)))]
        if dice.random() < 0.8:
            log.append(records)
            return
        self._producers -= 1
        producer, commits = self._producers, dice.random() < 0.7
        log.append(records, producer)
        self.open += 1
        self._scheduler.after(dice.choice((0.0, 0.5, 4.0)), lambda: self._end(log, producer, commits))

    def _end(self, log: Log, producer: int, commits: bool) -> None:
        log.mark(producer, commit=commits)
        self.open -= 1

    def _record(self, partition: int) -> NewRecord:
        dice = self._dice
        if dice.random() < 0.05:
            return NewRecord(None, NO_EVENT, None, self._stamp_ms())
        step_ms = dice.randint(-1_500, 1_500) if dice.random() < 0.97 else JUMP_MS
        at_ms = self._newest_ms[partition] + step_ms
        self._newest_ms[partition] = max(at_ms, self._newest_ms[partition])
        stream_id, viewer_id, kind = dice.choice("abc"), dice.choice("vwxyz"), dice.choice("JJLBS")
        event = sessions_counting.Event(stream_id, viewer_id, at_ms, kind, dice.randint(0, 9) if kind in "BS" else 0)
        return NewRecord(stream_id.encode(), viewings.encoded(viewings.varied(event)), None, self._stamp_ms())


def event_of(record: Message) -> sessions_counting.Event | None:
    """What a record holds; None where it is no event."""
    value = record.value() or b""
    return None if value == NO_EVENT else viewings.decoded(value)


def without_viewer(event: sessions_counting.Event) -> events_counting.Event:
    return events_counting.Event(event.stream_id, event.kind, event.timestamp_ms, event.value, event.stall_ms)
