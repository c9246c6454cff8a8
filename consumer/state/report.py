"""Report everything that disagrees in the stored state of a partition; a restore stops at the first disagreement."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from consumer.kafka.protocols import Bounds
from consumer.settings.model import Settings
from consumer.state import checkpoint as checkpoints
from consumer.state import finding as findings
from consumer.state import journal as journals
from consumer.state.checkpoint import RULES_VERSION, Checkpoint, Identity
from consumer.state.consistency import StateInconsistent, check_identity, check_offsets, check_settings
from consumer.state.contents import Contents
from consumer.state.journal import JournalRecord, StateError
from consumer.state.result_settings import FIXED, changed_keys, result_settings_of
from consumer.state.stored_windows import loaded_windows
from consumer.windows.storage.batch import RowError


class StoredPartition(NamedTuple):
    """The stored state of a partition, with its offsets."""

    partition: int
    committed_before: int | None
    """The group's offset before and after the state was read (a worker may be running); None if it has none."""
    committed: int | None
    input_begin: int
    input_end: int
    contents: Contents


class ConsistencyReport(NamedTuple):
    """What is to be said about the stored state of one partition."""

    disagreements: list[StateInconsistent]
    changed_settings: list[str]
    """Keys of changed settings that do not stop a worker; they take effect at its start."""
    rules_version: int | None
    """The version of the rules under which it was counted; None if nothing is stored or can be read."""

    @property
    def has_older_rules(self) -> bool:
        """Whether newer rules take effect at the next start; this stops no worker."""
        return self.rules_version is not None and self.rules_version < RULES_VERSION


def consistency_report(stored: StoredPartition, settings: Settings, identity: Identity) -> ConsistencyReport:
    """All disagreements that would stop a worker with these settings.

    Args:
        stored: the stored state.
        settings: those in force.
        identity: of the cluster and topic.
    """
    try:
        checkpoint, journal = _decoded(stored)
    except StateInconsistent as error:
        return ConsistencyReport([error], [], None)
    if checkpoint is None or journal is None:
        return ConsistencyReport([], [], None)
    ours = result_settings_of(settings)
    checks: tuple[Callable[[], None], ...] = (
        lambda: _check_keys(stored),
        lambda: check_identity(stored.partition, checkpoint.identity, identity),
        lambda: check_offsets(stored.partition, _bounds(stored, journal), checkpoint, journal),
        lambda: check_settings(stored.partition, checkpoint.settings, ours),
        lambda: _check_rows(stored, checkpoint, settings),
        lambda: _check_finding(stored, journal),
    )
    changed = [key for key in changed_keys(checkpoint.settings, ours) if key not in FIXED]
    return ConsistencyReport(list(_raised(checks)), changed, checkpoint.rules_version)


def _raised(checks: tuple[Callable[[], None], ...]) -> Iterator[StateInconsistent]:
    for check in checks:
        try:
            check()
        except StateInconsistent as error:
            yield error


def _decoded(stored: StoredPartition) -> tuple[Checkpoint | None, JournalRecord | None]:
    """Checkpoint and journal; None for both if nothing was ever committed.

    Raises:
        StateInconsistent: one is missing or cannot be read.
    """
    contents, committed = stored.contents, stored.committed
    if contents.checkpoint is None:
        if committed is not None:
            what = f"the group has committed offset {committed}, but there is no checkpoint of it"
            raise StateInconsistent(stored.partition, what)
        if not contents.empty:
            raise StateInconsistent(stored.partition, "there are records of a state, but no checkpoint")
        return None, None
    if contents.journal is None:
        raise StateInconsistent(stored.partition, "there is a checkpoint, but no journal")
    try:
        return checkpoints.decoded(contents.checkpoint), journals.decoded(contents.journal)
    except StateError as error:
        raise StateInconsistent(stored.partition, str(error)) from None


def _bounds(stored: StoredPartition, journal: JournalRecord) -> Bounds:
    committed = stored.committed
    if committed is not None and (stored.committed_before or 0) <= journal.next_offset <= committed:
        committed = journal.next_offset  # a running worker committed while the state was read
    return Bounds(committed, 0, stored.input_begin, stored.input_end)


def _check_keys(stored: StoredPartition) -> None:
    if stored.contents.others:
        example = min(stored.contents.others)[:40]
        raise StateInconsistent(stored.partition, f"its state topic holds a record that no worker wrote: {example!r}")


def _check_finding(stored: StoredPartition, journal: JournalRecord) -> None:
    """What a worker found that replayed this state; of another state it is outdated."""
    if stored.contents.finding is None:
        return
    try:
        finding = findings.decoded(stored.contents.finding)
    except StateError as error:
        raise StateInconsistent(stored.partition, str(error)) from None
    if finding.is_about(journal.checkpoint, journal.next_offset):
        raise StateInconsistent(stored.partition, finding.what)


def _check_rows(stored: StoredPartition, checkpoint: Checkpoint, settings: Settings) -> None:
    try:
        _, rows = loaded_windows(checkpoint, settings, list(stored.contents.rows.items()))
    except (RowError, StateError) as error:
        raise StateInconsistent(stored.partition, str(error)) from None
    if rows != checkpoint.rows:
        raise StateInconsistent(
            stored.partition,
            f"its state has {rows.count} rows with digest {rows.digest:016x}, but the checkpoint was made of "
            f"{checkpoint.rows.count} with {checkpoint.rows.digest:016x}",
        )
