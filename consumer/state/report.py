"""Report everything that disagrees in the stored state of a partition; a restore stops at the first disagreement."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from consumer.kafka.protocols import Bounds
from consumer.settings.model import Settings
from consumer.state import checkpoint as checkpoints
from consumer.state import journal as journals
from consumer.state.checkpoint import Checkpoint, Identity
from consumer.state.consistency import StateInconsistent, check_identity, check_offsets, check_settings
from consumer.state.contents import Contents
from consumer.state.journal import JournalRecord, StateError
from consumer.state.result_settings import FIXED, changed_keys, result_settings_of
from consumer.state.stored_windows import loaded_windows
from consumer.windows.storage.load import RowError


class Stored(NamedTuple):
    """A partition as it is found in the cluster."""

    partition: int
    committed_before: int | None
    """The group's offset, None where it has none; before the state was read and after, as a worker may be at work."""
    committed: int | None
    input_begin: int
    input_end: int
    contents: Contents


class ConsistencyReport(NamedTuple):
    """Of one partition."""

    disagreements: list[StateInconsistent]
    changed_settings: list[str]
    """Keys of settings that a worker may start with all the same; they take effect then."""


def findings(stored: Stored, settings: Settings, identity: Identity) -> ConsistencyReport:
    """All that a worker of these settings would find wrong.

    Args:
        stored: what is there.
        settings: those in force.
        identity: of the cluster and topic that were asked.
    """
    try:
        checkpoint, journal = _decoded(stored)
    except StateInconsistent as error:
        return ConsistencyReport([error], [])
    if checkpoint is None or journal is None:
        return ConsistencyReport([], [])
    ours = result_settings_of(settings)
    checks: tuple[Callable[[], None], ...] = (
        lambda: _check_keys(stored),
        lambda: check_identity(stored.partition, checkpoint.identity, identity),
        lambda: check_offsets(stored.partition, _bounds(stored, journal), checkpoint, journal),
        lambda: check_settings(stored.partition, checkpoint.settings, ours),
        lambda: _check_rows(stored, checkpoint, settings),
    )
    changed = [key for key in changed_keys(checkpoint.settings, ours) if key not in FIXED]
    return ConsistencyReport(list(_raised(checks)), changed)


def _raised(checks: tuple[Callable[[], None], ...]) -> Iterator[StateInconsistent]:
    for check in checks:
        try:
            check()
        except StateInconsistent as error:
            yield error


def _decoded(stored: Stored) -> tuple[Checkpoint | None, JournalRecord | None]:
    """Both, or None of both where nothing was ever committed.

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


def _bounds(stored: Stored, journal: JournalRecord) -> Bounds:
    committed = stored.committed
    if committed is not None and (stored.committed_before or 0) <= journal.next_offset <= committed:
        committed = journal.next_offset  # of a worker that went on while the state was read
    return Bounds(committed, 0, stored.input_begin, stored.input_end)


def _check_keys(stored: Stored) -> None:
    if stored.contents.others:
        example = min(stored.contents.others)[:40]
        raise StateInconsistent(stored.partition, f"its state topic holds a record that no worker wrote: {example!r}")


def _check_rows(stored: Stored, checkpoint: Checkpoint, settings: Settings) -> None:
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
