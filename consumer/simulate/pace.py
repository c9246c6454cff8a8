"""How far event time may have advanced, given the wall clock."""

import sys
from typing import NamedTuple

from consumer.simulate.options import FAST, SimulateOptions

_LONGEST_FAST_MS = 24 * 60 * 60 * 1000
"""How long ago a fast run without a duration begins, so that it does not reach the future."""


class Pace(NamedTuple):
    """Event time `start_ms` belongs to wall time `began_ms`; from there it runs `speed` times as fast."""

    start_ms: int
    began_ms: int
    speed: float

    def reach_ms(self, now_ms: int) -> int:
        """Return the event time up to which events are due."""
        if self.speed == FAST:
            return sys.maxsize
        return self.start_ms + int((now_ms - self.began_ms) * self.speed)

    def wait_s(self, until_ms: int, now_ms: int) -> float:
        """Return the seconds of wall time until the event time is due."""
        return max(0.0, (until_ms - self.reach_ms(now_ms)) / self.speed / 1000)


def choose_pace(options: SimulateOptions, now_ms: int) -> Pace:
    """Choose where event time begins; it never overtakes the wall clock, since such events would be rejected."""
    if options.start_ms is not None:
        return Pace(options.start_ms, now_ms, options.pace)
    if options.pace == 1:
        start_ms = now_ms - options.history_ms
        return Pace(start_ms, start_ms, options.pace)
    if 0 < options.pace < 1:
        return Pace(now_ms, now_ms, options.pace)
    return Pace(now_ms - (options.duration_ms or _LONGEST_FAST_MS), now_ms, options.pace)
