"""Check that the stored state of a partition agrees with Kafka and with this worker; each disagreement stops it."""

from collections.abc import Callable
from typing import NamedTuple

from consumer.kafka.protocols import Bounds
from consumer.state.checkpoint import Checkpoint, Identity
from consumer.state.journal import JournalRecord
from consumer.state.result_settings import FIXED, ResultSettings, changed_keys


class Advice(NamedTuple):
    """How to resolve a disagreement."""

    text: str
    command: str = ""
    """A command of ours that follows the text."""


class StateInconsistent(Exception):  # noqa: N818  # a finding: only this partition stops
    """The stored state of a partition contradicts itself, Kafka or this worker."""

    def __init__(self, partition: int, what: str, advice: Advice | None = None) -> None:
        super().__init__(f"partition {partition}: {what}")
        self.what = what
        self._partition = partition
        self._advice = advice

    def advice(self, command: Callable[[str], str]) -> str:
        """What resolves it; `command` makes the command line for this process's settings."""
        text, resolves = self._advice or _reset(self._partition)
        return f"{text}: {command(resolves)}" if resolves else text

    def message(self, command: Callable[[str], str]) -> str:
        """One line for people: what disagrees, how to look at it, what resolves it."""
        look = "" if self._advice else f"look at it with: {command('state check')}; "
        return f"{self}; {look}{self.advice(command)}"


def _reset(partition: int) -> Advice:
    return Advice("continue without its state with", f"state reset --partition {partition}")


def check_identity(partition: int, stored: Identity, ours: Identity) -> None:
    """Check that the state belongs to this cluster, topic and group.

    Raises:
        StateInconsistent: it does not.
    """
    if stored.group != ours.group:
        raise StateInconsistent(
            partition,
            f'its state is that of group "{stored.group}", and this worker is of group "{ours.group}"',
            Advice("give each group a kafka.state_topic of its own"),
        )
    if stored.cluster_id and ours.cluster_id and stored.cluster_id != ours.cluster_id:
        raise StateInconsistent(
            partition, f"its state is of cluster {stored.cluster_id}, and this is cluster {ours.cluster_id}"
        )
    if stored.topic_id and ours.topic_id and stored.topic_id != ours.topic_id:
        raise StateInconsistent(
            partition,
            f"the input topic was deleted and created again: its id is {ours.topic_id}, "
            f"and the state is of {stored.topic_id}",
        )


def check_offsets(partition: int, bounds: Bounds, checkpoint: Checkpoint, journal: JournalRecord) -> None:
    """Check log start ≤ first record since the checkpoint, and checkpoint ≤ committed = journal.

    If the group's offset has expired, the journal's is used.

    Raises:
        StateInconsistent: they don't.
    """
    committed = journal.next_offset if bounds.committed is None else bounds.committed
    if committed != journal.next_offset:
        raise StateInconsistent(
            partition, f"the group has committed offset {committed}, but its state goes to offset {journal.next_offset}"
        )
    if journal.checkpoint != checkpoint.number or checkpoint.next_offset > journal.next_offset:
        raise StateInconsistent(
            partition,
            f"its journal goes from checkpoint {journal.checkpoint} to {journal.next_offset}, but the checkpoint "
            f"is {checkpoint.number}, at offset {checkpoint.next_offset}",
        )
    is_cut = checkpoint.jump is not None or checkpoint.pending_settings is not None
    if is_cut and (journal.next_offset != checkpoint.next_offset or journal.journal.steps):
        raise StateInconsistent(partition, "its checkpoint holds a pending jump of time, but its journal goes on")
    needed_from = journal.needed_from(checkpoint.next_offset)
    if bounds.input_begin > journal.next_offset == needed_from:
        raise StateInconsistent(
            partition,
            f"its state goes to offset {journal.next_offset}, but the input begins at {bounds.input_begin}; nobody can "
            f"tell whether there were records between them",
            Advice(
                "keep the windows and continue at the log start with",
                f"state reset --partition {partition} --keep-rows",
            ),
        )
    if bounds.input_begin > needed_from:
        raise StateInconsistent(
            partition,
            f"records from offset {needed_from} on are needed, but the input begins at {bounds.input_begin}; those "
            "before were deleted",
        )
    if bounds.input_end < journal.next_offset:
        raise StateInconsistent(
            partition,
            f"the input ends at offset {bounds.input_end}, but its records were counted up to {journal.next_offset}",
        )


def check_settings(partition: int, stored: ResultSettings, ours: ResultSettings) -> None:
    """Check that settings that cannot change while there is state are unchanged.

    Raises:
        StateInconsistent: one has changed.
    """
    changed = [key for key in changed_keys(stored, ours) if key in FIXED]
    if changed:
        was = ", ".join(f"{key} = {_value(stored, key)}" for key in changed)
        raise StateInconsistent(
            partition,
            f"its state was counted with {was}, which can't change while there is state",
            Advice("set it as it was, or reset the state with", f"state reset --partition {partition}"),
        )


def _value(stored: ResultSettings, key: str) -> object:
    section, name = key.split(".")
    return stored.get(section, {}).get(name)
