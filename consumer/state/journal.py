"""The journal of a partition: what a replay from the checkpoint cannot derive from the records alone.

Every commit rewrites it, so the newest one holds everything since the checkpoint.
"""

import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from consumer.state.offset_ranges import OffsetRanges
from consumer.windows.storage.checksum import Checksum

VERSION = 1

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
                [Step(int(at), int(to)) for at, to in record["steps"]], OffsetRanges.unpacked(record["rejects"])
            ),
            published=Checksum(int(record["summaries"]), int(record["summaries_digest"], 16)),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise StateError(f"the journal cannot be read: {type(error).__name__}: {error}") from None


def _json_object(what: str, value: bytes) -> dict[str, Any]:
    try:
        record = json.loads(value)
    except ValueError as error:
        raise StateError(f"the {what} is not JSON: {error}") from None
    if not isinstance(record, dict) or record.get("version") != VERSION:
        raise StateError(f"the {what} is of no version that this release reads (it reads {VERSION})")
    return record
