"""A seeded audience: viewers who join, watch, stall and leave, as columns of events. Pure: it knows only event time."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from consumer.simulate.batch import EventBatch, concatenate
from consumer.simulate.programme import OUTAGE_LENGTH_MS, Cast, Programme, draw_programme
from consumer.windows.events import BITRATE, BUFFER, JOIN, LEAVE

HEARTBEAT_MS = 30_000
"""The interval between two bitrate reports of a viewer."""

LADDER_BPS = np.array([400_000, 800_000, 1_600_000, 3_000_000, 4_500_000, 6_000_000, 9_000_000, 16_000_000], np.int64)
"""The renditions; a viewer goes up one step at a time without congestion, and down with it."""

TICK_MS = 1_000
"""Events are drawn per tick, so that they do not depend on the size of steps."""

LONGEST_STALL_MS = 30_000
STALLS_PER_VIEWER_SECOND = 0.05
"""Rate at full congestion."""

_GONE = 128
"""Internal fact: a viewer left without an event; it keeps the true count correct."""

_PRESENT = np.dtype(
    [
        ("leave_ms", np.int64),
        ("beat_ms", np.int64),
        ("viewer", np.int64),
        ("stream", np.int32),
        ("rung", np.int8),
        ("silent", np.bool_),
    ],
    align=True,
)
Rows = npt.NDArray[np.void]
Mask = npt.NDArray[np.bool_]


class _Back(NamedTuple):
    """Viewers that an outage disconnected and who will return."""

    at_ms: npt.NDArray[np.int64]
    rows: Rows

    def split(self, before_ms: int) -> tuple["_Back", "_Back"]:
        due = self.at_ms < before_ms
        return _Back(self.at_ms[due], self.rows[due]), _Back(self.at_ms[~due], self.rows[~due])


class Audience:
    """The viewers of one programme. The same cast, start and seed give the same events, whatever the steps.

    Memory grows with the viewers present, not with time.
    """

    def __init__(self, cast: Cast, start_ms: int, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self.programme: Programme = draw_programme(cast, start_ms, self._rng)
        self._cast = cast
        self._drawn_to_ms = start_ms
        self._rows: Rows = np.zeros(1024, _PRESENT)
        self._held = 0
        self._back = _Back(np.empty(0, np.int64), np.empty(0, _PRESENT))
        self._next_viewer = 0
        self._counts = np.zeros(cast.streams, np.int64)
        self._ahead: list[EventBatch] = []

    def step(self, to_ms: int) -> EventBatch:
        """Return all events from the end of the last step up to `to_ms` (exclusive), ordered by time."""
        while self._drawn_to_ms < to_ms:
            self._ahead.append(self._tick(self._drawn_to_ms))
            self._drawn_to_ms += TICK_MS
        drawn = concatenate(self._ahead)
        split = int(np.searchsorted(drawn.timestamp_ms, to_ms))
        self._ahead = [drawn.take(slice(split, None))] if split < drawn.size else []
        now = drawn.take(slice(0, split))
        self._count(now)
        return now.take(now.facts != _GONE)

    def present(self) -> npt.NDArray[np.int64]:
        """Return the true number of viewers of each stream at the end of the last step."""
        return self._counts.copy()

    def _count(self, events: EventBatch) -> None:
        streams = len(self._counts)
        came = events.stream[events.facts == JOIN]
        went = events.stream[(events.facts == LEAVE) | (events.facts == _GONE)]
        self._counts += np.bincount(came, minlength=streams) - np.bincount(went, minlength=streams)

    def _tick(self, at_ms: int) -> EventBatch:
        self._break_if_outage(at_ms)
        here_before = self._held
        joins = [self._newcomers(at_ms), self._returners(at_ms)]
        congestion = self.programme.congestion(at_ms)
        parts = [
            *joins,
            self._stalls(at_ms, here_before, congestion),
            self._beats(at_ms, congestion),
            self._leaves(at_ms),
        ]
        events = concatenate(parts)
        return events.take(np.argsort(events.timestamp_ms, kind="stable"))

    def _newcomers(self, at_ms: int) -> EventBatch:
        rng = self._rng
        arriving = rng.poisson(self.programme.arrivals_per_second(at_ms) * (TICK_MS / 1000))
        stream = np.repeat(np.arange(len(arriving), dtype=np.int32), arriving)
        rows = np.zeros(len(stream), _PRESENT)
        join_ms = at_ms + rng.integers(0, TICK_MS, len(rows))
        stay = rng.lognormal(np.log(self._cast.session_median_ms), self._cast.session_sigma, len(rows))
        over = self.programme.ends_ms(stream, join_ms) + (rng.exponential(15_000, len(rows))).astype(np.int64)
        rows["stream"] = stream
        rows["viewer"] = self._next_viewer + np.arange(len(rows))
        rows["leave_ms"] = np.maximum(np.minimum(join_ms + stay.astype(np.int64), over), join_ms + 1)
        rows["rung"] = rng.integers(1, len(LADDER_BPS), len(rows))
        self._next_viewer += len(rows)
        return self._enter(rows, join_ms)

    def _returners(self, at_ms: int) -> EventBatch:
        due, self._back = self._back.split(at_ms + TICK_MS)
        return self._enter(due.rows, due.at_ms)

    def _enter(self, rows: Rows, join_ms: npt.NDArray[np.int64]) -> EventBatch:
        """Add viewers; their first report comes half a second to two seconds after the join."""
        rows["beat_ms"] = join_ms + self._rng.integers(500, 2_000, len(rows))
        end = self._held + len(rows)
        if end > len(self._rows):
            self._rows = np.resize(self._rows, max(end, 2 * len(self._rows)))
        self._rows[self._held : end] = rows
        self._held = end
        return _events(rows, join_ms, JOIN)

    def _beats(self, at_ms: int, congestion: npt.NDArray[np.float64]) -> EventBatch:
        """Return the bitrate reports that are due; each may change the bitrate first."""
        here = self._rows[: self._held]
        due = np.flatnonzero(here["beat_ms"] < at_ms + TICK_MS)
        rows = here[due]
        rng = self._rng
        trouble = congestion[rows["stream"]]
        move = np.where(rng.random(len(rows)) < trouble, -2, rng.integers(-1, 2, len(rows)))
        rows["rung"] = np.clip(rows["rung"] + move, 0, len(LADDER_BPS) - 1)
        bitrate = LADDER_BPS[rows["rung"]] * rng.uniform(0.93, 1.07, len(rows))
        beat_ms = rows["beat_ms"].copy()
        rows["beat_ms"] += HEARTBEAT_MS
        here[due] = rows
        watched = beat_ms < rows["leave_ms"]
        return _events(rows[watched], beat_ms[watched], BITRATE, bitrate[watched].astype(np.int64))

    def _stalls(self, at_ms: int, candidates: int, congestion: npt.NDArray[np.float64]) -> EventBatch:
        """Return buffer events: as many candidates as full congestion would cause, thinned by the real congestion."""
        rng = self._rng
        tries = rng.binomial(candidates, STALLS_PER_VIEWER_SECOND * TICK_MS / 1000)
        rows = self._rows[rng.integers(0, candidates, tries)] if candidates else self._rows[:0]
        when = at_ms + rng.integers(0, TICK_MS, len(rows))
        length = np.clip(rng.lognormal(np.log(900), 1.1, len(rows)), 50, LONGEST_STALL_MS).astype(np.int64)
        stalled = (rng.random(len(rows)) < congestion[rows["stream"]]) & (when < rows["leave_ms"])
        return _events(rows[stalled], when[stalled], BUFFER, length[stalled])

    def _leaves(self, at_ms: int) -> EventBatch:
        """Remove viewers whose session ends; the last rows move into their places."""
        here = self._rows[: self._held]
        leaving: Mask = here["leave_ms"] < at_ms + TICK_MS
        gone = here[leaving]
        kept = self._held - len(gone)
        here[:kept][leaving[:kept]] = here[kept:][~leaving[kept:]]
        self._held = kept
        leaves = _events(gone, gone["leave_ms"], LEAVE)
        leaves.facts[gone["silent"]] = _GONE
        return leaves

    def _break_if_outage(self, at_ms: int) -> None:
        """If an outage begins, disconnect most viewers of a region; half of them send no leave, most return."""
        begin = self.programme.outage_begins(at_ms, at_ms + TICK_MS)
        if begin is None:
            return
        here = self._rows[: self._held]
        rng = self._rng
        hit = np.flatnonzero(self.programme.hit(begin)[here["stream"]] & (rng.random(len(here)) < 0.7))
        thrown = here[hit]
        end_ms = begin + OUTAGE_LENGTH_MS
        back_ms = end_ms + rng.exponential(8_000, len(hit)).astype(np.int64)
        returns = (rng.random(len(hit)) < 0.85) & (thrown["leave_ms"] > back_ms)
        self._back = _Back(
            np.concatenate([self._back.at_ms, back_ms[returns]]), np.concatenate([self._back.rows, thrown[returns]])
        )
        out_ms = begin + TICK_MS + rng.integers(0, 5_000, len(hit))
        thrown["silent"] = (rng.random(len(hit)) < 0.5) & (out_ms < thrown["leave_ms"])
        thrown["leave_ms"] = np.minimum(thrown["leave_ms"], out_ms)
        here[hit] = thrown


def _events(
    rows: Rows, when_ms: npt.NDArray[np.int64], fact: int, sample: npt.NDArray[np.int64] | None = None
) -> EventBatch:
    """Events that say one thing, with the sample that belongs to it."""
    count = len(rows)
    when = when_ms.astype(np.int64)
    none = np.zeros(count, np.int64)
    return EventBatch(
        arrival_ms=when,
        timestamp_ms=when,
        stream=rows["stream"].copy(),
        viewer=rows["viewer"].copy(),
        facts=np.full(count, fact, np.uint8),
        bitrate_bps=none if sample is None or fact != BITRATE else sample,
        duration_ms=none if sample is None or fact != BUFFER else sample,
    )
