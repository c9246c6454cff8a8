"""Any sequence of events, turns, faults, kills and rebalances publishes what one that never fails would publish.

```
    worker 1   ──●───●──x                 ● commit   x killed, or memory dropped
    worker 2            └─restore──●──x
    worker 3                          └─restore──●
    the judge  ────────────────────────────────────   one pass over all records up to the group's offset
```
"""

import contextlib
import json
from collections import defaultdict
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from consumer.kafka.errors import TransactionAborted, TransactionLost
from consumer.settings.model import CommitSettings
from consumer.state.keys import CHECKPOINT, JOURNAL
from consumer.worker import restoring
from consumer.worker.clock_wait import HELD_MOST
from tests.intake.payloads import join, leave
from tests.reference.events_counting import Event, Reference, Rules
from tests.support.fakes import Step
from tests.worker.rig import WINDOWS, Rig

PARTITIONS = 2
MARKER = Event("", "marker", 0)
"""Stands where a transaction of a producer ended."""
STREAM_IDLE_MS = 6_000
MAX_FUTURE_MS = 3_600_000
AHEAD_MS = (0, 0, 0, 300, 2_000)
"""Of their records."""
NO_KAFKA_TIMESTAMP = -1
RULES = Rules(WINDOWS.window_duration_ms, WINDOWS.bucket_ms, WINDOWS.grace_ms, STREAM_IDLE_MS)
PLACES = st.integers(0, PARTITIONS - 1)
STEPS: st.SearchStrategy[Step] = st.sampled_from(["produce", "commit"])

Row = tuple[str, int, int, int, int, int, str]


class WorkerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        # A checkpoint every second, so that some restores have much to replay and others nothing.
        commit = CommitSettings(checkpoint_interval_ms=1_000)
        self.rig = Rig(PARTITIONS, commit=commit, max_future_ms=MAX_FUTURE_MS, stream_idle_ms=STREAM_IDLE_MS).start()
        self.newest_ms = [0] * PARTITIONS
        self.events: list[list[Event | None]] = [[] for _ in range(PARTITIONS)]
        self.limits = contextlib.ExitStack()

    @initialize(piece=st.sampled_from([1, 2, restoring.CLOSED_AT_ONCE]), held=st.sampled_from([1, 3, HELD_MOST]))
    def set_limits(self, piece: int, held: int) -> None:
        """Jumps are cut into pieces of so many buckets; so many records are held for the clock."""
        self.limits.enter_context(patch.object(restoring, "CLOSED_AT_ONCE", piece))
        self.limits.enter_context(patch("consumer.worker.holding.HELD_MOST", held))
        self.rig.kill()

    @rule(
        partition=PLACES,
        steps=st.lists(
            st.tuples(
                st.sampled_from("abc"), st.sampled_from("JJLx"), st.integers(-1500, 2500), st.sampled_from(AHEAD_MS)
            ),
            max_size=8,
        ),
    )
    def write(self, partition: int, steps: list[tuple[str, str, int, int]]) -> None:
        """An x is a record that is no event; events may be ahead of their records."""
        events = self.events[partition]
        for stream_id, kind, step_ms, ahead_ms in steps:
            if kind == "x":
                events.append(None)
                self.rig.write_raw(b"no event", partition, self.newest_ms[partition])
                continue
            taken_ms = self.newest_ms[partition] + step_ms
            payload = (join if kind == "J" else leave)(stream_id, "v", taken_ms + ahead_ms)
            if taken_ms == NO_KAFKA_TIMESTAMP:
                continue
            events.append(Event(stream_id, kind, taken_ms))
            self.newest_ms[partition] = taken_ms
            self.rig.write(payload, partition, timestamp_ms=taken_ms)

    @rule(wrong_by_s=st.sampled_from([0.0, -86_400.0, 86_400.0]))
    def set_the_clock(self, wrong_by_s: float) -> None:
        """A day behind, all records are ahead of it."""
        self.rig.clock.wrong_by_s = wrong_by_s

    @rule(partition=PLACES, number=st.integers(1, 2))
    def end_a_transaction(self, partition: int, number: int) -> None:
        """Its markers take offsets."""
        for _ in range(number):
            self.events[partition].append(MARKER)
            self.rig.cluster.write_marker(partition)

    @rule(seconds=st.sampled_from([0.0, 0.06, 0.2, 1.1]), times=st.integers(1, 3))
    def turn(self, seconds: float, times: int) -> None:
        self.rig.turn(seconds, times)

    @rule(step=STEPS)
    def abort(self, step: Step) -> None:
        self.rig.transactions.fail(step, TransactionAborted("_TIMED_OUT", "in a test"))

    @rule(step=STEPS, published=st.booleans())
    def lose_the_transaction(self, step: Step, published: bool) -> None:
        error = TransactionLost("_FENCED", "in a test")
        self.rig.transactions.fail(step, error, published=published and step == "commit")

    @rule(partition=PLACES, lost=st.booleans(), turns=st.integers(0, 2))
    def move(self, partition: int, lost: bool, turns: int) -> None:
        """Away, and back after some turns."""
        (self.rig.input.lose if lost else self.rig.input.revoke)(partition)
        self.rig.turn(0.06, turns)
        self.rig.input.assign(partition)

    @rule()
    def kill(self) -> None:
        self.rig.kill()

    @rule()
    def stop_and_start(self) -> None:
        self.rig.worker.stop()
        self.rig.kill()

    @invariant()
    def what_is_published_is_what_the_judge_counts(self) -> None:
        got: dict[int, list[Row]] = defaultdict(list)
        for each in self.rig.summaries():
            row = each["stream_id"], each["bucket_start_ms"], each["joins"], each["leaves"]
            got[each["partition"]].append((*row, each["peak_concurrent_viewers"], each["offset"], each["close_reason"]))
        for partition, events in enumerate(self.events):
            expected = judged(events[: self.rig.cluster.committed.get(partition, 0)])
            for stream_id in "abc":
                mine = [row for row in got[partition] if row[0] == stream_id]
                wanted = [row for row in expected if row[0] == stream_id]
                assert mine == wanted[: len(mine)]
                # Of a jump that is cut the offset is committed with the first piece.
                assert len(mine) == len(wanted) or self._jumps(partition)

    def _jumps(self, partition: int) -> bool:
        newest = next(each.value or b"" for each in reversed(self.rig.states(partition)) if each.key == CHECKPOINT)
        return json.loads(newest)["jump"] is not None

    @invariant()
    def every_record_that_is_no_event_is_one_dead_letter(self) -> None:
        committed = self.rig.cluster.committed
        bad = [event for partition, events in enumerate(self.events) for event in events[: committed.get(partition, 0)]]
        assert len(self.rig.dead_letters()) == bad.count(None)

    @invariant()
    def the_newest_journal_stands_where_the_group_does(self) -> None:
        for partition, committed in self.rig.cluster.committed.items():
            newest = {
                each.key: json.loads(each.value or b"") for each in self.rig.states(partition) if each.key in KEYS
            }
            assert newest[JOURNAL]["next_offset"] == committed
            assert newest[JOURNAL]["checkpoint"] == newest[CHECKPOINT]["number"]

    def teardown(self) -> None:
        self.rig.clock.wrong_by_s = 0.0
        self.rig.kill()
        self.rig.turn(0.2, 60)
        assert not any(self._jumps(partition) for partition in self.rig.cluster.committed)
        assert self.rig.cluster.committed == {number: len(events) for number, events in enumerate(self.events)}
        self.rig.worker.stop()
        self.what_is_published_is_what_the_judge_counts()
        self.limits.close()


KEYS = {JOURNAL, CHECKPOINT}


def judged(events: list[Event | None]) -> list[Row]:
    reference = Reference(RULES)
    for offset, event in enumerate(events):
        if event is not None and event is not MARKER:
            reference.apply(event, offset)
    return [
        (
            each.stream_id,
            each.bucket.start_ms,
            each.bucket.joins,
            each.bucket.leaves,
            each.bucket.peak,
            each.offset or 0,
            each.reason,
        )
        for each in reference.closed
    ]


TestWorker = WorkerMachine.TestCase
TestWorker.settings = settings(max_examples=60, stateful_step_count=30)
