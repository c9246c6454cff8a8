"""One partition on its way to being ours: state is read to its end, then input is replayed up to the journal's offset.

```
 LOOKING ── bounds known ──► READING ── state read ──► REPLAYING ── at the journal's offset ──► restored
                                │                          │
                                │ nothing there            └─ does not end on the journal's digest: ReplayFailed
                                ├───────────────────────────► restored, empty, at input.start
                                └─ offsets or settings disagree: StateInconsistent
```
It never waits: `advance` looks how far things are, and messages are handed to it as they come.
"""

import secrets
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import NamedTuple, cast

from consumer.intake.intake import Intake, reads_headers
from consumer.kafka.protocols import Bounds, LookUp, Message, RestoreReader
from consumer.settings.model import Settings
from consumer.settings.window_rules import window_rules
from consumer.state import checkpoint as checkpoints
from consumer.state import journal as journals
from consumer.state.checkpoint import Checkpoint, Identity
from consumer.state.consistency import StateInconsistent, check_identity, check_offsets, check_settings
from consumer.state.contents import Contents
from consumer.state.journal import Journal, JournalRecord, StateError
from consumer.state.keys import CHECKPOINT, JOURNAL, ROW_PREFIX
from consumer.state.replay import Replay
from consumer.state.result_settings import changed_keys, result_settings_of, settings_of
from consumer.windows.layout import Times
from consumer.windows.partition import PartitionWindows
from consumer.windows.rules import WindowRules
from consumer.windows.storage.load import RowError

READ_AGAIN_S = 0.25
"""A replay that waits for a schema asks for it so often."""


class RestoreContext(NamedTuple):
    """What all restores of a worker go by."""

    settings: Settings
    identity: Identity
    make_intake: Callable[[Settings], Intake]
    """For settings that may be those of an earlier worker."""


class Restored(NamedTuple):
    """A partition as it was when its last commit was made."""

    windows: PartitionWindows
    next_offset: int
    committed_offset: int | None
    checkpoint: int
    """Number of the checkpoint that the journal follows; 0 where there is none yet."""
    journal: Journal
    settings_changed: bool
    """Settings that shape results are others than those of the checkpoint: one is due before anything is taken."""
    rows: int
    """Records of rows that were read, old ones included."""
    replayed: int
    """Records that were taken again."""
    replayed_bytes: int


class _Phase(Enum):
    LOOKING = auto()
    READING = auto()
    REPLAYING = auto()


