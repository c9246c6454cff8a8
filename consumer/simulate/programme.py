"""The programme: channels, live events, ad breaks and outages as curves over event time. Pure, without state.

Channels run all the time and vary slowly. Live events fill up within minutes and empty at their end; the next one of
the same stream follows after a pause. Ad breaks and outages come at fixed times after the start.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from consumer.errors import UsageError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS

WARM_UP_MS = 45 * SECOND_MS
"""In this time after the start, channels get the viewers that they would have had before."""

REGIONS = 4
OUTAGE_FIRST_MS = 4 * MINUTE_MS
OUTAGE_PERIOD_MS = 15 * MINUTE_MS
OUTAGE_LENGTH_MS = 30 * SECOND_MS

EVENT_FILL_SHARE = 0.35
"""Share of a live event's length in which most of its audience joins."""

CALM = 0.02
AD_BREAK = 0.35
CROWD = 0.2


@dataclass(frozen=True)
class Cast:
    """The size of an audience, its number of streams, and the length of its sessions."""

    streams: int = 300
    viewers: int = 10_000
    """Approximate concurrent viewers once channels are warm and live events are full."""
    zipf_exponent: float = 1.0
    session_median_ms: int = 6 * MINUTE_MS
    session_sigma: float = 1.0
    """Spread of the log-normal session lengths."""

    def __post_init__(self) -> None:
        for name, most in (("streams", 10_000_000), ("viewers", 100_000_000)):
            if not 1 <= getattr(self, name) <= most:
                raise UsageError(f"{name} must be from 1 to {most}, not {getattr(self, name)}")

    @property
    def session_mean_ms(self) -> float:
        """The mean of the log-normal session lengths."""
        return self.session_median_ms * float(np.exp(self.session_sigma**2 / 2))


@dataclass(frozen=True)
class Programme:
    """The timetable of all streams, drawn once from a seed; arrays have one entry per stream, by popularity."""

    start_ms: int
    stream_ids: tuple[str, ...]
    session_mean_ms: float
    viewers: Floats
    is_event: npt.NDArray[np.bool_]
    period_ms: Ints
    """Time between live events, or between ad breaks; for channels also the period of their variation."""
    offset_ms: Ints
    length_ms: Ints
    """Length of a live event."""
    ad_period_ms: Ints
    ad_length_ms: Ints
    region: Ints

    def arrivals_per_second(self, at_ms: int) -> Floats:
        """Return the new viewers per second of each stream."""
        elapsed = at_ms - self.start_ms
        phase = (elapsed + self.offset_ms) % self.period_ms
        steady = self.viewers / self.session_mean_ms * SECOND_MS
        breath = 1.0 + 0.2 * np.sin(2 * np.pi * phase / self.period_ms)
        channel = steady * breath
        if elapsed < WARM_UP_MS:
            channel = channel + self.viewers / WARM_UP_MS * SECOND_MS
        fill_ms = self.length_ms.astype(np.float64) * EVENT_FILL_SHARE
        filling = self.viewers * _bell(phase, fill_ms) * SECOND_MS
        event = np.where(phase < self.length_ms, filling + steady, 0.0)
        rate: Floats = np.where(self.is_event, event, channel)
        return np.where(self.hit(at_ms), rate * 0.05, rate)

    def congestion(self, at_ms: int) -> Floats:
        """Return the congestion of each stream, from 0 to 1: it lowers bitrates and causes stalls."""
        elapsed = at_ms - self.start_ms
        phase = (elapsed + self.offset_ms) % self.period_ms
        filling = self.is_event & (phase < self.length_ms * EVENT_FILL_SHARE)
        level = np.where(filling, CROWD, CALM)
        level[(elapsed + self.offset_ms) % self.ad_period_ms < self.ad_length_ms] = AD_BREAK
        level[self.hit(at_ms)] = 1.0
        return level

    def ends_ms(self, stream: npt.NDArray[np.int32], at_ms: Ints) -> Ints:
        """Return when what runs at a time ends; channels never end."""
        phase = (at_ms - self.start_ms + self.offset_ms[stream]) % self.period_ms[stream]
        never = np.iinfo(np.int64).max // 2
        return np.where(self.is_event[stream], at_ms - phase + self.length_ms[stream], never)

    def outage_begins(self, from_ms: int, to_ms: int) -> int | None:
        """Return the time in [from, to) at which an outage begins; None if there is none."""
        since = from_ms - self.start_ms - OUTAGE_FIRST_MS
        index = max(0, -(-since // OUTAGE_PERIOD_MS))
        begin = self.start_ms + OUTAGE_FIRST_MS + index * OUTAGE_PERIOD_MS
        return begin if begin < to_ms else None

    def hit(self, at_ms: int) -> npt.NDArray[np.bool_]:
        """Return the streams of the one region that an outage hits at a time; the regions take turns."""
        since = at_ms - self.start_ms - OUTAGE_FIRST_MS
        if since < 0 or since % OUTAGE_PERIOD_MS >= OUTAGE_LENGTH_MS:
            return np.zeros(len(self.region), np.bool_)
        held: npt.NDArray[np.bool_] = self.region == (since // OUTAGE_PERIOD_MS) % REGIONS
        return held


def draw_programme(cast: Cast, start_ms: int, rng: np.random.Generator) -> Programme:
    """Draw a timetable for this cast."""
    count = cast.streams
    rank = np.arange(1, count + 1)
    weight = rank**-cast.zipf_exponent
    is_event = rank % 4 == 2
    width = max(4, len(str(count)))
    return Programme(
        start_ms=start_ms,
        stream_ids=tuple(f"{'event' if is_event[i] else 'channel'}-{i + 1:0{width}d}" for i in range(count)),
        session_mean_ms=cast.session_mean_ms,
        viewers=cast.viewers * weight / weight.sum(),
        is_event=is_event,
        period_ms=rng.integers(12, 25, count) * MINUTE_MS,
        offset_ms=_first_offsets(rng, is_event),
        length_ms=rng.integers(8, 11, count) * MINUTE_MS,
        ad_period_ms=rng.integers(5, 9, count) * MINUTE_MS,
        ad_length_ms=rng.integers(20, 60, count) * SECOND_MS,
        region=rng.integers(0, REGIONS, count),
    )


def _first_offsets(rng: np.random.Generator, is_event: npt.NDArray[np.bool_]) -> Ints:
    """Return the position of each stream in its timetable at the start: the largest event has just begun."""
    offsets = rng.integers(0, 12 * MINUTE_MS, len(is_event))
    offsets[np.argmax(is_event)] = 0
    return offsets


def _bell(phase: Ints, fill_ms: Floats) -> Floats:
    """Return the share of an event's audience that joins per millisecond: it rises, then falls, and sums to 1."""
    inside = phase < fill_ms
    return np.where(inside, 2.0 / fill_ms * np.sin(np.pi * phase / fill_ms) ** 2, 0.0)
