"""A run over dead letters: what is sent in which order, what is counted, and where it can go on after a failure."""

from collections.abc import Sequence

import pytest

from consumer.errors import ViewerConsumerError
from consumer.kafka.protocols import Sent
from consumer.kafka.record import OutgoingRecord
from consumer.output.dead_letter_reader import UNKNOWN, DeadLetterRecord
from consumer.retry import run
from consumer.retry.records import Refusal, Target
from consumer.retry.run import Kind, Report, retry
from tests.retry.letters import DEAD_LETTERS, GROUP, INPUT, dead_letter

TARGET = Target(DEAD_LETTERS, INPUT, partitions=4, group=GROUP)
KIND = Kind("truncated", "2")


class FakeSender:
    """Keeps what is sent; fails at one record."""

    def __init__(self, fails_at: bytes | None = None) -> None:
        self.batches: list[list[OutgoingRecord]] = []
        self._fails_at = fails_at

    def send(self, records: Sequence[OutgoingRecord]) -> Sent:
        self.batches.append(list(records))
        written = [record.value != self._fails_at for record in records]
        return Sent(written, "" if all(written) else "it is refused")

    @property
    def values(self) -> list[bytes | None]:
        return [record.value for batch in self.batches for record in batch]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "BATCH_RECORDS", 2)


def letters(*placed: tuple[int, int]) -> list[DeadLetterRecord]:
    """Return dead letters, each with its time and its offset in the input, which is its value."""
    return [dead_letter(offset, at_ms=at_ms, value=b"%d" % offset) for at_ms, offset in placed]


def test_a_dry_run_counts_what_would_be_sent() -> None:
    found = [dead_letter(), dead_letter(exception="future", partition="1"), dead_letter(topic="others")]
    report = retry(found, TARGET, None, None)
    assert report.sent == {KIND: 1, Kind("future", "1"): 1}
    assert report.refused == {KIND: 1}
    assert report.refusals == {Refusal.OTHER_TOPIC: 1}
    assert (report.chosen, report.is_whole, report.error) == (3, True, "")


def test_records_that_will_not_count_are_refused_and_the_others_sent() -> None:
    sender, asked = FakeSender(), []

    def outcomes(partition: int, records: Sequence[OutgoingRecord]) -> list[str]:
        asked.append((partition, [record.value for record in records]))
        return ["closed" if record.value == b"2" else "" for record in records]

    report = retry(letters((1, 1), (1, 2), (1, 3)), TARGET, outcomes, sender)
    assert asked == [(2, [b"1", b"2", b"3"])]
    assert sender.values == [b"1", b"3"]
    assert (report.sent, report.refused, report.refusals) == ({KIND: 2}, {KIND: 1}, {"closed": 1})


def test_records_are_sent_in_the_order_of_the_input_where_dead_letters_have_the_same_time() -> None:
    sender = FakeSender()
    retry(letters((1, 5), (1, 7), (1, 6), (2, 9), (2, 8)), TARGET, None, sender)
    assert sender.values == [b"5", b"6", b"7", b"8", b"9"]


@pytest.mark.usefixtures("small_batches")
def test_a_batch_ends_between_two_times() -> None:
    sender = FakeSender()
    retry(letters((1, 1), (2, 2), (2, 3), (2, 4), (3, 5), (3, 6), (4, 7)), TARGET, None, sender)
    assert [[record.value for record in batch] for batch in sender.batches] == [
        [b"1", b"2", b"3", b"4"],
        [b"5", b"6"],
        [b"7"],
    ]


@pytest.mark.usefixtures("small_batches")
def test_a_batch_of_one_time_is_bounded() -> None:
    sender = FakeSender()
    retry(letters(*((1, offset) for offset in range(45))), TARGET, None, sender)
    assert [len(batch) for batch in sender.batches] == [20, 20, 5]


@pytest.mark.usefixtures("small_batches")
def test_a_failure_ends_it_and_names_the_time_to_go_on_from() -> None:
    sender = FakeSender(fails_at=b"4")
    #                                         ▼ fails
    report = retry(letters((1, 1), (1, 2), (3, 4), (4, 5), (6, 7)), TARGET, None, sender)
    assert (report.error, report.is_whole) == ("it is refused", False)
    assert (report.sent, report.refused) == ({KIND: 3}, {})
    assert (report.next_ms, report.twice) == (3, 1)  # 5 is sent again
    assert sender.values == [b"1", b"2", b"4", b"5"]


@pytest.mark.usefixtures("small_batches")
def test_an_error_between_batches_leaves_the_count_of_those_before() -> None:
    sender = FakeSender()

    def outcomes(_partition: int, records: Sequence[OutgoingRecord]) -> list[str]:
        if records[0].value == b"3":
            raise ViewerConsumerError("the state is away")
        return ["" for _ in records]

    report = retry(letters((1, 1), (1, 2), (3, 3)), TARGET, outcomes, sender)
    assert (report.error, report.is_whole, report.sent) == ("the state is away", False, {KIND: 2})
    assert (report.next_ms, report.twice) == (2, 0)


@pytest.mark.usefixtures("small_batches")
def test_a_stop_is_between_two_batches() -> None:
    sender = FakeSender()

    def goes_on(report: Report) -> bool:
        return report.chosen < 2

    report = retry(letters((1, 1), (1, 2), (3, 3)), TARGET, None, sender, goes_on)
    assert (report.error, report.is_whole, report.sent) == ("", False, {KIND: 2})
    assert (report.next_ms, report.twice) == (3, 0)


@pytest.mark.usefixtures("small_batches")
def test_stopped_and_continued_from_its_time_each_record_is_sent_once() -> None:
    found = letters((1, 1), (2, 2), (2, 3), (2, 4), (3, 5), (3, 6), (4, 7))
    first, second = FakeSender(), FakeSender()
    report = retry(found, TARGET, None, first, lambda report: report.chosen < 4)
    assert report.next_ms is not None
    assert report.twice == 0
    retry([each for each in found if each.timestamp_ms >= report.next_ms], TARGET, None, second)
    assert first.values + second.values == [each.value for each in found]


def test_nothing_that_other_programs_wrote_is_kept() -> None:
    found = [dead_letter(exception=f"reason {i}", partition=f"partition {i}", topic="others") for i in range(100)]
    assert retry(found, TARGET, None, None).refused == {Kind(UNKNOWN, "?"): 100}
