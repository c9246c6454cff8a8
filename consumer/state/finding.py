"""A disagreement that only a replay shows, stored by the worker that met it, so that `state check` can report it."""

import json
from dataclasses import asdict, dataclass

from consumer.state.journal import StateError


@dataclass(frozen=True)
class Finding:
    """Stored beside the state it is about; it means nothing once checkpoint or journal have moved on."""

    checkpoint: int
    """Number of the checkpoint that was replayed from."""
    next_offset: int
    """The journal's offset, which is the group's."""
    what: str

    def encoded(self) -> bytes:
        """The record's value."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    def is_about(self, checkpoint: int, next_offset: int) -> bool:
        """Whether it was found in the state with this checkpoint and this journal."""
        return (self.checkpoint, self.next_offset) == (checkpoint, next_offset)


def decoded(value: bytes) -> Finding:
    """Decode a finding record's value.

    Raises:
        StateError: it is none.
    """
    try:
        record = json.loads(value)
        return Finding(int(record["checkpoint"]), int(record["next_offset"]), str(record["what"]))
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"the finding of a replay cannot be read: {type(error).__name__}: {error}") from None
