"""What is on, when: channels, live events, ad breaks and outages as curves over event time. Pure, no state.

Channels run all the time and breathe slowly. Live events fill up within minutes and empty at their end; the next
one of the same stream follows after a pause. Ad breaks and outages come at fixed distances from the start.
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
"""In this time from the start the channels get the viewers that they would have had already."""

REGIONS = 4
OUTAGE_FIRST_MS = 4 * MINUTE_MS
OUTAGE_PERIOD_MS = 15 * MINUTE_MS
OUTAGE_LENGTH_MS = 30 * SECOND_MS

EVENT_FILL_SHARE = 0.35
"""Part of a live event's time in which most of its audience comes."""

CALM = 0.02
AD_BREAK = 0.35
CROWD = 0.2


@dataclass(frozen=True)
class Cast:
    """How large an audience is, on how many streams, and how long its people stay."""

    streams: int = 300
    viewers: int = 10_000
    """About so many at the same time once channels are warm and live events full."""
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
        """Mean of the log-normal session lengths."""
        return self.session_median_ms * float(np.exp(self.session_sigma**2 / 2))


@dataclass(frozen=True)
class Programme:
    """The timetable of all streams, drawn once from a seed; arrays have one entry a stream, the most popular first."""

    start_ms: int
    stream_ids: tuple[str, ...]
    session_mean_ms: float
    viewers: Floats
    is_event: npt.NDArray[np.bool_]
    period_ms: Ints
    """From one live event to the next, and from one ad break to the next; for channels also of their slow breath."""
    offset_ms: Ints
    length_ms: Ints
    """Of a live event."""
    ad_period_ms: Ints
    ad_length_ms: Ints
    region: Ints

    def arrivals_per_second(self, at_ms: int) -> Floats:
        """New viewers a second for each stream."""
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
        """How badly each stream plays, from 0 to 1: lowers bitrates and makes stalls."""
        elapsed = at_ms - self.start_ms
        phase = (elapsed + self.offset_ms) % self.period_ms
        filling = self.is_event & (phase < self.length_ms * EVENT_FILL_SHARE)
        level = np.where(filling, CROWD, CALM)
        level[(elapsed + self.offset_ms) % self.ad_period_ms < self.ad_length_ms] = AD_BREAK
        level[self.hit(at_ms)] = 1.0
        return level

    def ends_ms(self, stream: npt.NDArray[np.int32], at_ms: Ints) -> Ints:
        """When what is on at a time is over; channels never end."""
        phase = (at_ms - self.start_ms + self.offset_ms[stream]) % self.period_ms[stream]
        never = np.iinfo(np.int64).max // 2
        return np.where(self.is_event[stream], at_ms - phase + self.length_ms[stream], never)

    def outage_begins(self, from_ms: int, to_ms: int) -> int | None:
        """The time in [from, to) at which an outage begins, if one does."""
        since = from_ms - self.start_ms - OUTAGE_FIRST_MS
        index = max(0, -(-since // OUTAGE_PERIOD_MS))
        begin = self.start_ms + OUTAGE_FIRST_MS + index * OUTAGE_PERIOD_MS
        return begin if begin < to_ms else None

    def hit(self, at_ms: int) -> npt.NDArray[np.bool_]:
        """The streams that an outage holds at a time: those of one region, the regions taking turns."""
        since = at_ms - self.start_ms - OUTAGE_FIRST_MS
        if since < 0 or since % OUTAGE_PERIOD_MS >= OUTAGE_LENGTH_MS:
            return np.zeros(len(self.region), np.bool_)
        held: npt.NDArray[np.bool_] = self.region == (since // OUTAGE_PERIOD_MS) % REGIONS
        return held


def draw_programme(cast: Cast, start_ms: int, rng: np.random.Generator) -> Programme:
    """A timetable for this cast."""
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
    """How far on each stream stands in its timetable at the start: the largest event has just begun."""
    offsets = rng.integers(0, 12 * MINUTE_MS, len(is_event))
    offsets[np.argmax(is_event)] = 0
    return offsets


def _bell(phase: Ints, fill_ms: Floats) -> Floats:
    """Share of an event's audience that comes per millisecond: up, a summit half way, down; the whole adds up to 1."""
    inside = phase < fill_ms
    return np.where(inside, 2.0 / fill_ms * np.sin(np.pi * phase / fill_ms) ** 2, 0.0)
