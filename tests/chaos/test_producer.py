"""The audience does all that counting by viewer has a rule for: else a run would prove less than it says."""

from collections import Counter

from tests.chaos.counting import BY_VIEWER, RULES
from tests.chaos.producer import JUMP_MS, PartitionEvents
from tests.end_to_end.viewings import decoded
from tests.reference.sessions_counting import Reference, Rules, Stats

STEPS = 300
"""What is written in half a minute: event time runs faster."""


def test_the_audience_joins_leaves_falls_silent_comes_late_and_past_the_limits() -> None:
    source, reference = PartitionEvents(11, 0), Reference(Rules(**vars(RULES), **BY_VIEWER))
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


def test_a_burst_is_many_streams_of_one_viewer_that_close_at_one_record() -> None:
    events, reference = PartitionEvents(11, 3), Reference(Rules(**vars(RULES), **BY_VIEWER))
    records = [*events.step(), *events.burst(40), *events.burst(10), *events.step()]
    assert {record.partition for record in records} == {3}
    assert len({record.key for record in records if b"burst" in (record.key or b"")}) == 50
    for offset, record in enumerate(records):
        if not record.headers:
            reference.apply(decoded(record.value or b""), offset)
    at_the_far_record = [each for each in reference.closed if each.reason == "STREAM_IDLE"]
    assert sum("burst" in each.stream_id for each in at_the_far_record) >= 50
    assert reference.partition_time_ms is not None
    assert reference.partition_time_ms - decoded(records[0].value or b"").timestamp_ms > 1.9 * JUMP_MS
