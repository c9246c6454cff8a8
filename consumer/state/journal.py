"""The journal of a partition: what a replay from the checkpoint cannot derive from the records alone.

Every commit rewrites it, so the newest one holds everything since the checkpoint.
"""

import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from consumer.state.offset_ranges import OffsetRanges
from consumer.windows.storage.checksum import Checksum

VERSION = 2

READABLE_VERSIONS = frozenset({1, VERSION})
"""Version 1 does not count records."""

MAX_BYTES = 64 * 1024
"""Above this size the commit becomes a checkpoint."""


class StateError(Exception):
    """A record of the state topic cannot be used; the message says which and why."""


class Step(NamedTuple):
    """A clock step: partition time was advanced before the record at `offset`."""

    before_offset: int
    to_ms: int


@dataclass
class Journal:
    """The events since a checkpoint; empty right after one."""

    steps: list[Step] = field(default_factory=list)
    rejects: OffsetRanges = field(default_factory=OffsetRanges)
    first_offset: int | None = None
    """Of the first record; None if there is none."""
    records: int = 0
    """Number of records, rejected and ignored ones included."""

    def add_records(self, first_offset: int, records: int) -> None:
        """Count processed records; `first_offset` is that of the first of them."""
        if self.first_offset is None:
            self.first_offset = first_offset
        self.records += records

    def add_step(self, step: Step) -> None:
        """Add a clock step; two steps without a record between them are merged."""
        if self.steps and self.steps[-1].before_offset == step.before_offset:
            self.steps.pop()
        self.steps.append(step)

    def encoded(self, checkpoint: int, next_offset: int, published: Checksum) -> bytes:
        """The journal record's value.

        Args:
            checkpoint: number of the checkpoint it follows.
            next_offset: of the first record not processed yet.
            published: checksum of all summaries since the checkpoint, this commit included.
        """
        record = {
            "version": VERSION,
            "checkpoint": checkpoint,
            "next_offset": next_offset,
            "first_offset": self.first_offset,
            "records": self.records,
            "steps": self.steps,
            "summaries": published.count,
            "summaries_digest": f"{published.digest:016x}",
        }
        text = json.dumps(record, separators=(",", ":"))
        return f'{text[:-1]},"rejects":{self.rejects.packed()}}}'.encode()


class JournalRecord(NamedTuple):
    """A decoded journal."""

    checkpoint: int
    next_offset: int
    journal: Journal
    published: Checksum
    counts_records: bool = True
    """False for version 1, which has neither the number of records nor the offset of the first one."""

    def needed_from(self, checkpoint_offset: int) -> int:
        """The lowest offset that a replay from a checkpoint at `checkpoint_offset` reads; `next_offset` if none."""
        if not self.counts_records:
            return checkpoint_offset
        return self.next_offset if self.journal.first_offset is None else self.journal.first_offset


def decoded(value: bytes) -> JournalRecord:
    """Decode a journal record's value.

    Raises:
        StateError: not a journal.
    """
    record = _json_object("journal", value)
    try:
        return JournalRecord(
            checkpoint=int(record["checkpoint"]),
            next_offset=int(record["next_offset"]),
            journal=Journal(
                [Step(int(at), int(to)) for at, to in record["steps"]],
                OffsetRanges.unpacked(record["rejects"]),
                None if record.get("first_offset") is None else int(record["first_offset"]),
                int(record.get("records", 0)),
            ),
            published=Checksum(int(record["summaries"]), int(record["summaries_digest"], 16)),
            counts_records=record["version"] > 1,
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise StateError(f"the journal cannot be read: {type(error).__name__}: {error}") from None


def _json_object(what: str, value: bytes) -> dict[str, Any]:
    try:
        record = json.loads(value)
    except ValueError as error:
        raise StateError(f"the {what} is not JSON: {error}") from None
    if not isinstance(record, dict) or record.get("version") not in READABLE_VERSIONS:
        versions = ", ".join(map(str, sorted(READABLE_VERSIONS)))
        raise StateError(f"the {what} has a version that this release does not read; it reads {versions}")
    return record
