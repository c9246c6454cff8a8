"""Two workers share the partitions: moved partitions continue where they were, the others are undisturbed."""

import contextlib

import pytest

from consumer.observe.snapshot import SnapshotBoard
from consumer.settings.model import Settings
from tests.end_to_end.events import assert_same, encoded, judged, summary_of
from tests.end_to_end.stage import Record, Stage, counted, running, stage
from tests.reference.events_counting import Event, Rules
from tests.support.waiting import until

PARTITIONS = 4
RULES = Rules(window_duration_ms=5_000, bucket_ms=1_000, grace_ms=500, stream_idle_ms=4_000)

CLASSIC, CONSUMER = PROTOCOLS = ("classic", "consumer")
by_both_protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


def events(from_ms: int, to_ms: int) -> list[Record]:
    """Events in disorder: some come later than grace allows."""
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


@by_both_protocols
def test_a_second_worker_takes_over_its_share(bootstrap_servers: str, protocol: str) -> None:
    with (
        stage(bootstrap_servers, PARTITIONS, RULES) as kafka,
        running(settings_of(kafka, protocol)) as first,
    ):
        kafka.write(events(0, 10_000))
        kafka.wait_until_all_is_committed()
        with running(settings_of(kafka, protocol)) as second:
            until(
                lambda: len(shown(second.board)) == 2 and shown(first.board) == set(range(4)) - shown(second.board),
                "both have partitions",
            )
            kafka.write(events(10_000, 20_000))
            kafka.wait_until_all_is_committed()
            assert counted(first, "restore_duration_seconds_count") == PARTITIONS, (
                "partitions that stay are not restored"
            )
            assert counted(second, "restore_duration_seconds_count") == 2
            assert counted(second, "replayed_records_total") == 0, "revoked partitions were committed with a checkpoint"
            assert counted(second, "restored_rows_total") > 0
        kafka.write(events(20_000, 25_000))
        kafka.wait_until_all_is_committed()
        assert published_as_judged(kafka) > 500


def test_a_group_changes_its_protocol_and_back_worker_by_worker(bootstrap_servers: str) -> None:
    #  one     classic ──────────────────┤
    #  two                 consumer ─────────────────────────────┤
    #  three                                   classic ──────────────────────
    with stage(bootstrap_servers, PARTITIONS, RULES) as kafka, contextlib.ExitStack() as three_runs:
        one, two = contextlib.ExitStack(), contextlib.ExitStack()
        with two:
            with one:
                first = one.enter_context(running(settings_of(kafka, CLASSIC)))
                kafka.write(events(0, 5_000))
                kafka.wait_until_all_is_committed()
                second = two.enter_context(running(settings_of(kafka, CONSUMER)))
                until(lambda: len(shown(first.board)) == len(shown(second.board)) == 2, "both have partitions")
                kafka.write(events(5_000, 10_000))
                kafka.wait_until_all_is_committed()
            until(lambda: len(shown(second.board)) == PARTITIONS, "the group has changed its protocol")
            kafka.write(events(10_000, 15_000))
            kafka.wait_until_all_is_committed()
            third = three_runs.enter_context(running(settings_of(kafka, CLASSIC)))
            until(lambda: len(shown(second.board)) == len(shown(third.board)) == 2, "both have partitions again")
            kafka.write(events(15_000, 20_000))
            kafka.wait_until_all_is_committed()
        until(lambda: len(shown(third.board)) == PARTITIONS, "the group has changed it back")
        kafka.write(events(20_000, 25_000))
        kafka.wait_until_all_is_committed()
        assert counted(second, "replayed_records_total") == counted(third, "replayed_records_total") == 0
        assert published_as_judged(kafka) > 500


@by_both_protocols
def test_a_rolling_restart_of_workers_with_instance_ids_moves_no_partition(
    bootstrap_servers: str, protocol: str
) -> None:
    """Workers are stopped and started one after the other; the others continue and restore nothing."""
    with stage(bootstrap_servers, PARTITIONS, RULES) as kafka:
        one, two = (settings_of(kafka, protocol, name) for name in ("one", "two"))
        with running(one) as first:
            kafka.write(events(0, 5_000))
            with running(two) as second:
                until(lambda: len(shown(first.board)) == len(shown(second.board)) == 2, "both have partitions")
                held = shown(second.board)
            restored = counted(first, "restore_duration_seconds_count")
            rebalances = counted(first, "rebalances_total", kind="revoked")
            kafka.write(events(5_000, 10_000))
            with running(two) as again:
                until(lambda: shown(again.board) == held, "the restarted worker has its partitions back")
                kafka.wait_until_all_is_committed()
                assert counted(again, "replayed_records_total") == 0
            assert counted(first, "rebalances_total", kind="revoked") == rebalances
            assert counted(first, "restore_duration_seconds_count") == restored
        assert published_as_judged(kafka) > 100


def published_as_judged(kafka: Stage) -> int:
    """Compare all summaries with the judge's; return their number."""
    expected = [
        summary_of(each, RULES, kafka.kafka.input_topic, partition)
        for partition, records in kafka.records().items()
        for each in judged(records, RULES).closed
    ]
    return assert_same(kafka.summaries(), expected)


def settings_of(kafka: Stage, protocol: str, name: str = "") -> Settings:
    """Settings of a worker that joins by a protocol; with a name it has a stable instance id."""
    made = kafka.settings()
    client = {"group.protocol": protocol, **({"group.instance.id": name} if name else {})}
    return made.model_copy(update={"kafka": made.kafka.model_copy(update={"client": client})})
