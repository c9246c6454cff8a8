"""The audience does all that counting by viewer has a rule for: else a run would prove less than it says."""

from collections import Counter

from tests.chaos.counting import BY_VIEWER, RULES
from tests.chaos.producer import EventSource
from tests.end_to_end.viewings import decoded
from tests.reference.sessions_counting import Reference, Rules, Stats

STEPS = 300
"""What is written in half a minute: event time runs faster."""


def test_the_audience_joins_leaves_falls_silent_comes_late_and_past_the_limits() -> None:
    source, reference = EventSource(11, 1), Reference(Rules(**vars(RULES), **BY_VIEWER))
    statuses: Counter[str] = Counter()
    forgotten: set[str] = set()
    for _ in range(STEPS):
        for record in source.step():
            before = set(reference.streams)
            if record.headers:
                statuses["reject"] += 1
            else:
                statuses[reference.apply(decoded(record.value or b""))] += 1
            forgotten |= before - reference.streams.keys()
    assert statuses["accepted"] > 10 * statuses["late"] > 0
    assert statuses["reject"]
    assert reference.untracked
    assert forgotten
    assert {closed.reason for closed in reference.closed} == {"WATERMARK", "STREAM_IDLE"}
    totals = Stats(*map(sum, zip(*(closed.stats for closed in reference.closed), strict=True)))
    assert all(totals), totals
