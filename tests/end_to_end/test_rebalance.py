"""Two workers share the partitions: what moves is counted anew, what stays goes on as if nothing had happened."""

from collections import Counter

import structlog

from consumer.observe.snapshot import SnapshotBoard
from tests.end_to_end.events import assert_same, encoded, judged, summary_of
from tests.end_to_end.stage import Record, counted, running, stage
from tests.reference.events_counting import Event, Rules
from tests.support.waiting import until

PARTITIONS = 4
RULES = Rules(window_duration_ms=5_000, bucket_ms=1_000, grace_ms=500, stream_idle_ms=4_000)


def events(from_ms: int, to_ms: int) -> list[Record]:
    """In disorder: some come later than grace allows, unless memory of what is closed has gone."""
    return [
        Record(
            f"stream {number}".encode(),
            encoded(Event(f"stream {number}", "JBLS"[(time_ms // 100 + number) % 4], time_ms - late_ms, number)),
        )
        for time_ms in range(from_ms, to_ms, 100)
        for number in range(40)
        for late_ms in ((time_ms // 100 * 5 + number) % 7 * 400,)
    ]


def shown(board: SnapshotBoard) -> set[int]:
    return {each.partition for each in board.latest().partitions}


def test_a_second_worker_takes_its_share(bootstrap_servers: str) -> None:
    with (
        stage(bootstrap_servers, PARTITIONS, RULES) as kafka,
        structlog.testing.capture_logs() as logs,
        running(kafka.settings()) as first,
    ):
        kafka.write(events(0, 10_000))
        kafka.wait_until_all_is_committed()
        cut = kafka.committed()
        with running(kafka.settings()) as second:
            until(
                lambda: len(shown(second.board)) == 2 and shown(first.board) == set(range(4)) - shown(second.board),
                "they share",
            )
            moved = shown(second.board)
            kafka.write(events(10_000, 20_000))
            kafka.wait_until_all_is_committed()
            assert counted(first, "dropped_partitions_total") == len(moved) == 2
            assert counted(first, "dropped_buckets_total") > 0
            assert counted(second, "dropped_partitions_total") == 0
            dropped = {line["partition"] for line in logs if line["event"].startswith("memory of a partition")}
            assert dropped == moved
            assert {line["log_level"] for line in logs if "memory of" in line["event"]} == {"warning"}

            expected = []
            for partition, records in kafka.records().items():
                at = cut[partition] if partition in moved else 0
                for part in (records[:at], records[at:]):
                    closed = judged(part, RULES).closed
                    expected += [summary_of(each, RULES, kafka.kafka.input_topic, partition) for each in closed]
            assert assert_same(kafka.summaries(), expected) > 500
            places = Counter((each["partition"], each["stream_id"], each["bucket_start_ms"]) for each in expected)
            twice = {partition for (partition, _, _), number in places.items() if number > 1}
            assert twice, "late events of before count where memory was dropped"
            assert twice <= moved
