"""The window view: what the gauges show of a stream, from the buckets that overlap its window."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from consumer.compiled import compiled, inlined
from consumer.windows.buckets import leaves_window_at_ms
from consumer.windows.live import live_viewers
from consumer.windows.rules import WindowRules
from consumer.windows.state import LIMB, NO_TIME_MS, NONE, State

FIGURES = np.dtype(
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


@compiled
def window_figures(
    rules: WindowRules, state: State, rows: npt.NDArray[np.int64], figures: npt.NDArray[np.void]
) -> None:
    """Fill `figures[i]` with the window of stream row `rows[i]`."""
    for i in range(len(rows)):
        _window_of(rules, state, int(rows[i]), figures, i)


@inlined
def _window_of(rules: WindowRules, state: State, row: int, figures: npt.NDArray[np.void], i: int) -> None:
    stream, figure = state.streams[row], figures[i]
    time_ms = max(int(stream["time_ms"]), int(state.head[0]["floor_ms"]))
    figure["time_ms"] = time_ms
    figure["viewers"] = live_viewers(rules, state, row)
    # Of an open bucket the peak isn't known where viewers are counted; those who watch now are the least it has.
    figure["peak"] = figure["viewers"] if rules.sessions else 0
    figure["bitrate_samples"] = 0
    figure["bitrate_sum_low"] = 0
    figure["bitrate_sum_high"] = 0
    figure["bitrate_min_bps"] = 0
    figure["bitrate_max_bps"] = 0
    figure["buffer_events"] = 0
    figure["stall_ms"] = 0
    figure["last_closed_start_ms"] = NO_TIME_MS
    slot, is_open = int(stream["newest"]), stream["oldest_open"] != NONE
    while slot != NONE and leaves_window_at_ms(rules, int(state.buckets[slot]["start_ms"])) > time_ms:
        if not is_open and figure["last_closed_start_ms"] == NO_TIME_MS:
            figure["last_closed_start_ms"] = state.buckets[slot]["start_ms"]
        _add_bucket(state, slot, figures, i)
        if slot == stream["oldest_open"]:
            is_open = False
        slot = int(state.buckets[slot]["older"])


@inlined
def _add_bucket(state: State, slot: int, figures: npt.NDArray[np.void], i: int) -> None:
    figure, bucket = figures[i], state.buckets[slot]
    figure["peak"] = max(int(figure["peak"]), int(bucket["peak"]))
    figure["buffer_events"] += bucket["buffer_events"]
    figure["stall_ms"] += bucket["stall_ms"]
    if bucket["bitrate_samples"] == 0:
        return
    if figure["bitrate_samples"] == 0:
        figure["bitrate_min_bps"] = bucket["bitrate_min_bps"]
        figure["bitrate_max_bps"] = bucket["bitrate_max_bps"]
    else:
        figure["bitrate_min_bps"] = min(int(figure["bitrate_min_bps"]), int(bucket["bitrate_min_bps"]))
        figure["bitrate_max_bps"] = max(int(figure["bitrate_max_bps"]), int(bucket["bitrate_max_bps"]))
    figure["bitrate_samples"] += bucket["bitrate_samples"]
    figure["bitrate_sum_high"] += bucket["bitrate_sum_high"]
    low = int(figure["bitrate_sum_low"]) - LIMB + int(bucket["bitrate_sum_low"])
    if low >= 0:
        figure["bitrate_sum_high"] += 1
    figure["bitrate_sum_low"] = low if low >= 0 else low + LIMB


@compiled
def live_rows(rules: WindowRules, state: State, rows: npt.NDArray[np.int64], viewers: npt.NDArray[np.int64]) -> int:
    """Write the rows in use and their viewers; returns how many there are."""
    size = 0
    for row in range(state.head[0]["streams_used"]):
        if state.streams[row]["id_size"] >= 0:
            rows[size] = row
            viewers[size] = live_viewers(rules, state, row)
            size += 1
    return size


@compiled
def window_buckets(rules: WindowRules, state: State, row: int, slots: npt.NDArray[np.int64]) -> int:
    """Write the slots of a stream's buckets in the window, newest first; returns how many there are."""
    stream = state.streams[row]
    time_ms = max(int(stream["time_ms"]), int(state.head[0]["floor_ms"]))
    size, slot = 0, int(stream["newest"])
    while slot != NONE and leaves_window_at_ms(rules, int(state.buckets[slot]["start_ms"])) > time_ms:
        slots[size] = slot
        size += 1
        slot = int(state.buckets[slot]["older"])
    return size
