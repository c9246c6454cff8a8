"""The judge: what must have been published, by the plain-Python reference, against what was.

Nothing here knows of workers or faults. A `Verdict` counts what is not as it must be; all zero is what is promised.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from confluent_kafka import Message

from tests.chaos.counting import Expect, Summary
from tests.chaos.producer import REASON

KINDS = (
    "lost",
    "duplicated",
    "wrong",
    "disordered",
    "unstable",
    "letters lost",
    "letters duplicated",
    "letters wrong",
    "offsets behind",
)
EXAMPLES_OF_A_KIND = 5


class DeadLetterRecord(NamedTuple):
    """A dead letter, by what it is of."""

    partition: int
    offset: int
    reason: str


@dataclass
class Verdict:
    """How many are not as they must be, by kind, with a few examples."""

    expected: int = 0
    """Summaries that had to be published."""
    letters: int = 0
    """Dead letters that had to be."""
    counts: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """All is as it must be, and there was something to judge."""
        return self.expected > 0 and not self.counts.total()

    def note(self, kind: str, what: str) -> None:
        """One more of a kind."""
        self.counts[kind] += 1
        if self.counts[kind] <= EXAMPLES_OF_A_KIND:
            self.examples.append(f"{kind}: {what}")

    def __str__(self) -> str:
        counts = ", ".join(f"{self.counts[kind]} {kind}" for kind in KINDS)
        return f"{self.expected} summaries and {self.letters} dead letters expected: {counts}"


def must_be_published(records: Mapping[int, Iterable[Message]], topic: str, expect: Expect) -> Iterator[Summary]:
    """The summaries of an input, each partition's records in the order of their offsets."""
    for partition, ours in records.items():
        yield from expect((record for record in ours if _reason_of(record) is None), topic, partition)


def must_be_set_aside(records: Mapping[int, Iterable[Message]]) -> Iterator[DeadLetterRecord]:
    """The dead letters of an input."""
    for partition, ours in records.items():
        for record in ours:
            reason = _reason_of(record)
            if reason is not None:
                yield DeadLetterRecord(partition, record.offset() or 0, reason)


def _reason_of(record: Message) -> str | None:
    headers: Any = record.headers() or ()
    return next((value.decode() for name, value in headers if name == REASON), None)


def letter_of(record: Message) -> DeadLetterRecord:
    """What a record of the dead-letter topic says that it is of."""
    headers: Any = dict(record.headers() or ())
    return DeadLetterRecord(
        int(headers["__streams.errors.partition"]),
        int(headers["__streams.errors.offset"]),
        headers["__streams.errors.exception"].decode(),
    )


def judge_summaries(verdict: Verdict, expected: Iterable[Summary], got: Iterable[Summary]) -> None:
    """Each expected one must be there once, with every figure, and each stream's in the order of buckets.

    Args:
        verdict: is added to.
        expected: in any order.
        got: each stream's in the order in which they were published.
    """
    wanted = {_place(each): each for each in expected}
    verdict.expected += len(wanted)
    times: Counter[tuple[int, str, int]] = Counter()
    newest: dict[tuple[int, str], int] = {}
    for summary in got:
        place = _place(summary)
        partition, stream_id, start_ms = place
        times[place] += 1
        if times[place] > 1:
            verdict.note("duplicated", f"{place}, for the {times[place]}th time")
        if summary != wanted.get(place):
            verdict.note("wrong", f"{place}: {_difference(summary, wanted.get(place))}")
        if start_ms < newest.get((partition, stream_id), start_ms):
            verdict.note("disordered", f"{place} behind {newest[partition, stream_id]}")
        newest[partition, stream_id] = start_ms
    for place in wanted.keys() - times.keys():
        verdict.note("lost", f"{place}, closed at offset {wanted[place]['offset']}")


def judge_letters(verdict: Verdict, expected: Iterable[DeadLetterRecord], got: Iterable[DeadLetterRecord]) -> None:
    """Each rejected record must have one dead letter, for the right reason."""
    wanted = set(expected)
    verdict.letters += len(wanted)
    times = Counter(got)
    for letter, number in times.items():
        if letter not in wanted:
            verdict.note("letters wrong", str(letter))
        elif number > 1:
            verdict.note("letters duplicated", f"{letter}, {number} times")
    for letter in wanted - times.keys():
        verdict.note("letters lost", str(letter))


def judge_offsets(verdict: Verdict, ends: Mapping[int, int], committed: Mapping[int, int]) -> None:
    """The group's offsets must be where the input ends."""
    for partition, end in ends.items():
        if committed.get(partition, 0) != end:
            verdict.note("offsets behind", f"partition {partition}: {committed.get(partition)}, not {end}")


def _place(summary: Summary) -> tuple[int, str, int]:
    return summary["partition"], summary["stream_id"], summary["bucket_start_ms"]


def _difference(got: Summary, wanted: Summary | None) -> str:
    if wanted is None:
        return f"no such summary was to be, closed at offset {got.get('offset')}"
    keys = got.keys() | wanted.keys()
    return ", ".join(
        f"{key} is {got.get(key)}, not {wanted.get(key)}" for key in sorted(keys) if got.get(key) != wanted.get(key)
    )
