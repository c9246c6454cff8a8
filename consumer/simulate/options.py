"""The options of `simulate`, and its closing line."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from consumer.errors import UsageError
from consumer.simulate.noise import NoiseRules
from consumer.simulate.programme import Cast
from consumer.simulate.reports import ReportRules

Target = Literal["topic", "stdout", "avro", "json-lines"]

_SUFFIXES: dict[str, Target] = {".avro": "avro", ".jsonl": "json-lines", ".ndjson": "json-lines"}
FAST = 0.0
"""The speed without pacing."""


@dataclass(frozen=True)
class SimulateOptions:
    """The options of one run; raises UsageError if they conflict."""

    out: str | None = None
    """A file (.avro, .jsonl), "-" for JSON lines on stdout, or None for the input topic."""
    force: bool = False
    """Overwrite a file that exists."""
    seed: int = 1
    cast: Cast = field(default_factory=Cast)
    reports: ReportRules = field(default_factory=ReportRules)
    noise: NoiseRules = field(default_factory=NoiseRules)
    start_ms: int | None = None
    """Event time of the start; None means now, or, for a fast run, so long ago that it ends now."""
    history_ms: int = 0
    """In real time: start this long ago, and catch up at once."""
    duration_ms: int | None = None
    """Length in event time; None is until stopped, or until `max_events`."""
    max_events: int | None = None
    speed: float | None = None
    """Event time per wall time; 0 is as fast as possible; None is real time to a topic and fast to a file."""
    schema_id: int = 1
    """Registry id before every record, if input.format is confluent."""

    def __post_init__(self) -> None:
        for name, least in (("duration_ms", 1), ("max_events", 1), ("history_ms", 0), ("speed", 0), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"{name.removesuffix('_ms')} must be at least {least}, not {value}")
        if not 0 <= self.schema_id < 2**31:
            raise UsageError(f"schema id must be from 0 to 2147483647, not {self.schema_id}")
        if self.history_ms and (self.start_ms is not None or self.pace != 1):
            raise UsageError("history needs real time from now on: leave out start, and leave out speed or set it to 1")
        if self.pace > 1 or self.pace == FAST:
            self._check_it_ends()
        _ = self.target

    @property
    def target(self) -> Target:
        """Where events go."""
        if self.out is None:
            return "topic"
        if self.out == "-":
            return "stdout"
        suffix = Path(self.out).suffix
        if suffix not in _SUFFIXES:
            raise UsageError(f'cannot tell the format of "{self.out}": use one of the suffixes {", ".join(_SUFFIXES)}')
        return _SUFFIXES[suffix]

    @property
    def pace(self) -> float:
        """The effective speed."""
        if self.speed is not None:
            return self.speed
        return 1.0 if self.target == "topic" else FAST

    def _check_it_ends(self) -> None:
        if self.duration_ms is None and self.max_events is None:
            raise UsageError("a run faster than real time needs an end: give a duration or a number of events")


@dataclass(frozen=True)
class SimulateReport:
    """What a run sent."""

    where: str
    events: int
    by_type: tuple[int, ...]
    """In the order of `EVENT_TYPES`; duplicates count."""
    from_ms: int
    to_ms: int
    """Event time of the first and the last event."""
    seconds: float

    @property
    def line(self) -> str:
        """The closing line for people."""
        joins, leaves, bitrates, buffers, heartbeats, several = self.by_type
        others = f", {heartbeats:,} heartbeats" if heartbeats else ""
        others += f", {several:,} with several facts" if several else ""
        rate = self.events / self.seconds if self.seconds > 0 else 0.0
        return (
            f"{self.events:,} events to {self.where} in {self.seconds:.1f} s ({rate:,.0f}/s): {joins:,} joins, "
            f"{leaves:,} leaves, {bitrates:,} bitrate reports, {buffers:,} buffer events{others}; "
            f"{(self.to_ms - self.from_ms) / 1000:,.0f} s of event time"
        )