class Restore:
    """Restores one partition; `advance` and `take` are called in turn until there is a result."""

    def __init__(self, partition: int, plan: RestoreContext, look_up: LookUp, reader: RestoreReader) -> None:
        self.partition = partition
        self._plan = plan
        self._look_up = look_up
        self._reader = reader
        self._input = plan.settings.kafka.input_topic
        self._state = plan.settings.kafka.state_topic
        self._phase = _Phase.LOOKING
        self._bounds = Bounds(None, 0, 0, 0)
        # By the rules in force: rows depend on `bucket_ms` alone, and with another one nothing is continued.
        self._windows = PartitionWindows.loading(window_rules(plan.settings.windows), _new_key(), Times())
        self._doubtful = False
        self._settled_contents: Contents | None = None
        self._checkpoint: bytes | None = None
        self._journal: bytes | None = None
        self._replay: Replay | None = None
        self._rows = 0
        self._read_again_at_s: float | None = None

    @property
    def reading(self) -> bool:
        """There are records to be read."""
        return self._phase is not _Phase.LOOKING and self._read_again_at_s is None

    @property
    def waiting_reason(self) -> str:
        """What it is about, for people."""
        if self._phase is _Phase.LOOKING:
            return f"partition {self.partition}: offsets are being looked up"
        if self._replay is None:
            return f"partition {self.partition}: state is being read"
        waiting_reason = self._replay.waiting_reason
        return f"partition {self.partition}: input is being replayed" + (
            waiting_reason and f", but waits: {waiting_reason}"
        )

    def advance(self, now_s: float) -> Restored | None:
        """Go on as far as it goes without waiting.

        Args:
            now_s: monotonic seconds.

        Raises:
            StateInconsistent: this partition can't be continued; says why, and what resolves it.
            ReplayFailed: what was replayed is not what was published.
            ViewerConsumerError: bounds can't be looked up.
        """
        if self._phase is _Phase.LOOKING:
            bounds = self._look_up.bounds(self.partition)
            if bounds is None:
                return None
            self._bounds = bounds
            self._reader.read(self._state, self.partition, 0)
            self._phase = _Phase.READING
        if self._phase is _Phase.READING:
            if self._reader.reached(self._state, self.partition) < self._bounds.state_end:
                return None
            if self._doubtful and self._settled_contents is None:
                self._read_settled()
                return None
            self._reader.stop(self._state, self.partition)
            return self._with_state()
        return self._replayed(now_s)

    def take(self, topic: str, messages: Sequence[Message]) -> None:
        """Messages of this partition, of its state or of its input, in order.

        Raises:
            StateInconsistent, ReplayFailed: as `advance`.
        """
        if topic == self._state:
            self._take_state(messages)
        elif self._replay is not None:
            self._replay.take(messages)

    def drop(self) -> None:
        """Read no more."""
        self._reader.stop(self._state, self.partition)
        self._reader.stop(self._input, self.partition)

    def _take_state(self, messages: Sequence[Message]) -> None:
        records = [(message.key() or b"", message.value()) for message in messages]
        if self._settled_contents is not None:
            self._settled_contents.take(records)
            return
        for key, value in records:
            if key == CHECKPOINT:
                self._checkpoint = value
            elif key == JOURNAL:
                self._journal = value
            elif not key.startswith(ROW_PREFIX):
                self._doubtful = True
        rows = [record for record in records if record[0].startswith(ROW_PREFIX)]
        self._rows += len(rows)
        if self._doubtful:
            return
        try:
            self._windows.load(rows)
        except RowError:
            self._doubtful = True

    def _read_settled(self) -> None:
        """Something can't be taken as it comes, but may have been taken back: read again what stands in the end."""
        self._settled_contents = Contents()
        self._reader.read(self._state, self.partition, 0)

    def _with_state(self) -> Restored | None:
        """The state is read: nothing is there, or it is checked and the replay begins."""
        bounds = self._bounds
        if self._checkpoint is None:
            return self._empty()
        try:
            checkpoint = checkpoints.decoded(self._checkpoint)
            journal = journals.decoded(self._journal or b"null")
        except StateError as error:
            raise StateInconsistent(self.partition, str(error)) from None
        check_identity(self.partition, checkpoint.identity, self._plan.identity)
        check_offsets(self.partition, bounds, checkpoint, journal)
        check_settings(self.partition, checkpoint.settings, result_settings_of(self._plan.settings))
        self._load(checkpoint)
        self._replay = self._replay_of(checkpoint, journal)
        self._phase = _Phase.REPLAYING
        if checkpoint.next_offset < journal.next_offset:
            self._reader.read(self._input, self.partition, checkpoint.next_offset)
        return self._finished() if self._replay.complete else None

    def _empty(self) -> Restored:
        """Nothing was ever published for this partition; or what there was is gone, which is not to be guessed at."""
        bounds, settings = self._bounds, self._plan.settings
        if bounds.committed is not None:
            raise StateInconsistent(
                self.partition,
                f"the group has committed offset {bounds.committed}, but there is no checkpoint of it in the state "
                f"topic, up to offset {bounds.state_end}",
            )
        if self._rows or self._doubtful or self._journal is not None:
            raise StateInconsistent(self.partition, "there are records of a state, but no checkpoint")
        offset = bounds.input_begin if settings.input.start == "earliest" else bounds.input_end
        key = secrets.randbits(64), secrets.randbits(64)
        windows = PartitionWindows(window_rules(settings.windows), key)
        return Restored(
            windows, offset, None, 0, Journal(), settings_changed=False, rows=0, replayed=0, replayed_bytes=0
        )

    def _load(self, checkpoint: Checkpoint) -> None:
        rules = window_rules(self._settings_of(checkpoint).windows)
        try:
            times = checkpoint.times
            if self._settled_contents is None:
                self._windows.take_over(rules, checkpoint.hash_key, times)
            else:
                self._windows = self._settled_windows(self._settled_contents, rules, checkpoint.hash_key, times)
            rows = self._windows.finish_load()
        except (RowError, TypeError) as error:
            raise StateInconsistent(self.partition, str(error)) from None
        if rows != checkpoint.rows:
            raise StateInconsistent(
                self.partition,
                f"its state has {rows.count} rows with digest {rows.digest:016x}, but the checkpoint was made of "
                f"{checkpoint.rows.count} with {checkpoint.rows.digest:016x}",
            )

    def _settled_windows(
        self, settled_contents: Contents, rules: WindowRules, hash_key: tuple[int, int], times: Times
    ) -> PartitionWindows:
        if settled_contents.others:
            raise StateInconsistent(
                self.partition,
                f"its state topic holds a record that no worker wrote: {min(settled_contents.others)[:40]!r}",
            )
        windows = PartitionWindows.loading(rules, hash_key, times)
        windows.load(list(settled_contents.rows.items()))
        return windows

    def _settings_of(self, checkpoint: Checkpoint) -> Settings:
        try:
            return settings_of(checkpoint.settings, self._plan.settings)
        except StateError as error:
            raise StateInconsistent(self.partition, str(error)) from None

    def _replay_of(self, checkpoint: Checkpoint, journal: JournalRecord) -> Replay:
        intake = self._plan.make_intake(self._settings_of(checkpoint))
        return Replay(
            self.partition,
            intake,
            self._windows,
            checkpoint.next_offset,
            journal,
            reads_headers=reads_headers(self._plan.settings.input),
        )

    def _replayed(self, now_s: float) -> Restored | None:
        replay = cast("Replay", self._replay)
        if replay.complete:
            return self._finished()
        if replay.waiting_reason:
            self._read_again(replay, now_s)
        else:
            replay.check_there_is_more(self._reader.reached(self._input, self.partition))
        return None

    def _read_again(self, replay: Replay, now_s: float) -> None:
        """A schema is not available now: what came meanwhile is let go, and read again a little later."""
        if self._read_again_at_s is None:
            self._reader.stop(self._input, self.partition)
            self._read_again_at_s = now_s + READ_AGAIN_S
        elif now_s >= self._read_again_at_s:
            self._read_again_at_s = None
            replay.waiting_reason = ""
            self._reader.read(self._input, self.partition, replay.next_offset)

    def _finished(self) -> Restored:
        replay = cast("Replay", self._replay)
        self._reader.stop(self._input, self.partition)
        replay.finish()
        checkpoint = checkpoints.decoded(cast("bytes", self._checkpoint))
        after = result_settings_of(self._plan.settings)
        return Restored(
            windows=replay.windows,
            next_offset=replay.next_offset,
            committed_offset=self._bounds.committed,
            checkpoint=replay.journal.checkpoint,
            journal=replay.journal.journal,
            settings_changed=bool(changed_keys(checkpoint.settings, after)),
            rows=self._rows,
            replayed=replay.taken,
            replayed_bytes=replay.taken_bytes,
        )


def _new_key() -> tuple[int, int]:
    return secrets.randbits(64), secrets.randbits(64)
