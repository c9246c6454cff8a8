"""Any sequence of events, turns, faults and rebalances publishes what the judge counts between two losses of memory.

```
    offsets   0 ──────────── 40 ─────────── 65 ───── 90
    memory    └─ counted ────┴─ counted ────┴─ counted ┘      each cut is where the group's offset stood
```
"""

from collections import defaultdict
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from consumer.kafka.outcomes import TransactionAborted, TransactionLost
from tests.intake.payloads import join, leave
from tests.reference.events_counting import Event, Reference, Rules
from tests.support.fakes import Step
from tests.worker.rig import WINDOWS, Rig

PARTITIONS = 2
RULES = Rules(WINDOWS.window_duration_ms, WINDOWS.bucket_ms, WINDOWS.grace_ms, WINDOWS.stream_idle_ms)
PLACES = st.integers(0, PARTITIONS - 1)
STEPS: st.SearchStrategy[Step] = st.sampled_from(["produce", "commit"])

Row = tuple[str, int, int, int, int, int]


class WorkerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig(PARTITIONS).start()
        self.events: list[list[Event]] = [[] for _ in range(PARTITIONS)]

    @rule(
        partition=PLACES,
        steps=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("JJL"), st.integers(-1500, 2500)), max_size=8),
    )
    def write(self, partition: int, steps: list[tuple[str, str, int]]) -> None:
        events = self.events[partition]
        for stream_id, kind, step_ms in steps:
            event = Event(stream_id, kind, (events[-1].timestamp_ms if events else 0) + step_ms)
            events.append(event)
            self.rig.write((join if kind == "J" else leave)(stream_id, "v", event.timestamp_ms), partition)

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

    @invariant()
    def what_is_published_is_what_the_judge_counts(self) -> None:
        got: dict[int, list[Row]] = defaultdict(list)
        for each in self.rig.summaries():
            row = each["stream_id"], each["bucket_start_ms"], each["joins"], each["leaves"]
            got[each["partition"]].append((*row, each["peak_concurrent_viewers"], each["offset"]))
        for partition, events in enumerate(self.events):
            cuts = [offset for number, offset in self.rig.input.begun if number == partition]
            edges = [*cuts, self.rig.cluster.committed.get(partition, 0)]
            expected = [row for begin, end in pairwise(edges) for row in judged(events, begin, end)]
            assert edges == sorted(edges)
            for stream_id in "ab":
                mine = [row for row in got[partition] if row[0] == stream_id]
                assert mine == [row for row in expected if row[0] == stream_id]

    def teardown(self) -> None:
        self.rig.worker.stop()
        self.what_is_published_is_what_the_judge_counts()


def judged(events: list[Event], begin: int, end: int) -> list[Row]:
    reference = Reference(RULES)
    for offset in range(begin, end):
        reference.apply(events[offset], offset)
    return [
        (
            each.stream_id,
            each.bucket.start_ms,
            each.bucket.joins,
            each.bucket.leaves,
            each.bucket.peak,
            each.offset or 0,
        )
        for each in reference.closed
    ]


TestWorker = WorkerMachine.TestCase
TestWorker.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
