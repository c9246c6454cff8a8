"""Log rejected records: at most one line a reason and minute, with their number and one example's place."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from consumer.observe.rate_limit import LINE_EVERY_S

_log = structlog.get_logger(__name__)


class Example(NamedTuple):
    """One of the records, and why it is rejected."""

    partition: int
    offset: int
    message: str
    schema: str


@dataclass
class _Unreported:
    """What was rejected for one reason since its last line."""

    line_s: float
    count: int = 0
    example: Example | None = None


class RejectLog:
    """Counts rejected records by reason; reasons come from a closed list.

    Args:
        topic: of the records.
        monotonic_s: the clock.
    """

    def __init__(self, topic: str, monotonic_s: Callable[[], float]) -> None:
        self._topic = topic
        self._monotonic_s = monotonic_s
        self._reasons: dict[str, _Unreported] = {}
        self._next_line_s = float("inf")

    def add(self, reason: str, count: int, example: Example) -> None:
        """Count records of one reason; the first ones are reported at once."""
        unreported = self._reasons.setdefault(reason, _Unreported(float("-inf")))
        unreported.count += count
        unreported.example = unreported.example or example
        self._next_line_s = min(self._next_line_s, unreported.line_s + LINE_EVERY_S)
        self.turn()

    def turn(self) -> None:
        """Call often: reports what is due."""
        now_s = self._monotonic_s()
        if now_s >= self._next_line_s:
            self._report(now_s - LINE_EVERY_S)

    def flush(self) -> None:
        """Report all that is left, at the end."""
        self._report(float("inf"))

    def _report(self, before_s: float) -> None:
        """Report the reasons whose last line is not younger than that."""
        for reason, unreported in self._reasons.items():
            example = unreported.example
            if example is None or unreported.line_s > before_s:
                continue
            _log.warning(
                "records rejected",
                reason=reason,
                count=unreported.count,
                topic=self._topic,
                partition=example.partition,
                offset=example.offset,
                message=example.message,
                **({"schema": example.schema} if example.schema else {}),
            )
            self._reasons[reason] = _Unreported(self._monotonic_s())
        due_s = (each.line_s + LINE_EVERY_S for each in self._reasons.values() if each.count)
        self._next_line_s = min(due_s, default=float("inf"))
