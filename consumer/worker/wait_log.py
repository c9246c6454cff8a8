"""Log why partitions wait: at most one line a reason and minute, whatever the number of partitions."""

from collections.abc import Callable

import structlog

from consumer.observe.rate_limit import RateLimit

_log = structlog.get_logger(__name__)


class WaitLog:
    """Call `note` as often as is convenient.

    Args:
        monotonic_s: the clock.
    """

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._limit = RateLimit(monotonic_s)

    def note(self, partition: int, reason: str) -> None:
        """A partition waits; with an empty reason there is nothing to log yet."""
        if reason and self._limit.admit(reason) is not None:
            _log.warning("partition waits", partition=partition, reason=reason)
