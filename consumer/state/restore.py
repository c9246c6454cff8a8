"""Restore one partition: read its state to the end, then replay input up to the journal's offset.

```
 LOOKING ── bounds known ──► READING ── state read ──► REPLAYING ── at the journal's offset ──► restored
                                │                          │
                                │ nothing there            └─ does not end on the journal's digest: ReplayFailed
                                ├───────────────────────────► restored, empty, at input.start
                                └─ offsets or settings disagree: StateInconsistent
```
It never blocks: `advance` checks the progress, and `receive` takes messages as they arrive.
"""

from collections.abc import Iterator, Sequence
from enum import Enum, auto
from typing import NamedTuple, cast

from consumer.intake.intake import reads_headers, reads_keys
from consumer.intake.intakes import MakeIntake
from consumer.kafka.batch import Batch, Run
from consumer.kafka.protocols import Bounds, LookUp, RestoreReader
from consumer.runtime.secret import new_hash_key
from consumer.settings.model import Settings
from consumer.settings.window_rules import window_rules
from consumer.state import checkpoint as checkpoints
from consumer.state import journal as journals
from consumer.state.checkpoint import RULES_VERSION, Checkpoint, Identity
from consumer.state.consistency import StateInconsistent, check_identity, check_offsets, check_settings
from consumer.state.contents import Contents
from consumer.state.finding import Finding
from consumer.state.journal import Journal, JournalRecord, StateError
from consumer.state.keys import CHECKPOINT, FINDING, JOURNAL, ROW_PREFIX
from consumer.state.replay import Replay, ReplayFailed
from consumer.state.result_settings import ResultSettings, changed_keys, result_settings_of, settings_of
from consumer.windows.layout import Times
from consumer.windows.partition import PartitionWindows
from consumer.windows.rules import WindowRules
from consumer.windows.storage.batch import RowError


class RestoreContext(NamedTuple):
    """Dependencies of all restores of a worker."""

    settings: Settings
    identity: Identity
    make_intake: MakeIntake
    """Creates an intake for the settings stored in a checkpoint."""


class RuleChange(NamedTuple):
    """Changed result settings of a partition, or another version of the rules, or both."""

    settings: ResultSettings
    rules: WindowRules
    rules_version: int


class Restored(NamedTuple):
    """A partition as of its last commit."""

    windows: PartitionWindows
    next_offset: int
    committed_offset: int | None
    checkpoint: int
    """Number of the checkpoint that the journal follows; 0 if there is none."""
    journal: Journal
    result_settings: ResultSettings
    """Those under which the windows are as they are."""
    rules_version: int = RULES_VERSION
    """The same of the version of the rules."""
    rule_changes: tuple[RuleChange, ...] = ()
    """What changes them, to be applied one after the other and stored before any record is processed."""
    rows: int = 0
    """Row records read, outdated ones included."""
    replayed: int = 0
    """Records replayed."""
    replayed_bytes: int = 0


class _Phase(Enum):
    LOOKING = auto()
    READING = auto()
    REPLAYING = auto()


class PartitionUnavailable(Exception):  # noqa: N818  # a state of the cluster, which time can heal
    """A partition cannot be read now; the message says why."""


