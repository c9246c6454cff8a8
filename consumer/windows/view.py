"""What the gauges show of a stream, computed from the buckets that overlap its window."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from consumer.runtime.jit import compiled, inlined
from consumer.windows.buckets import latest_ms, leaves_window_at_ms
from consumer.windows.layout import CLOSED, LIMB, NO_TIME_MS, NONE, State, known
from consumer.windows.rules import WindowRules
from consumer.windows.streams import ids_of
from consumer.windows.viewers.live import WALK, count_live

WINDOW_STATS = np.dtype(
    [
        ("time_ms", np.int64),
        ("viewers", np.int64),
        ("peak", np.int64),
        ("bitrate_samples", np.int64),
        ("bitrate_sum_low", np.int64),
        ("bitrate_sum_high", np.int64),
        ("bitrate_min_bps", np.int64),
        ("bitrate_max_bps", np.int64),
        ("buffer_events", np.int64),
        ("stall_ms", np.int64),
        ("last_closed_start_ms", np.int64),  # NO_TIME_MS where no closed bucket is left in the window
    ],
    align=True,
)


class WindowView(NamedTuple):
    """One stream's window; averages and extremes are 0 without samples."""

    stream_id: str
    time_ms: int
    concurrent_viewers: int
    peak_concurrent_viewers: int
    bitrate_samples: int
    bitrate_sum_bps: int
    bitrate_min_bps: int
    bitrate_max_bps: int
    buffer_events: int
    stall_ms: int
    last_closed_start_ms: int | None

    @property
    def bitrate_avg_bps(self) -> float:
        """The exact sum over the count, rounded once."""
        return self.bitrate_sum_bps / self.bitrate_samples if self.bitrate_samples else 0.0


class LiveStreams(NamedTuple):
    """Streams with their live counts."""

    rows: npt.NDArray[np.int64]
    viewers: npt.NDArray[np.int64]


def live_streams(rules: WindowRules, state: State) -> LiveStreams:
    """All streams, those with the most viewers first."""
    rows = np.empty(int(state.head[0]["streams_used"]), np.int64)
    live = live_counts(rules, state, rows[: rows_in_use(state, rows)])
    # Ties are ordered by row, so that the choice is stable between snapshots.
    order = np.lexsort((live.rows, -live.viewers))
    return LiveStreams(live.rows[order], live.viewers[order])


def live_counts(rules: WindowRules, state: State, rows: npt.NDArray[np.int64]) -> LiveStreams:
    """The streams of these rows, in their order."""
    viewers = np.empty(len(rows), np.int64)
    count_live(rules, state, rows, viewers, np.empty(len(rows), WALK))
    return LiveStreams(rows, viewers)


def views_of(rules: WindowRules, state: State, live: LiveStreams) -> list[WindowView]:
    """The windows of these streams, in their order."""
    stats = np.empty(len(live.rows), WINDOW_STATS)
    window_stats(rules, state, live.rows, live.viewers, stats)
    ids = ids_of(state, state.streams[live.rows])
    return [_view(each.decode(), *values) for each, values in zip(ids, stats.tolist(), strict=True)]


