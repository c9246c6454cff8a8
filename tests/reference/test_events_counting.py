"""The judge of events counting against the golden cases of kinds, before anything is compared with the judge."""

from typing import Any

import pytest

from tests.aggregate.files import golden
from tests.reference.events_counting import Closed, Event, Reference, Rules

CASES = [case for case in golden("kinds.jsonl") if case["settings"]["counting"] == "events"]


def golden_summary(closed: Closed) -> dict[str, Any]:
    bitrates, stalls_ms = closed.bucket.bitrates, closed.bucket.stalls_ms
    return {
        "bucket_start_ms": closed.bucket.start_ms,
        "peak_concurrent_viewers": closed.bucket.peak,
        "joins": closed.bucket.joins,
        "leaves": closed.bucket.leaves,
        "bitrate_sample_count": len(bitrates),
        "bitrate_sum_bps": sum(bitrates),
        "buffer_event_count": len(stalls_ms),
        "buffer_stall_ms": sum(stalls_ms),
        "close_reason": closed.reason,
    }


@pytest.mark.parametrize("case", CASES)
def test_the_judge_agrees_with_the_golden_file(case: dict[str, Any]) -> None:
    rules = {key: value for key, value in case["settings"].items() if key != "counting"}
    reference = Reference(Rules(**rules))
    for stream_id, _, timestamp_ms, *rest in case["events"]:
        reference.apply(Event(stream_id, rest[0], timestamp_ms, *rest[1:]))
    for stream_id, expect in case["expect"].items():
        assert reference.time_of(stream_id) == expect["time"]
        assert reference.streams[stream_id].viewers == expect["live"]
    reference.close_all()
    for stream_id, expect in case["expect"].items():
        closed = [golden_summary(each) for each in reference.closed if each.stream_id == stream_id]
        assert closed == [{key: summary[key] for key in closed[0]} for summary in expect["summaries"]]