class Restore:
    """Restores one partition; `advance` and `receive` are called in turn until there is a result."""

    def __init__(self, partition: int, context: RestoreContext, look_up: LookUp, reader: RestoreReader) -> None:
        self.partition = partition
        self._context = context
        self._look_up = look_up
        self._reader = reader
        self._input = context.settings.kafka.input_topic
        self._state = context.settings.kafka.state_topic
        self._phase = _Phase.LOOKING
        self._bounds = Bounds(None, 0, 0, 0)
        # With the rules in force: rows depend only on `bucket_ms`, which cannot change while there is state.
        self._windows = PartitionWindows.loading(window_rules(context.settings.windows), new_hash_key(), Times())
        self._doubtful = False
        self._finalized_contents: Contents | None = None
        self._checkpoint: bytes | None = None
        self._journal: bytes | None = None
        self._replay: Replay | None = None
        self._rows = 0
        self._positions: dict[str, int] = {}
        """By topic: all records below it, since reading began, were received."""
        self._paused = False
        """Whether the replay waits for a schema, and nothing is read."""

    @property
    def reading(self) -> bool:
        """Whether it expects records."""
        return self._phase is not _Phase.LOOKING and not self._paused

    @property
    def waiting_reason(self) -> str:
        """What it is doing, for messages."""
        if self._phase is _Phase.LOOKING:
            reason = self._look_up.reason(self.partition)
            return f"partition {self.partition}: offsets are being looked up" + (reason and f": {reason}")
        if self._replay is None:
            return f"partition {self.partition}: state is being read"
        return f"partition {self.partition}: input is being replayed" + (
            self.schema_reason and f", but waits: {self.schema_reason}"
        )

    @property
    def schema_reason(self) -> str:
        """Why its replay waits for a schema; empty if it does not, or only began to."""
        return "" if self._replay is None else self._replay.waiting_reason

    def advance(self, failure: str = "") -> Restored | None:
        """Advance as far as possible without waiting.

        Args:
            failure: why its state or input cannot be read on, from the reader; empty if it can.

        Raises:
            StateInconsistent: this partition cannot continue; says why and how to resolve it.
            ReplayFailed: the replay differs from what was published.
            PartitionUnavailable: a topic partition cannot be read now.
            ViewerConsumerError: the look-up of bounds failed.
        """
        if failure:
            raise PartitionUnavailable(f"partition {self.partition}: {failure}")
        if self._phase is _Phase.LOOKING:
            bounds = self._look_up.bounds(self.partition)
            if bounds is None:
                return None
            self._bounds = bounds
            self._begin(self._state, 0)
            self._phase = _Phase.READING
        if self._phase is _Phase.READING:
            if self._reached(self._state) < self._bounds.state_end:
                return None
            if self._doubtful and self._finalized_contents is None:
                self._read_finalized()
                return None
            self._stop_reading(self._state)
            return self._with_state()
        return self._replayed()

    def receive(self, batch: Batch, run: Run) -> None:
        """Receive a run of this partition's state or input, in order.

        Raises:
            StateInconsistent, ReplayFailed: as `advance`.
        """
        self._positions[run.topic] = int(batch.offsets[run.end - 1]) + 1
        if run.topic == self._state:
            self._receive_state(batch.keys_and_values(run))
        elif self._replay is not None:
            self._replay.receive(batch.part(run))

    def finding(self, error: StateInconsistent) -> Finding | None:
        """What to store about an error that only the replay has shown; None for one that `state check` sees."""
        if self._replay is None or not isinstance(error, ReplayFailed):
            return None
        journal = self._replay.journal
        return Finding(journal.checkpoint, journal.next_offset, error.what)

    def drop(self) -> None:
        """Stop reading."""
        self._stop_reading(self._state, self._input)

    def _begin(self, topic: str, offset: int) -> None:
        self._reader.begin((topic, self.partition), offset)
        self._positions[topic] = offset

    def _reached(self, topic: str) -> int:
        """The position, with markers and aborted records at the end."""
        return max(self._positions[topic], self._reader.last_seen_end((topic, self.partition)))

    def _stop_reading(self, *topics: str) -> None:
        self._reader.pause([(topic, self.partition) for topic in topics])

    def _receive_state(self, keys_and_values: Sequence[tuple[bytes | None, bytes | None]]) -> None:
        records = [(key or b"", value) for key, value in keys_and_values]
        if self._finalized_contents is not None:
            self._finalized_contents.add(records)
            return
        for key, value in records:
            if key == CHECKPOINT:
                self._checkpoint = value
            elif key == JOURNAL:
                self._journal = value
            elif key != FINDING and not key.startswith(ROW_PREFIX):
                self._doubtful = True
        rows = [record for record in records if record[0].startswith(ROW_PREFIX)]
        self._rows += len(rows)
        if self._doubtful:
            return
        try:
            self._windows.load(rows)
        except RowError:
            self._doubtful = True

    def _read_finalized(self) -> None:
        """A record cannot be loaded but may be outdated: read the partition again, keeping only the newest records."""
        self._finalized_contents = Contents()
        self._begin(self._state, 0)

    def _with_state(self) -> Restored | None:
        """Called when the state is read: finish if it is empty, else check it and start the replay."""
        bounds = self._bounds
        if self._checkpoint is None:
            return self._empty()
        try:
            checkpoint = checkpoints.decoded(self._checkpoint)
            journal = journals.decoded(self._journal or b"null")
        except StateError as error:
            raise StateInconsistent(self.partition, str(error)) from None
        check_identity(self.partition, checkpoint.identity, self._context.identity)
        check_offsets(self.partition, bounds, checkpoint, journal)
        check_settings(self.partition, checkpoint.settings, result_settings_of(self._context.settings))
        self._load(checkpoint)
        self._replay = self._replay_of(checkpoint, journal)
        self._phase = _Phase.REPLAYING
        if self._replay.complete:
            return self._finished()
        self._begin(self._input, journal.needed_from(checkpoint.next_offset))
        return None

    def _empty(self) -> Restored:
        """Handle a partition without a checkpoint: new if there is no committed offset, else an error."""
        bounds, settings = self._bounds, self._context.settings
        if bounds.committed is not None:
            raise StateInconsistent(
                self.partition,
                f"the group has committed offset {bounds.committed}, but there is no checkpoint of it in the state "
                f"topic, up to offset {bounds.state_end}",
            )
        if self._rows or self._doubtful or self._journal is not None:
            raise StateInconsistent(self.partition, "there are records of a state, but no checkpoint")
        offset = bounds.input_begin if settings.input.start == "earliest" else bounds.input_end
        key = new_hash_key()
        windows = PartitionWindows(window_rules(settings.windows), key)
        return Restored(windows, offset, None, 0, Journal(), result_settings_of(settings))

    def _load(self, checkpoint: Checkpoint) -> None:
        rules = window_rules(self._settings_of(checkpoint).windows)
        try:
            times = checkpoint.times
            if self._finalized_contents is None:
                self._windows.take_over(rules, checkpoint.hash_key, times)
            else:
                self._windows = self._finalized_windows(self._finalized_contents, rules, checkpoint.hash_key, times)
            rows = self._windows.finish_load()
        except (RowError, TypeError) as error:
            raise StateInconsistent(self.partition, str(error)) from None
        if rows != checkpoint.rows:
            raise StateInconsistent(
                self.partition,
                f"its state has {rows.count} rows with digest {rows.digest:016x}, but the checkpoint was made of "
                f"{checkpoint.rows.count} with {checkpoint.rows.digest:016x}",
            )
        if checkpoint.jump is not None:
            self._windows.restore_jump(checkpoint.jump)

    def _finalized_windows(
        self, finalized_contents: Contents, rules: WindowRules, hash_key: tuple[int, int], times: Times
    ) -> PartitionWindows:
        if finalized_contents.others:
            raise StateInconsistent(
                self.partition,
                f"its state topic holds a record that no worker wrote: {min(finalized_contents.others)[:40]!r}",
            )
        windows = PartitionWindows.loading(rules, hash_key, times)
        windows.load(list(finalized_contents.rows.items()))
        return windows

    def _settings_of(self, checkpoint: Checkpoint) -> Settings:
        try:
            return settings_of(checkpoint.settings, self._context.settings)
        except StateError as error:
            raise StateInconsistent(self.partition, str(error)) from None

    def _replay_of(self, checkpoint: Checkpoint, journal: JournalRecord) -> Replay:
        source = self._settings_of(checkpoint).input
        return Replay(
            self.partition,
            self._context.make_intake(source, takes_unclear=checkpoints.takes_unclear(checkpoint.rules_version)),
            self._windows,
            checkpoint.next_offset,
            journal,
            reads_headers=reads_headers(self._context.settings.input),
            reads_keys=reads_keys(source),
            clamps=checkpoints.clamps(checkpoint.rules_version),
            skips_negative=checkpoints.skips_negative(checkpoint.rules_version),
        )

    def _replayed(self) -> Restored | None:
        replay = cast("Replay", self._replay)
        if replay.complete:
            return self._finished()
        if replay.waits:
            self._pause(replay)
        else:
            replay.check_there_is_more(self._reached(self._input))
        return None

    def _pause(self, replay: Replay) -> None:
        """Wait for a schema: drop what arrived meanwhile, and read it again once the schema is available."""
        if not self._paused:
            self._stop_reading(self._input)
            self._paused = True
        elif replay.stop_waiting():
            self._paused = False
            self._begin(self._input, replay.next_offset)

    def _finished(self) -> Restored:
        replay = cast("Replay", self._replay)
        self._stop_reading(self._input)
        replay.finish()
        checkpoint = checkpoints.decoded(cast("bytes", self._checkpoint))
        return Restored(
            windows=replay.windows,
            next_offset=replay.next_offset,
            committed_offset=self._bounds.committed,
            checkpoint=replay.journal.checkpoint,
            journal=replay.continued_journal(),
            result_settings=checkpoint.settings,
            rules_version=checkpoint.rules_version,
            rule_changes=tuple(self._rule_changes(checkpoint)),
            rows=self._rows,
            replayed=replay.replayed,
            replayed_bytes=replay.processed_bytes,
        )

    def _rule_changes(self, checkpoint: Checkpoint) -> Iterator[RuleChange]:
        """What was begun before this restore is finished first; then settings and rules of this worker take effect."""
        before, version = checkpoint.settings, checkpoint.rules_version
        ours = result_settings_of(self._context.settings)
        for after, new_version in ((checkpoint.pending_settings, version), (ours, RULES_VERSION)):
            if after is not None and (changed_keys(before, after) or new_version != version):
                rules = window_rules(settings_of(after, self._context.settings).windows)
                yield RuleChange(after, rules, new_version)
                before = after
