"""Go through chosen dead letters in batches: refuse some, foretell what becomes of the others, and send them.

The worker writes dead letters to partitions by their keys, so records of one input partition lie in several. They come
here in the order of their times; those of one batch are put into the order of their offsets in the input, and a batch
ends between two times. So records of a partition are sent in the order in which they were rejected.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from consumer.errors import ViewerConsumerError
from consumer.intake.rejects import Reject
from consumer.kafka.protocols import RecordSender
from consumer.kafka.record import OutgoingRecord
from consumer.output.dead_letter import OFFSET, PARTITION
from consumer.output.dead_letter_reader import UNKNOWN, DeadLetterRecord
from consumer.retry.records import Refusal, Target, retried_record

BATCH_RECORDS = 1_000
"""So many records are sent, and then acknowledged, before the next ones are."""
BATCH_BYTES = 4 * 2**20
_MOST_BATCHES = 10
"""A batch with dead letters of one time may be so many times as large."""

_REASONS = frozenset(reject.label for reject in Reject)
_MAX_DIGITS = 19
_MAX_PARTITION_DIGITS = 6

Outcomes = Callable[[int, Sequence[OutgoingRecord]], Sequence[str]]
"""What will become of records of a partition: empty, or why they will not count; see `Preview.outcomes`."""


class Kind(NamedTuple):
    """Dead letters that are counted together."""

    reason: str
    partition: str
    """Of the input."""


@dataclass
class Report:
    """What became of dead letters; of a dry run, what would."""

    sent: Counter[Kind] = field(default_factory=Counter)
    refused: Counter[Kind] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    """The refused ones by sentences for people."""
    next_ms: int | None = None
    """All dead letters that were written before that time are done; None before the first batch."""
    twice: int = 0
    """Those from `next_ms` on that were sent all the same."""
    error: str = ""
    """Why not all were sent, for people."""
    is_whole: bool = True
    """False if it was stopped, or ended by an error."""

    @property
    def chosen(self) -> int:
        """The number of all."""
        return self.sent.total() + self.refused.total()

    def refuse(self, dead_letter: DeadLetterRecord, why: str) -> None:
        """Count one that is not sent."""
        self.refused[_kind(dead_letter)] += 1
        self.refusals[why] += 1

    def send(self, dead_letter: DeadLetterRecord) -> None:
        """Count one that was sent."""
        self.sent[_kind(dead_letter)] += 1

    def pass_time(self, sent: Iterable[DeadLetterRecord], next_ms: int) -> None:
        """All before that time are done, and these were sent since the last call."""
        before = self.twice if self.next_ms == next_ms else 0
        self.twice = before + sum(each.timestamp_ms >= next_ms for each in sent)
        self.next_ms = next_ms


def retry(
    dead_letters: Iterable[DeadLetterRecord],
    target: Target,
    outcomes: Outcomes | None,
    sender: RecordSender | None,
    goes_on: Callable[[Report], bool] = lambda _report: True,
) -> Report:
    """Send dead letters again; in a dry run only say what would be sent.

    An error ends it, and is in the report.

    Args:
        dead_letters: those that were chosen, in the order of their times.
        target: where they are sent, and how.
        outcomes: foretells what becomes of records, so that those that would not count are refused; None to send all.
        sender: writes the records; None for a dry run.
        goes_on: called before each batch with the report so far; False stops it.
    """
    report = Report()
    try:
        for batch in _batches(dead_letters):
            if not goes_on(report):
                report.pass_time((), batch[0].timestamp_ms)
                report.is_whole = False
                break
            _retry_batch(batch, target, outcomes, sender, report)
            if not report.is_whole:
                break
    except ViewerConsumerError as error:
        report.error, report.is_whole = str(error), False
    return report


def _retry_batch(
    batch: Sequence[DeadLetterRecord],
    target: Target,
    outcomes: Outcomes | None,
    sender: RecordSender | None,
    report: Report,
) -> None:
    batch = sorted(batch, key=_place_in_input)
    records = [retried_record(dead_letter, target) for dead_letter in batch]
    answers = _answers(records, outcomes)
    rows = []
    for row, (record, answer) in enumerate(zip(records, answers, strict=True)):
        if isinstance(record, Refusal) or answer:
            report.refuse(batch[row], answer)
        else:
            rows.append(row)
    chosen = [batch[row] for row in rows]
    outgoing = [record for row in rows if isinstance(record := records[row], OutgoingRecord)]
    written, error = ([True] * len(rows), "") if sender is None else sender.send(outgoing)
    sent = [dead_letter for dead_letter, is_written in zip(chosen, written, strict=True) if is_written]
    for dead_letter in sent:
        report.send(dead_letter)
    if error:
        report.error, report.is_whole = error, False
    unsent = [each.timestamp_ms for each, is_written in zip(chosen, written, strict=True) if not is_written]
    report.pass_time(sent, min(unsent) if unsent else max(each.timestamp_ms for each in batch) + 1)


def _answers(records: Sequence[OutgoingRecord | Refusal], outcomes: Outcomes | None) -> list[str]:
    """Why each is not sent; empty if it is."""
    answers = [str(record) if isinstance(record, Refusal) else "" for record in records]
    if outcomes is None:
        return answers
    by_partition: dict[int, list[int]] = {}
    for row, record in enumerate(records):
        if isinstance(record, OutgoingRecord):
            by_partition.setdefault(record.partition, []).append(row)
    for partition, rows in by_partition.items():
        theirs = [record for row in rows if isinstance(record := records[row], OutgoingRecord)]
        for row, outcome in zip(rows, outcomes(partition, theirs), strict=True):
            answers[row] = outcome
    return answers


def _batches(dead_letters: Iterable[DeadLetterRecord]) -> Iterator[list[DeadLetterRecord]]:
    """Batches that end where the time changes, unless they would grow too large."""
    batch: list[DeadLetterRecord] = []
    held = 0
    for dead_letter in dead_letters:
        full = max(len(batch) / BATCH_RECORDS, held / BATCH_BYTES)
        if full >= _MOST_BATCHES or (full >= 1 and dead_letter.timestamp_ms != batch[-1].timestamp_ms):
            yield batch
            batch, held = [], 0
        batch.append(dead_letter)
        held += len(dead_letter.value or b"")
    if batch:
        yield batch


def _place_in_input(dead_letter: DeadLetterRecord) -> tuple[int, int]:
    """Partition and offset; of what no worker wrote, anything."""
    partition, offset = dead_letter.header(PARTITION), dead_letter.header(OFFSET)
    return (int(partition), int(offset)) if _is_number(partition) and _is_number(offset) else (-1, -1)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS


def _kind(dead_letter: DeadLetterRecord) -> Kind:
    """Its kind; other programs may have written anything, of which no more than this is kept."""
    reason, partition = dead_letter.reason, dead_letter.header(PARTITION)
    is_possible = _is_number(partition) and len(partition) <= _MAX_PARTITION_DIGITS
    return Kind(reason if reason in _REASONS else UNKNOWN, partition if is_possible else "?")
