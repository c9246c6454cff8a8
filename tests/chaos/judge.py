"""The judge: what must have been published, by the plain-Python reference, against what was.

Nothing here knows of workers. Of faults it knows what they did to the topics on purpose (`Interventions`). A `Verdict`
counts what is not as it must be; all zero is what is promised.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
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
    "dead letters lost",
    "dead letters duplicated",
    "dead letters wrong",
    "offsets behind",
    "partitions stopped",
)
EXAMPLES_OF_A_KIND = 5


class DeadLetterRecord(NamedTuple):
    """A dead letter, by what it is of."""

    partition: int
    offset: int
    reason: str


class Stop(NamedTuple):
    """A partition that a worker has stopped, and the reason that it gave."""

    partition: int
    reason: str


@dataclass
class Interventions:
    """What faults did on purpose to what is stored; several threads add to it."""

    deleted: dict[int, dict[int, Message]] = field(default_factory=lambda: defaultdict(dict))
    """Records that were counted and then deleted from the input, by partition and offset."""
    resets: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Offsets at which a partition continued with empty windows."""
    stops: list[Stop] = field(default_factory=list)
    """Stops that had to come; of the reason, a part."""

    def with_deleted(self, records: Mapping[int, Iterable[Message]]) -> dict[int, list[Message]]:
        """All records that ever were in the input, given those that are there."""
        complete = {}
        for partition, ours in records.items():
            by_offset = self.deleted.get(partition, {}) | {record.offset() or 0: record for record in ours}
            complete[partition] = [by_offset[offset] for offset in sorted(by_offset)]
        return complete

    def run_of(self, partition: int, offset: int) -> int:
        """How many resets of the partition came before the record at that offset."""
        return bisect_right(self.resets.get(partition, []), offset)


NONE = Interventions()


@dataclass
class Verdict:
    """How many are not as they must be, by kind, with a few examples."""

    expected: int = 0
    """Summaries that had to be published."""
    dead_letters: int = 0
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
        return f"{self.expected} summaries and {self.dead_letters} dead letters expected: {counts}"


def must_be_published(
    records: Mapping[int, Iterable[Message]], topic: str, expect: Expect, interventions: Interventions = NONE
) -> Iterator[Summary]:
    """The summaries of an input, each partition's records in the order of their offsets.

    A reset drops open buckets, and counting begins anew at its offset.
    """
    for partition, ours in records.items():
        valid = (record for record in ours if _reason_of(record) is None)
        for _, run in groupby(valid, lambda each, number=partition: interventions.run_of(number, each.offset() or 0)):  # type: ignore[misc]  # a default binds it now
            yield from expect(run, topic, partition)


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


def dead_letter_of(record: Message) -> DeadLetterRecord:
    """What a record of the dead-letter topic says that it is of."""
    headers: Any = dict(record.headers() or ())
    return DeadLetterRecord(
        int(headers["__streams.errors.partition"]),
        int(headers["__streams.errors.offset"]),
        headers["__streams.errors.exception"].decode(),
    )


class Published(NamedTuple):
    """A summary as downstream read it."""

    output_partition: int
    summary: Summary


def judge_summaries(
    verdict: Verdict, expected: Iterable[Summary], got: Iterable[Published], interventions: Interventions = NONE
) -> None:
    """Each expected one must be there once, with every figure, and each stream's in the order of buckets.

    Args:
        verdict: is added to.
        expected: in any order.
        got: those of one output partition in the order in which they were published. Where the output has grown, a
            stream has moved to another partition of it, and the two have no order.
        interventions: a partition that was reset may publish a bucket once more.
    """
    wanted = {_place(each, interventions): each for each in expected}
    verdict.expected += len(wanted)
    times: Counter[Place] = Counter()
    newest: dict[tuple[int, Place], int] = {}
    for output_partition, summary in got:
        place = _place(summary, interventions)
        times[place] += 1
        if times[place] > 1:
            verdict.note("duplicated", f"{place}, for the {times[place]}th time")
        if summary != wanted.get(place):
            verdict.note("wrong", f"{place}: {_difference(summary, wanted.get(place))}")
        stream = output_partition, place._replace(bucket_start_ms=0)
        if place.bucket_start_ms < newest.get(stream, place.bucket_start_ms):
            verdict.note("disordered", f"{place} behind {newest[stream]}")
        newest[stream] = place.bucket_start_ms
    for place in wanted.keys() - times.keys():
        verdict.note("lost", f"{place}, closed at offset {wanted[place]['offset']}")


def judge_dead_letters(verdict: Verdict, expected: Iterable[DeadLetterRecord], got: Iterable[DeadLetterRecord]) -> None:
    """Each rejected record must have one dead letter, for the right reason."""
    wanted = set(expected)
    verdict.dead_letters += len(wanted)
    times = Counter(got)
    for dead_letter, number in times.items():
        if dead_letter not in wanted:
            verdict.note("dead letters wrong", str(dead_letter))
        elif number > 1:
            verdict.note("dead letters duplicated", f"{dead_letter}, {number} times")
    for dead_letter in wanted - times.keys():
        verdict.note("dead letters lost", str(dead_letter))


def judge_offsets(verdict: Verdict, ends: Mapping[int, int], committed: Mapping[int, int]) -> None:
    """The group's offsets must be where the input ends."""
    for partition, end in ends.items():
        if committed.get(partition, 0) != end:
            verdict.note("offsets behind", f"partition {partition}: {committed.get(partition)}, not {end}")


def judge_stops(verdict: Verdict, stops: Iterable[Stop], interventions: Interventions) -> None:
    """A partition may stop only where a fault means it to, and for the reason that is meant."""
    for partition, reason in stops:
        if not any(meant.partition == partition and meant.reason in reason for meant in interventions.stops):
            verdict.note("partitions stopped", reason)


class Place(NamedTuple):
    """What a summary is of; there may be one of each."""

    partition: int
    run: int
    """The number of resets before."""
    stream_id: str
    bucket_start_ms: int


def _place(summary: Summary, interventions: Interventions) -> Place:
    partition = summary["partition"]
    run = interventions.run_of(partition, summary["offset"])
    return Place(partition, run, summary["stream_id"], summary["bucket_start_ms"])


def _difference(got: Summary, wanted: Summary | None) -> str:
    if wanted is None:
        return f"no such summary was to be, closed at offset {got.get('offset')}"
    keys = got.keys() | wanted.keys()
    return ", ".join(
        f"{key} is {got.get(key)}, not {wanted.get(key)}" for key in sorted(keys) if got.get(key) != wanted.get(key)
    )
