"""How much a worker does per second, over the last seconds."""

from collections import deque
from collections.abc import Mapping

RATE_OVER_S = 10.0
MOST_SAMPLES = 64


class RateMeter:
    """Keeps the totals of the last seconds; called by the loop."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, Mapping[str, float]]] = deque(maxlen=MOST_SAMPLES)

    def add(self, now_s: float, totals: Mapping[str, float]) -> Mapping[str, float]:
        """Add the totals of this moment; return the rates per second since the oldest sample, empty at the first."""
        self._samples.append((now_s, totals))
        while now_s - self._samples[0][0] > RATE_OVER_S:
            self._samples.popleft()
        then_s, before = self._samples[0]
        if now_s <= then_s:
            return {}
        return {name: (total - before[name]) / (now_s - then_s) for name, total in totals.items()}
