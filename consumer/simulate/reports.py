"""What players put into one record: bare heartbeats, and stalls that are reported together with a bitrate.

Which events are changed depends only on the seed and the event's number, as in `noise`.
"""

from dataclasses import dataclass

import numpy as np

from consumer.errors import UsageError
from consumer.simulate.audience import LADDER_BPS
from consumer.simulate.batch import EventBatch
from consumer.simulate.scatter import salt, uniform
from consumer.windows.events import BITRATE, BUFFER, HEARTBEAT

_REPORTS = 200
"""The purpose under which the changes are drawn from the seed, and the two behind it."""


@dataclass(frozen=True)
class ReportRules:
    """How much of each; zero means that every record says one thing. Shares are from 0 to 1."""

    heartbeats: float = 0.0
    """Share of the bitrate reports that come as heartbeats instead."""
    combined: float = 0.0
    """Share of the stalls that are reported in one record with a bitrate."""

    def __post_init__(self) -> None:
        for name in ("heartbeats", "combined"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise UsageError(f"{name} must be a share from 0 to 1, not {share}")


class Reports:
    """Takes events in the order in which they happened; the number of events, their times and viewers stay the same."""

    def __init__(self, rules: ReportRules, seed: int) -> None:
        self._rules = rules
        self._bare, self._both, self._rung = (salt(seed, _REPORTS + n) for n in range(3))
        self._seen = 0

    def apply(self, events: EventBatch) -> EventBatch:
        """Return the events as players report them."""
        number = self._seen + np.arange(events.size)
        self._seen += events.size
        if self._rules == ReportRules():
            return events
        bare = (events.facts == BITRATE) & (uniform(number, self._bare) < self._rules.heartbeats)
        both = (events.facts == BUFFER) & (uniform(number, self._both) < self._rules.combined)
        facts = np.where(bare, HEARTBEAT, np.where(both, BITRATE | BUFFER, events.facts)).astype(np.uint8)
        drawn = LADDER_BPS[(uniform(number, self._rung) * len(LADDER_BPS)).astype(np.int64)]
        bitrate_bps = np.where(bare, 0, np.where(both, drawn, events.bitrate_bps))
        return events._replace(facts=facts, bitrate_bps=bitrate_bps)
