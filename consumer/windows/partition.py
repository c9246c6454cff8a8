"""The windows of one input partition: its arrays, their growth, and the calls of the compiled code.

Nothing here reads a clock, does I/O or draws random numbers. State is a function of rules, hash key and events.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from consumer.windows.clock_steps import apply_rules, continue_jump, step_partition
from consumer.windows.closing import END_OF_INPUT, close_everything
from consumer.windows.empty_buckets import most_empty_buckets, most_empty_buckets_of
from consumer.windows.events import EventColumns, id_bytes_of
from consumer.windows.growth import closed_with_room, with_room_for_events, with_room_for_rows
from consumer.windows.layout import CLOSED, NO_TIME_MS, NONE, Jump, Times, known, new_state, words_of
from consumer.windows.process import process_events, process_events_without_sessions
from consumer.windows.rules import WindowRules
from consumer.windows.stats import PartitionStats, SessionCounters, counters_of, stats_of
from consumer.windows.storage.batch import Record, row_batch
from consumer.windows.storage.checksum import Checksum, add_to_checksum
from consumer.windows.storage.large_rows import LargeRows
from consumer.windows.storage.load import finish_rows, load_batch, unfinished_error
from consumer.windows.storage.store import PART_BYTES, ChangedRows, changed_rows, mark_stored
from consumer.windows.storage.viewer_rows import index_viewers
from consumer.windows.streams import fill_table, hash_streams, ids_of, row_of
from consumer.windows.view import LiveStreams, WindowView, live_counts, live_streams, views_of, window_rows
from consumer.windows.viewers.room import given_back, with_fewer_chunks, with_fewer_viewers

MIN_CLOSED_ROWS = 256

ROWS_AT_ONCE = 1_000
"""Rows that one call of compiled code processes."""


class ClosedBuckets(NamedTuple):
    """Closed buckets in the order in which they closed; within a stream that is by start.

    `rows` has the fields of `state.CLOSED`: the bucket, why it closed, and the offset of the record that closed it (-1
    at the end of input). `stream_ids` are UTF-8.
    """

    stream_ids: list[bytes]
    rows: npt.NDArray[np.void]

    def __len__(self) -> int:
        """How many buckets, which is not how many fields."""
        return len(self.stream_ids)


class LiveWindows(NamedTuple):
    """What is shown of all streams together, and of the largest."""

    viewers: int
    """The live counts of all streams together, also of those that are left out below."""
    largest: list[WindowView]
    """Those with the most viewers first."""


class _RuleChange(NamedTuple):
    """Changed rules that were applied to the streams before `next_row`."""

    rules: WindowRules
    next_row: int
    offset: int


class PartitionWindows:
    """The windows of all streams of one partition; `hash_key` is two secret 64-bit words."""

    def __init__(self, rules: WindowRules, hash_key: tuple[int, int]) -> None:
        self._rules = rules
        self._state = new_state(hash_key, sessions=rules.sessions)
        self._head = self._state.head[0]
        self._jump_pending = self._state.head["jump_pending"]
        """A view of the field: each turn of the worker reads it for each partition."""
        self._closed_rows = np.zeros(MIN_CLOSED_ROWS, CLOSED)
        self._closed: list[ClosedBuckets] = []
        self._large_rows = LargeRows()
        self._rule_change: _RuleChange | None = None
        self._encoded: npt.NDArray[np.void] | None = None
        """Marks of the rows encoded last; None once the state has changed since."""

    @classmethod
    def loading(cls, rules: WindowRules, hash_key: tuple[int, int], times: Times) -> Self:
        """Empty windows to be filled by `load`; they accept events after `finish_load`."""
        windows = cls(rules, hash_key)
        windows._set_times(times)
        return windows

    def apply(
        self, events: EventColumns, begin: int, end: int, offsets: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.uint8]:
        """Process rows `begin` to `end` in order; `offsets` has one entry per row of the columns.

        Returns the status of each processed row: a code of `process_events.STATUSES`. They are fewer than the rows if a
        jump of time was cut at the limit of closed buckets: finish it by `continue_jump` before the next rows.

        Raises:
            ValueError: a jump is pending.
        """
        self._refuse_while_jumping()
        status = np.empty(end - begin, np.uint8)
        done, has_closed = begin, False
        # Room is reserved for as many new streams and viewers as there are rows: piece by piece that stays small.
        while done < end and not self.jump_pending:
            piece_end = min(done + ROWS_AT_ONCE, end)
            done = self._apply_piece(events, done, piece_end, offsets, status[done - begin :])
            has_closed |= self._collect()
        if has_closed:
            self._state = given_back(self._state)  # viewers leave when buckets close
        return status[: done - begin]

    def _apply_piece(
        self,
        events: EventColumns,
        begin: int,
        end: int,
        offsets: npt.NDArray[np.int64],
        status: npt.NDArray[np.uint8],
    ) -> int:
        kernel = process_events if self._rules.sessions else process_events_without_sessions
        while (
            done := kernel(self._rules, self._state, events, begin, end, offsets, status, self._closed_rows)
        ) == NONE:
            empty_buckets = most_empty_buckets_of(self._rules, self._state, events, begin, end)
            self._reserve(end - begin, id_bytes_of(events, begin, end), empty_buckets)
        return done

    def limit_closed(self, closed_limit: int) -> None:
        """Cut jumps of time between two streams once so many buckets have closed in one call."""
        self._head["closed_limit"] = closed_limit

    @property
    def jump_pending(self) -> bool:
        """Whether a jump of time was cut, by a record, a clock step or changed rules, and has to be finished."""
        return self._jump_pending.item() != 0 or self._rule_change is not None

    @property
    def jump(self) -> Jump | None:
        """The pending jump of the idle watermark, to be stored; None if there is none."""
        if not self._head["jump_pending"]:
            return None
        return Jump(int(self._head["jump_reason"]), int(self._head["jump_offset"]))

    def restore_jump(self, jump: Jump) -> None:
        """Set the jump that was pending when the loaded rows were stored."""
        self._head["jump_pending"], self._head["jump_reason"], self._head["jump_offset"] = 1, *jump

    def continue_jump(self) -> None:
        """Close more of what a pending jump closes, up to the limit of closed buckets."""
        if self._rule_change is not None:
            self._change_more_rules(self._rule_change)
        elif self._head["jump_pending"]:
            self._reserve(0, 0, most_empty_buckets(self._rules, self._state, NO_TIME_MS, 0))
            continue_jump(self._rules, self._state, self._closed_rows)
            self._collect()

    def pack(self) -> None:
        """Free all memory of viewers who have left, even where that moves many rows."""
        self._state = with_fewer_chunks(with_fewer_viewers(self._state))

    def close_all(self) -> None:
        """Close all open buckets at the end of the input; no event may follow."""
        self._reserve(0, 0, most_empty_buckets(self._rules, self._state, NO_TIME_MS, 0))
        close_everything(self._rules, self._state, END_OF_INPUT, self._closed_rows)
        self._collect()

    def step(self, to_ms: int, offset: int) -> None:
        """Advance partition time and idle watermark of a quiet partition by the clock, before the record at `offset`.

        Nothing happens unless it is ahead of partition time. A large jump may be cut: see `jump_pending`.

        Raises:
            ValueError: a jump is pending.
        """
        self._refuse_while_jumping()
        self._reserve(0, 0, most_empty_buckets(self._rules, self._state, to_ms, 0))
        step_partition(self._rules, self._state, to_ms, offset, self._closed_rows)
        self._collect()

    def next_step_ms(self) -> int | None:
        """The next bucket boundary after partition time; None before the first event or while nothing is held."""
        return int(self._head["partition_bucket_end_ms"]) if self._head["streams_live"] > 0 else None

    def change_rules(self, rules: WindowRules, offset: int) -> None:
        """Apply new rules before the record at `offset`: close what has ended under them; reopen nothing.

        The idle watermark stays where it is until partition time enters its next bucket, and never goes back. A large
        change may be cut: see `jump_pending`. Until it is finished, rows are stored as of the rules before it.

        Raises:
            ValueError: `bucket_ms` or the counting mode differs, or a jump is pending.
        """
        self._refuse_while_jumping()
        if rules.bucket_ms != self._rules.bucket_ms:
            raise ValueError(f"bucket_ms can't change from {self._rules.bucket_ms} to {rules.bucket_ms}")
        if rules.sessions != self._rules.sessions:
            raise ValueError("counting can't change")
        self._change_more_rules(_RuleChange(rules, 0, offset))

    def _change_more_rules(self, change: "_RuleChange") -> None:
        before, rules = self._rules, change.rules
        widest = before._replace(
            grace_ms=max(rules.grace_ms, before.grace_ms),
            viewer_timeout_ms=max(rules.viewer_timeout_ms, before.viewer_timeout_ms),
        )
        self._reserve(0, 0, most_empty_buckets(widest, self._state, NO_TIME_MS, 0))
        next_row = apply_rules(before, rules, self._state, change.next_row, change.offset, self._closed_rows)
        self._rule_change = None if next_row == NONE else change._replace(next_row=next_row)
        if next_row == NONE:
            self._rules = rules
        self._collect()

    def _refuse_while_jumping(self) -> None:
        if self.jump_pending:
            raise ValueError("a jump of time is pending; finish it by continue_jump first")

    @property
    def hash_key(self) -> tuple[int, int]:
        """The two words that the windows were created with."""
        return int(self._head["hash_key0"]), int(self._head["hash_key1"])

    @property
    def counts_sessions(self) -> bool:
        """Whether viewers are counted by id; presence is then finalized when a bucket closes."""
        return self._rules.sessions

    @property
    def partition_time_ms(self) -> int:
        """The largest event time so far; there is one once a bucket is held."""
        return int(self._head["partition_time_ms"])

    def times(self) -> Times:
        """The times to be stored beside rows, hash key and rules."""
        return Times(*(known(int(self._head[name])) for name in Times._fields))

    def changed_rows(self, part_bytes: int = PART_BYTES) -> ChangedRows:
        """Records that update the stored rows; the same until `mark_stored` is called."""
        rows = changed_rows(self._rules, self._state, part_bytes)
        self._encoded = rows.marks
        return rows

    def mark_stored(self, rows: ChangedRows) -> None:
        """Call after the commit of these records: their rows no longer count as changed.

        Raises:
            ValueError: the rows are not the newest ones, or events or clock steps followed.
        """
        if rows.marks is not self._encoded:
            raise ValueError("the windows have changed since these rows were encoded")
        mark_stored(self._state, rows.marks)
        self._encoded = None

    def load(self, records: Sequence[Record]) -> None:
        """Load stored rows and tombstones in topic order; a later record replaces an earlier one of the same key.

        Raises:
            RowError: a record cannot be decoded; discard these windows.
        """
        for deferred in self._load(records):
            self._large_rows.add(*records[deferred])

    def take_over(self, rules: WindowRules, hash_key: tuple[int, int], times: Times) -> None:
        """Set rules, hash key and times, which are known only after all rows were read.

        Raises:
            ValueError: `bucket_ms` or the counting is another one than rows were loaded by.
        """
        if rules.bucket_ms != self._rules.bucket_ms:
            raise ValueError(f"rows were loaded by bucket_ms {self._rules.bucket_ms}, not {rules.bucket_ms}")
        if rules.sessions != self._rules.sessions:
            raise ValueError("rows were loaded by another counting")
        self._rules = rules
        self._head["hash_key0"], self._head["hash_key1"] = hash_key
        hash_streams(self._state)
        self._state.table.fill(NONE)
        fill_table(self._state, self._state.table)
        self._state.viewer_arrays.slots["viewer"] = NONE
        index_viewers(self._state)
        self._set_times(times)

    def finish_load(self) -> Checksum:
        """Build the derived structures; return the checksum of the rows, to compare with `ChangedRows.all_rows`.

        Raises:
            RowError: parts are missing or left over, or a row contradicts the rules.
        """
        small = {stream_id for stream_id in self._large_rows.ids() if self._row_of(stream_id) != NONE}
        for large in self._large_rows.whole(small):
            self._load([large.as_one])
            stream = self._state.streams[self._row_of(large.stream_id)]
            checksum = large.checksum()
            stream["stored_parts"], stream["stored_digest"] = checksum.count, checksum.digest
        self._large_rows = LargeRows()
        self._reserve(int(self._head["streams_live"]), 0, 0)
        overdue = finish_rows(self._rules, self._state)
        if overdue != NONE:
            raise unfinished_error(self._state, overdue)
        return Checksum(int(self._head["stored_count"]), int(self._head["stored_digest"]))

    def _load(self, records: Sequence[Record]) -> list[int]:
        batch = row_batch(records)
        self._state = with_room_for_rows(self._rules, self._state, batch)
        return load_batch(self._rules, self._state, batch)

    def _set_times(self, times: Times) -> None:
        for name, time_ms in times._asdict().items():
            self._head[name] = NO_TIME_MS if time_ms is None else time_ms
        if times.partition_time_ms is not None:
            bucket_ms = self._rules.bucket_ms
            self._head["partition_started"] = 1
            self._head["partition_bucket_end_ms"] = (times.partition_time_ms // bucket_ms + 1) * bucket_ms

    def published_checksum(self) -> Checksum:
        """Order-free checksum of the buckets closed since the last reset: stream, statistics, reason, offset."""
        return Checksum(int(self._head["published_count"]), int(self._head["published_digest"]))

    def reset_published_checksum(self) -> None:
        """Begin a new checksum."""
        self._head["published_count"] = 0
        self._head["published_digest"] = 0

    def pop_closed(self) -> ClosedBuckets:
        """The buckets closed since the last call, in closing order."""
        closed_before, self._closed = self._closed, []
        if len(closed_before) == 1:
            return closed_before[0]
        rows = np.concatenate([closed.rows for closed in closed_before]) if closed_before else np.empty(0, CLOSED)
        return ClosedBuckets([stream_id for closed in closed_before for stream_id in closed.stream_ids], rows)

    def _collect(self) -> bool:
        """Copy closed buckets and their ids out of the arrays, because the next call may reuse the rows."""
        self._encoded = None
        size = int(self._head["closed_size"])
        if size == 0:
            return False
        add_to_checksum(self._state, self._closed_rows, words_of(self._closed_rows))
        self._head["closed_size"] = 0
        rows = self._closed_rows[:size].copy()
        self._closed.append(ClosedBuckets(ids_of(self._state, rows), rows))
        return True

    def stats(self) -> PartitionStats:
        """What is held now."""
        return stats_of(self._state)

    def counters(self) -> SessionCounters:
        """Counters of sessions counting; presence is counted when a bucket closes."""
        return counters_of(self._state)

    def live(self, most: int | None = None) -> LiveWindows:
        """The live counts, with the windows of the streams with the most viewers, or of all."""
        live = live_streams(self._rules, self._state)
        largest = LiveStreams(live.rows[:most], live.viewers[:most])
        return LiveWindows(int(live.viewers.sum()), views_of(self._rules, self._state, largest))

    def views(self) -> list[WindowView]:
        """The windows of all streams, those with the most viewers first."""
        return self.live().largest

    def view_of(self, stream_id: bytes) -> WindowView | None:
        """The window of one stream, None where it is not held."""
        row = self._row_of(stream_id)
        if row == NONE:
            return None
        return views_of(self._rules, self._state, live_counts(self._rules, self._state, np.array([row], np.int64)))[0]

    def window_of(self, stream_id: bytes) -> npt.NDArray[np.void]:
        """A stream's buckets in the window, oldest first (fields of `state.BUCKET`); empty where it is not held."""
        return self.window_rows_of(stream_id)["bucket"]

    def window_rows_of(self, stream_id: bytes) -> npt.NDArray[np.void]:
        """The same buckets with all fields of a closed one.

        They have the fields of `state.CLOSED`, as if they had closed at the end of input; where viewers are counted,
        the statistics of presence are those of closed buckets only.
        """
        return window_rows(self._rules, self._state, self._row_of(stream_id))

    def _row_of(self, stream_id: bytes) -> int:
        return row_of(self._state, np.frombuffer(bytearray(stream_id), np.uint8))

    def _reserve(self, events: int, id_bytes: int, empty_buckets: int) -> None:
        self._state = with_room_for_events(self._rules, self._state, events, id_bytes, empty_buckets)
        self._closed_rows = closed_with_room(self._closed_rows, self._state, events, empty_buckets)
