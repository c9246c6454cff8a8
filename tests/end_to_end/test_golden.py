"""Golden cases through the worker on a real broker: one partition per case, one service per set of window rules."""

import math
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from consumer.observe.snapshot import Snapshot, StreamStatus
from tests.aggregate.files import golden
from tests.end_to_end.events import assert_same, encoded, judged, summary_of
from tests.end_to_end.stage import Record, Stage, running, stage
from tests.reference.events_counting import Event, Rules
from tests.support.waiting import until

AT_ONCE = 8
"""Number of services that run at once: each mostly waits for its group."""

Cases = list[dict[str, Any]]


def by_rules() -> dict[Rules, Cases]:
    grouped: dict[Rules, Cases] = defaultdict(list)
    for case in golden("sliding_window.jsonl"):
        window_ms, bucket_ms = case["window_duration_ms"], case["bucket_ms"]
        grouped[Rules(window_ms, bucket_ms, window_ms - bucket_ms)].append(case)
    return grouped


@pytest.mark.slow
def test_golden_cases(bootstrap_servers: str) -> None:
    grouped = by_rules()
    assert sum(map(len, grouped.values())) == 60
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = [pool.submit(run_cases, bootstrap_servers, rules, cases) for rules, cases in grouped.items()]
        assert sum(run.result() for run in runs) > 500


def run_cases(bootstrap_servers: str, rules: Rules, cases: Cases) -> int:
    """Run one service over all cases with the same window rules; return the number of summaries."""
    with stage(bootstrap_servers, len(cases), rules) as kafka:
        kafka.write(
            Record(None, encoded(Event(f"case {partition}", *event)), partition=partition)
            for partition, case in enumerate(cases)
            for event in case["events"]
        )
        with running(kafka.settings()) as service:
            kafka.wait_until_all_is_committed(within_s=60)
            written = kafka.ends()
            until(lambda: reached(service.board.latest(), written), "the snapshot shows all written records")
            windows = {stats.stream_id: stats for stats in service.board.latest().streams}
        for partition, case in enumerate(cases):
            assert_window(windows[f"case {partition}"], case["expect"])
        return assert_summaries(kafka, cases)


def reached(snapshot: Snapshot, written: dict[int, int]) -> bool:
    return {each.partition: each.next_offset for each in snapshot.partitions} == written


def assert_window(got: StreamStatus, expect: dict[str, Any]) -> None:
    average, least, most = expect["window_bitrate_stats"]
    assert got.concurrent_viewers == expect["concurrent_viewers"]
    assert got.window_peak_concurrent_viewers == expect["window_peak_concurrent"]
    assert math.isclose(got.window_bitrate_avg_bps, average, rel_tol=1e-12)
    assert (got.window_bitrate_min_bps, got.window_bitrate_max_bps) == (least, most)
    assert got.window_buffer_events == expect["window_buffer_events"]


def assert_summaries(kafka: Stage, cases: Cases) -> int:
    """Compare with the golden file and with the judge, which must agree."""
    expected = []
    records = kafka.records()
    for partition, case in enumerate(cases):
        reference = judged(records[partition], kafka.rules)
        now_ms = reference.time_of(f"case {partition}")
        # A bucket in the window is closed already if it began before the window did.
        closed_in_window = [row for row in case["expect"]["active"] if row[0] + kafka.rules.window_duration_ms < now_ms]
        golden_rows = case["expect"]["evicted"] + closed_in_window
        assert len(reference.closed) == len(golden_rows)
        for closed, row in zip(reference.closed, golden_rows, strict=True):
            mine = closed.bucket.row()
            assert [*mine[:2], *mine[3:]] == [*row[:2], *row[3:]]
            assert math.isclose(mine[2], row[2], rel_tol=1e-12)
        expected += [summary_of(closed, kafka.rules, kafka.kafka.input_topic, partition) for closed in reference.closed]
    return assert_same(kafka.summaries(), expected)
