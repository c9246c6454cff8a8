"""One record closes 100,000 buckets of one partition."""

import pytest

from tests.end_to_end.events import encoded
from tests.end_to_end.stage import Record, counted, running, stage
from tests.reference.events_counting import Event, Rules
from tests.support.waiting import until

STREAMS = 100_000
RULES = Rules(window_duration_ms=10_000, bucket_ms=10_000, grace_ms=0, stream_idle_ms=1_000)
POLL_GAP_AT_MOST_S = 5.0
"""A second on a quiet machine; tests run on busy machines."""


@pytest.mark.slow
def test_one_record_closes_a_hundred_thousand_buckets(bootstrap_servers: str) -> None:
    names = [f"stream {number}" for number in range(STREAMS)]
    with stage(bootstrap_servers, 1, RULES) as kafka:
        kafka.write(Record(None, encoded(Event(name, "J", 5_000))) for name in names)
        kafka.write([Record(None, encoded(Event("the last", "J", 50_000)))])
        with running(kafka.settings()) as service:
            kafka.wait_until_all_is_committed(within_s=60)
            # From the first piece of the jump on, the offsets are behind the record.
            until(
                lambda: counted(service, "summaries_total", close_reason="STREAM_IDLE") == STREAMS,
                "all summaries are published",
                60,
            )
            gap_s = counted(service, "largest_poll_gap_seconds")
            aborts = counted(service, "aborts_total", error="_QUEUE_FULL")
        summaries = kafka.summaries(within_s=60)
    print(f"largest gap between polls: {gap_s:.3f} s")  # noqa: T201  # shown if the test fails, or on demand
    assert sorted(each["stream_id"] for each in summaries) == sorted(names)
    assert {(each["offset"], each["joins"], each["close_reason"]) for each in summaries} == {
        (STREAMS, 1, "STREAM_IDLE")
    }
    assert aborts == 0
    assert gap_s < POLL_GAP_AT_MOST_S
