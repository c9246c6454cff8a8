"""The judge of sessions counting against the golden file, before anything is compared with the judge."""

from typing import Any

import pytest

from tests.aggregate.files import golden
from tests.reference.sessions_counting import Closed, Event, Reference, Rules

CASES = golden("sessions.jsonl") + [
    case for case in golden("kinds.jsonl") if case["settings"]["counting"] == "sessions"
]


def rules_of(case: dict[str, Any]) -> Rules:
    return Rules(**{key: value for key, value in case["settings"].items() if key != "counting"})


def golden_summary(closed: Closed, rules: Rules) -> dict[str, Any]:
    bitrates, stats = closed.bucket.bitrates, closed.stats
    return {
        "bucket_start_ms": closed.bucket.start_ms,
        "bucket_end_ms": closed.bucket.start_ms + rules.bucket_ms,
        "peak_concurrent_viewers": stats.peak,
        "joins": stats.joins,
        "leaves": stats.leaves,
        "timeouts": stats.timeouts,
        "unique_viewers": stats.unique_viewers,
        "viewer_ms": stats.viewer_ms,
        "avg_concurrent_viewers": stats.viewer_ms / rules.bucket_ms,
        "viewers_at_end": stats.viewers_at_end,
        "avg_bitrate_bps": sum(bitrates) / len(bitrates) if bitrates else 0.0,
        "min_bitrate_bps": min(bitrates, default=0),
        "max_bitrate_bps": max(bitrates, default=0),
        "bitrate_sample_count": len(bitrates),
        "bitrate_sum_bps": sum(bitrates),
        "buffer_event_count": len(closed.bucket.stalls_ms),
        "buffer_stall_ms": sum(closed.bucket.stalls_ms),
        "close_reason": closed.reason,
    }


@pytest.mark.parametrize("number", range(len(CASES)))
def test_the_judge_agrees_with_the_golden_file(number: int) -> None:
    case, rules = CASES[number], rules_of(CASES[number])
    reference = Reference(rules)
    for event in case["events"]:
        reference.apply(Event(*event))
    for stream_id, expect in case["expect"].items():
        assert reference.late[stream_id] == expect["late"]
        assert reference.time_of(stream_id) == expect["time"]
        assert reference.live(stream_id) == expect["live"]
    reference.close_all()
    for stream_id, expect in case["expect"].items():
        closed = [golden_summary(each, rules) for each in reference.closed if each.stream_id == stream_id]
        assert closed == expect["summaries"]
