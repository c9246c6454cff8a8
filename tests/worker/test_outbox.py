"""The outbox alone: records are added, sent, sent again and committed; order is kept and nothing is lost."""

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from consumer.output.dead_letter import Rejected
from consumer.output.outbox import Outbox
from consumer.runtime.record_columns import record_columns
from consumer.windows.closing import CLOSE_REASONS, STREAM_IDLE, WATERMARK
from consumer.windows.layout import CLOSED
from consumer.windows.partition import ClosedBuckets


def closed(numbers: range) -> ClosedBuckets:
    rows = np.zeros(len(numbers), CLOSED)
    rows["offset"] = numbers
    rows["reason"] = [STREAM_IDLE if number % 3 == 0 else WATERMARK for number in numbers]
    return ClosedBuckets([b"%d" % number for number in numbers], rows)


def rejected(numbers: range) -> Rejected:
    return Rejected(record_columns([(b"%d" % number, None, ()) for number in numbers]))


class OutboxMachine(RuleBasedStateMachine):
    """Numbers stand for summaries, other numbers for dead letters; the model is four lists."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox()
        self.waiting: list[int] = []
        self.sent: list[int] = []
        self.dead_letters_waiting: list[int] = []
        self.dead_letters_sent: list[int] = []
        self.next = 0

    @rule(count=st.integers(1, 5))
    def add_closed(self, count: int) -> None:
        numbers = range(self.next, self.next + count)
        self.next += count
        self.outbox.add_closed(closed(numbers), np.array(numbers, np.int64) * 10)
        self.waiting += numbers

    @rule(count=st.integers(1, 5))
    def add_rejected(self, count: int) -> None:
        numbers = range(self.next, self.next + count)
        self.next += count
        self.outbox.add_rejected(rejected(numbers))
        self.dead_letters_waiting += numbers

    @rule(most=st.integers(1, 4))
    def pop_closed(self, most: int) -> None:
        taken = self.outbox.pop_closed(most)
        if not self.waiting:
            assert taken is None
            return
        assert taken is not None
        assert 1 <= len(taken) <= most
        numbers = [int(each) for each in taken.stream_ids]
        assert numbers == self.waiting[: len(numbers)] == taken.rows["offset"].tolist()
        self.waiting, self.sent = self.waiting[len(numbers) :], self.sent + numbers

    @rule()
    def pop_dead_letters(self) -> None:
        taken = self.outbox.pop_dead_letters(1_000_000)
        assert (taken is None) == (not self.dead_letters_waiting)
        letters = (letter for columns in taken or () for letter in columns.records())
        assert [int(key or b"") for key, _, _ in letters] == self.dead_letters_waiting
        self.dead_letters_waiting, self.dead_letters_sent = [], self.dead_letters_sent + self.dead_letters_waiting

    @rule()
    def send_again(self) -> None:
        self.outbox.send_again()
        self.waiting, self.sent = self.sent + self.waiting, []
        self.dead_letters_waiting, self.dead_letters_sent = self.dead_letters_sent + self.dead_letters_waiting, []

    @rule()
    @precondition(lambda self: not self.waiting and not self.dead_letters_waiting)
    def mark_committed(self) -> None:
        published = self.outbox.mark_committed()
        assert published.closed_at_ms.tolist() == [number * 10 for number in self.sent]
        idle = sum(number % 3 == 0 for number in self.sent)
        counts = {CLOSE_REASONS[STREAM_IDLE]: idle, CLOSE_REASONS[WATERMARK]: len(self.sent) - idle}
        assert published.by_close_reason == {reason: count for reason, count in counts.items() if count}
        assert self.outbox.empty
        self.sent, self.dead_letters_sent = [], []

    @rule()
    @precondition(lambda self: self.waiting or self.dead_letters_waiting)
    def mark_committed_too_early(self) -> None:
        with pytest.raises(ValueError, match="not in the transaction"):
            self.outbox.mark_committed()

    @invariant()
    def has_the_unsent_records(self) -> None:
        assert self.outbox.unsent == len(self.waiting) + len(self.dead_letters_waiting)
        held = self.waiting or self.sent or self.dead_letters_waiting or self.dead_letters_sent
        assert self.outbox.empty == (not held)


TestOutbox = OutboxMachine.TestCase
TestOutbox.settings = settings(max_examples=60, stateful_step_count=30)