def window_rows(rules: WindowRules, state: State, row: int) -> npt.NDArray[np.void]:
    """The buckets of a stream in its window, oldest first, with the fields of `state.CLOSED`; empty for NONE."""
    slots = np.empty(rules.window_duration_ms // rules.bucket_ms + 2, np.int64)
    size = 0 if row == NONE else window_buckets(rules, state, row, slots)
    slots = slots[:size][::-1]
    rows = np.zeros(size, CLOSED)
    rows["bucket"], rows["offset"] = state.buckets[slots], NONE
    if rules.sessions:
        rows["presence"] = state.viewer_arrays.presence[slots]
    return rows


def _view(
    stream_id: str,
    time_ms: int,
    viewers: int,
    peak: int,
    samples: int,
    sum_low: int,
    sum_high: int,
    *least_most_buffers_stalls: int,
) -> WindowView:
    """From the fields of `WINDOW_STATS`, in their order."""
    least_bps, most_bps, buffer_events, stall_ms, last_closed_start_ms = least_most_buffers_stalls
    return WindowView(
        stream_id=stream_id,
        time_ms=time_ms,
        concurrent_viewers=viewers,
        peak_concurrent_viewers=peak,
        bitrate_samples=samples,
        bitrate_sum_bps=sum_high * LIMB + sum_low,
        bitrate_min_bps=least_bps,
        bitrate_max_bps=most_bps,
        buffer_events=buffer_events,
        stall_ms=stall_ms,
        last_closed_start_ms=known(last_closed_start_ms),
    )


@compiled
def window_stats(
    rules: WindowRules,
    state: State,
    rows: npt.NDArray[np.int64],
    viewers: npt.NDArray[np.int64],
    stats: npt.NDArray[np.void],
) -> None:
    """Fill `stats[i]` with the window of stream row `rows[i]`, which has that many viewers now."""
    for i in range(len(rows)):
        _window_of(rules, state, int(rows[i]), int(viewers[i]), stats, i)


@inlined
def _window_of(rules: WindowRules, state: State, row: int, viewers: int, stats: npt.NDArray[np.void], i: int) -> None:
    stream, row_stats = state.streams[row], stats[i]
    time_ms = latest_ms(state, row)
    row_stats["time_ms"] = time_ms
    row_stats["viewers"] = viewers
    # With sessions counting the peak of an open bucket is not known yet; the current viewers are its lower bound.
    row_stats["peak"] = viewers if rules.sessions else 0
    row_stats["bitrate_samples"] = 0
    row_stats["bitrate_sum_low"] = 0
    row_stats["bitrate_sum_high"] = 0
    row_stats["bitrate_min_bps"] = 0
    row_stats["bitrate_max_bps"] = 0
    row_stats["buffer_events"] = 0
    row_stats["stall_ms"] = 0
    row_stats["last_closed_start_ms"] = NO_TIME_MS
    slot, is_open = int(stream["newest"]), stream["oldest_open"] != NONE
    while slot != NONE and leaves_window_at_ms(rules, int(state.buckets[slot]["start_ms"])) > time_ms:
        if not is_open and row_stats["last_closed_start_ms"] == NO_TIME_MS:
            row_stats["last_closed_start_ms"] = state.buckets[slot]["start_ms"]
        _add_bucket(state, slot, stats, i)
        if slot == stream["oldest_open"]:
            is_open = False
        slot = int(state.buckets[slot]["older"])


@inlined
def _add_bucket(state: State, slot: int, stats: npt.NDArray[np.void], i: int) -> None:
    row_stats, bucket = stats[i], state.buckets[slot]
    row_stats["peak"] = max(int(row_stats["peak"]), int(bucket["peak"]))
    row_stats["buffer_events"] += bucket["buffer_events"]
    row_stats["stall_ms"] += bucket["stall_ms"]
    if bucket["bitrate_samples"] == 0:
        return
    if row_stats["bitrate_samples"] == 0:
        row_stats["bitrate_min_bps"] = bucket["bitrate_min_bps"]
        row_stats["bitrate_max_bps"] = bucket["bitrate_max_bps"]
    else:
        row_stats["bitrate_min_bps"] = min(int(row_stats["bitrate_min_bps"]), int(bucket["bitrate_min_bps"]))
        row_stats["bitrate_max_bps"] = max(int(row_stats["bitrate_max_bps"]), int(bucket["bitrate_max_bps"]))
    row_stats["bitrate_samples"] += bucket["bitrate_samples"]
    row_stats["bitrate_sum_high"] += bucket["bitrate_sum_high"]
    low = int(row_stats["bitrate_sum_low"]) - LIMB + int(bucket["bitrate_sum_low"])
    if low >= 0:
        row_stats["bitrate_sum_high"] += 1
    row_stats["bitrate_sum_low"] = low if low >= 0 else low + LIMB


@compiled
def rows_in_use(state: State, rows: npt.NDArray[np.int64]) -> int:
    """Write the stream rows in use; returns how many there are."""
    size = 0
    for row in range(state.head[0]["streams_used"]):
        if state.streams[row]["id_size"] >= 0:
            rows[size] = row
            size += 1
    return size


@compiled
def window_buckets(rules: WindowRules, state: State, row: int, slots: npt.NDArray[np.int64]) -> int:
    """Write the slots of a stream's buckets in the window, newest first; returns how many there are."""
    stream = state.streams[row]
    time_ms = latest_ms(state, row)
    size, slot = 0, int(stream["newest"])
    while slot != NONE and leaves_window_at_ms(rules, int(state.buckets[slot]["start_ms"])) > time_ms:
        slots[size] = slot
        size += 1
        slot = int(state.buckets[slot]["older"])
    return size
