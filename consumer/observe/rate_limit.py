"""Let one line of a kind pass in a while, and count the others."""

from collections import OrderedDict
from collections.abc import Callable

LINE_EVERY_S = 60.0
"""Interval of lines of one kind."""

MAX_KINDS = 100
"""Limit of kinds remembered; the oldest is forgotten."""


class RateLimit:
    """At most one line of each kind every `LINE_EVERY_S`.

    Args:
        monotonic_s: the clock.
    """

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._kinds: OrderedDict[str, tuple[float, int]] = OrderedDict()
        """When a line of the kind passed, and how many were left out since; by age, oldest first."""

    def admit(self, kind: str) -> int | None:
        """The number of lines of this kind left out since the last one that passed; None if this one is left out."""
        now_s = self._monotonic_s()
        passed_s, left_out = self._kinds.get(kind, (float("-inf"), 0))
        if now_s - passed_s < LINE_EVERY_S:
            self._kinds[kind] = passed_s, left_out + 1
            return None
        self._kinds.pop(kind, None)
        self._kinds[kind] = now_s, 0
        if len(self._kinds) > MAX_KINDS:
            self._kinds.popitem(last=False)
        return left_out
