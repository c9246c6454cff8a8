"""`viewer-consumer state` on state that a real worker has stored."""

import io
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource

from consumer.settings.command_line import command_line
from consumer.settings.model import KafkaSettings
from consumer.state.checkpoint import RULES_VERSION
from tests.cli.command import Ran, run, run_here
from tests.end_to_end.events import encoded
from tests.end_to_end.stage import Record, Stage, running, stage
from tests.reference.events_counting import Event, Rules
from tests.support.topics import delete_records, ends, produce
from tests.support.topics import unique as unique_name
from tests.support.waiting import until

PARTITIONS = 2
START_TIMEOUT_S = 120.0
"""The first worker on a machine compiles its kernels."""

RULES = Rules(window_duration_ms=3_000, bucket_ms=1_000, grace_ms=500, stream_idle_ms=60_000)


def record(partition: int, stream: str, kind: str, time_ms: int, value: int = 0) -> Record:
    return Record(stream.encode(), encoded(Event(stream, kind, time_ms, value)), 0, partition)


EVENTS = [
    #  stream a, partition 0     0 s ─────── 1 s ─────── 2 s ─────── 3 s
    #                            J J  B8 B4  │ L  S300   │           │ J       at 3.1 s the first two buckets close
    record(0, "a", "J", 100),
    record(0, "a", "J", 200),
    record(0, "a", "B", 300, 8_000),
    record(0, "a", "B", 400, 4_000),
    record(0, "a", "L", 1_100),
    record(0, "a", "S", 1_200, 300),
    record(0, "a", "J", 3_100),
    record(1, "b", "J", 500),
    record(1, "c", "J", 600),
]


class Command:
    """Run the command on the topics of a stage."""

    def __init__(self, kafka: Stage, capsys: pytest.CaptureFixture[str]) -> None:
        self.kafka = kafka
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Ran:
        self._capsys.readouterr()  # drop what the worker has logged
        return run_here(self._capsys, *self._line(*arguments))

    def advice(self, command: str) -> str:
        """The command line that messages name."""
        return command_line(command, self.kafka.flags())

    def paste(self, advice: str) -> Ran:
        """Run the command at the end of a message, as a shell would."""
        _, _, command = advice.rpartition("viewer-consumer ")
        self._capsys.readouterr()
        return run_here(self._capsys, *shlex.split(command), "--yes")

    def beside_a_worker(self, *arguments: str) -> Ran:
        """Run it in its own process, since a worker in this one logs."""
        return run(*self._line(*arguments))

    def _line(self, name: str, *arguments: str) -> list[str]:
        return ["state", name, *self.kafka.flags(), *arguments]

    def lines(self, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
        """Return what it prints as JSON."""
        done = self(*arguments, "--json")
        assert (done.code, done.err) == (code, "")
        return [json.loads(line) for line in done.out.splitlines()]


@pytest.fixture
def state(bootstrap_servers: str, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """State of a worker that was stopped."""
    with stage(bootstrap_servers, PARTITIONS, RULES) as kafka:
        kafka.write(EVENTS)
        work(kafka)
        yield Command(kafka, capsys)


def work(kafka: Stage) -> None:
    """Run a worker until it has processed everything."""
    with running(kafka.settings()):
        kafka.wait_until_all_is_committed(START_TIMEOUT_S)


def commit(kafka: Stage, partition: int, offset: int) -> None:
    """Set the group's offset from outside, as people do."""
    member = Consumer({"bootstrap.servers": kafka.kafka.bootstrap_servers, "group.id": kafka.kafka.group_id})
    member.commit(offsets=[TopicPartition(kafka.kafka.input_topic, partition, offset)], asynchronous=False)
    member.close()


def state_ends(kafka: Stage) -> dict[int, int]:
    return ends(kafka.kafka.bootstrap_servers, kafka.kafka.state_topic)


def test_list_shows_the_position_of_each_partition(state: Command) -> None:
    first, second = state.lines("list")
    assert first["checkpoint_age_s"] < 60
    assert first["row_bytes"] > 0
    for row, partition, offset, streams in ((first, 0, 7, 1), (second, 1, 2, 2)):
        assert row["partition"] == partition
        assert row["checkpoint"] >= 1
        assert row["checkpoint_offset"] == row["journal_offset"] == row["committed_offset"] == offset
        assert row["streams"] == streams


def test_list_prints_a_table(state: Command) -> None:
    done = state("list", "--partition", "1")
    heading, row = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert heading.split() == (
        [
            "partition",
            "checkpoint",
            "at",
            "offset",
            "age",
            "journal",
            "to",
            "committed",
            "streams",
            "bytes",
            "of",
            "rows",
        ]
    )
    assert row.split()[0] == "1"
    assert row.split()[-2] == "2"


def test_partitions_without_a_checkpoint_are_listed_without_statistics(
    bootstrap_servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with stage(bootstrap_servers, 1, RULES) as kafka:
        assert run_here(capsys, "topics", *kafka.flags()).code == 0
        state = Command(kafka, capsys)
        (row,) = state.lines("list")
        assert (row["checkpoint"], row["journal_offset"], row["committed_offset"]) == (None, None, None)
        assert (row["streams"], row["row_bytes"]) == (0, 0)
        assert state("check").out == "partition 0: nothing is stored yet\n"


def test_show_prints_a_stream_as_its_row_has_it(state: Command) -> None:
    (shown,) = state.lines("show", "a")
    assert (shown["partition"], shown["time_ms"], shown["viewers"]) == (0, 3_100, 2)
    stats = [
        (each["bucket_start_ms"], each["open"], each["peak_concurrent_viewers"], each["joins"], each["leaves"])
        for each in shown["buckets"]
    ]
    assert stats == [(0, False, 2, 2, 0), (1_000, False, 0, 0, 1), (3_000, True, 2, 1, 0)]
    first, second, _ = shown["buckets"]
    bitrates = ("bitrate_sample_count", "avg_bitrate_bps", "min_bitrate_bps", "max_bitrate_bps")
    assert [first[name] for name in bitrates] == [2, 6_000.0, 4_000, 8_000]
    assert (second["buffer_event_count"], second["buffer_stall_ms"]) == (1, 300)


def test_show_prints_a_stream_with_its_time_and_buckets_as_text(state: Command) -> None:
    done = state("show", "a")
    about, _, first, *_ = done.out.splitlines()
    assert about.startswith("stream a: partition 0, checkpoint ")
    assert about.endswith("at offset 7; its time 1970-01-01T00:00:03.100Z, viewers 2")
    assert first.split() == (
        ["1970-01-01T00:00:00.000Z", "closed", "2", "2", "0", "2", "6,000", "4,000", "8,000", "0", "0"]
    )


def test_a_stream_that_no_partition_has_is_a_one_line_error(state: Command) -> None:
    assert state("show", "nobody") == (
        1, "", 'error: no checkpoint holds stream "nobody": it is gone, or newer than the checkpoint\n'
    )  # fmt: skip
    assert state("show", "a", "--partition", "1").code == 1


def test_the_state_of_a_stopped_worker_is_consistent(state: Command) -> None:
    done = state("check")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        f"partition {number}: rows, checkpoint, journal and offsets agree" for number in range(PARTITIONS)
    ]


def test_a_missing_row_is_reported_with_the_command_that_resolves_it(state: Command) -> None:
    kafka = state.kafka.kafka
    produce(kafka.bootstrap_servers, kafka.state_topic, [(1, b"r\0\0b", None)])
    done = state("check")
    assert done.code == 1
    fine, bad = done.out.splitlines()
    assert fine == "partition 0: rows, checkpoint, journal and offsets agree"
    assert bad.startswith("partition 1: its state has 1 rows with digest ")
    assert ", but the checkpoint was made of 2 with " in bad
    assert bad.endswith(f"continue without its state with: {state.advice('state reset --partition 1')}")
    assert state.paste(bad).code == 0
    assert state("check").code == 0


def test_an_offset_that_was_set_from_outside_is_reported(state: Command) -> None:
    commit(state.kafka, 0, 3)
    first, second = state.lines("check", code=1)
    assert first["problems"] == [
        {
            "what": "the group has committed offset 3, but its state goes to offset 7",
            "advice": f"continue without its state with: {state.advice('state reset --partition 0')}",
        }
    ]
    assert second == {
        "partition": 1,
        "agrees": True,
        "problems": [],
        "changed_settings": [],
        "rules_version": RULES_VERSION,
    }


def test_each_of_several_disagreements_is_one_line(state: Command) -> None:
    kafka = state.kafka.kafka
    commit(state.kafka, 0, 3)
    produce(kafka.bootstrap_servers, kafka.state_topic, [(0, b"r\0\0a", None), (0, b"what?", b"")])
    done = state("check", "--partition", "0")
    assert done.code == 1
    assert [line.split(";")[0][:40] for line in done.out.splitlines()] == [
        "partition 0: its state topic holds a rec",
        "partition 0: the group has committed off",
        "partition 0: its state has 0 rows with d",
    ]


def test_forbidden_changes_of_settings_are_disagreements_and_allowed_ones_are_notes(state: Command) -> None:
    done = state("check", "--partition", "0", "--set", "windows.grace_ms=900")
    assert (done.code, done.out.splitlines()) == (
        0,
        [
            "partition 0: rows, checkpoint, journal and offsets agree",
            "partition 0: changed since the checkpoint, in effect at the next start: windows.grace_ms",
        ],
    )
    done = state("check", "--partition", "0", "--set", "windows.bucket_ms=500")
    assert done.code == 1
    assert done.out.startswith(
        "partition 0: its state was counted with windows.bucket_ms = 1000, which can't change while there is state; "
        "set it as it was, or reset the state with: viewer-consumer state reset --partition 0 "
    )
    assert done.out.endswith("--set windows.bucket_ms=500\n")


@pytest.mark.slow
def test_the_state_of_a_running_worker_is_consistent_at_every_moment(
    bootstrap_servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with stage(bootstrap_servers, PARTITIONS, RULES) as kafka, running(kafka.settings()):
        state = Command(kafka, capsys)
        for round_ in range(5):
            first_ms = round_ * 20_000
            kafka.write(
                record(partition, f"stream {partition}", "J", time_ms)
                for time_ms in range(first_ms, first_ms + 20_000, 10)
                for partition in range(PARTITIONS)
            )
            if round_ == 0:
                until(lambda: bool(kafka.committed_so_far()), "the worker has begun to commit")
            done = state.beside_a_worker("check")
            assert done.code == 0, done.out


def test_the_state_of_a_group_with_members_cannot_be_reset(state: Command) -> None:
    with running(state.kafka.settings()):
        state.kafka.wait_until_all_is_committed()
        before = state_ends(state.kafka)
        done = state.beside_a_worker("reset", "--yes")
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith("error: the group has 1 member (viewer-consumer at ")
        assert "stop its workers first" in done.err
    assert state_ends(state.kafka).keys() == before.keys()


def test_answering_no_resets_nothing(state: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state_ends(state.kafka)
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    done = state("reset", "--partition", "1")
    assert (done.code, done.out) == (1, "")
    question = done.err.splitlines()
    assert question[0] == (
        "partition 1: deletes the state of 2 streams with their open buckets, "
        "and continues with empty windows at offset 2 "
        "(what the group has committed)"
    )
    assert question[1:] == ["Delete it? [y/N] error: nothing was changed"]
    assert state_ends(state.kafka) == before


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_reset_partition_continues_with_empty_windows_at_its_offset(state: Command, protocol: str) -> None:
    #  partition 1   b J   c J   reset │ b L
    #  viewers of b  1                   0
    number = state.lines("list")[1]["checkpoint"]
    done = state("reset", "--partition", "1", "--yes", "--set", f"kafka.client.group.protocol={protocol}")
    assert (done.code, done.out) == (0, f"partition 1: reset; continues at offset 2 with checkpoint {number + 1}\n")
    first, second = state.lines("list")
    assert (first["streams"], second["streams"], second["row_bytes"]) == (1, 0, 0)
    assert second["checkpoint_offset"] == second["journal_offset"] == second["committed_offset"] == 2
    assert all(line["agrees"] for line in state.lines("check"))

    state.kafka.write([record(1, "b", "J", 2_000)])
    work(state.kafka)
    assert state.lines("show", "b")[0]["viewers"] == 1
    assert state("show", "c").code == 1
    assert all(line["agrees"] for line in state.lines("check"))


def abort_a_transaction(kafka: Stage, partition: int) -> None:
    """Leave an aborted record and its marker behind the processed records.

    The transaction coordinator answers before the marker is written.
    """
    end = kafka.end_of(partition) + 2
    producer = Producer({"bootstrap.servers": kafka.kafka.bootstrap_servers, "transactional.id": unique_name("t")})
    producer.init_transactions()
    producer.begin_transaction()
    producer.produce(kafka.kafka.input_topic, b"aborted", partition=partition)
    producer.flush()
    producer.abort_transaction()
    until(lambda: kafka.end_of(partition) == end, "the marker is written")


def delete_all_records(kafka: Stage, partition: int) -> None:
    delete_records(kafka.kafka.bootstrap_servers, kafka.kafka.input_topic, partition)


def test_state_whose_markers_were_deleted_moves_to_the_log_start_and_keeps_its_windows(state: Command) -> None:
    #  partition 1   b J   c J │ aborted   marker │ all deleted │ b L
    abort_a_transaction(state.kafka, 1)
    delete_all_records(state.kafka, 1)
    (disagreement,) = [line for line in state("check").out.splitlines() if line.startswith("partition 1")]
    assert "its state goes to offset 2, but the input begins at 4" in disagreement
    assert disagreement.endswith(state.advice("state reset --partition 1 --keep-rows"))
    done = state.paste(disagreement)
    assert done.code == 0
    # Its number counts the checkpoints that the worker wrote, which on a busy machine are more.
    assert re.fullmatch(r"partition 1: reset; continues at offset 4 with checkpoint \d+\n", done.out)
    assert "nobody can tell whether the 2 offsets before it were transaction markers or records" in done.err
    assert all(line["agrees"] for line in state.lines("check"))
    assert state.lines("show", "b")[0]["viewers"] == 1
    state.kafka.write([record(1, "b", "L", 700)])
    work(state.kafka)
    assert state.lines("show", "b")[0]["viewers"] == 0
    assert state("reset", "--partition", "1", "--keep-rows", "--yes").err.startswith(
        "error: partition 1: nothing to do"
    )


def delete_state(kafka: Stage, partition: int) -> None:
    """Delete state as a broker does by age if somebody has set cleanup.policy=compact,delete."""
    set_cleanup_policy(kafka.kafka, "compact,delete")
    delete_records(kafka.kafka.bootstrap_servers, kafka.kafka.state_topic, partition)
    set_cleanup_policy(kafka.kafka, "compact")


def set_cleanup_policy(kafka: KafkaSettings, policy: str) -> None:
    """Set it for the state topic, and wait until the broker shows it: the controller answers before."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    entry = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
    change = ConfigResource(ConfigResource.Type.TOPIC, kafka.state_topic, incremental_configs=[entry])
    admin.incremental_alter_configs([change])[change].result(15)
    shown = ConfigResource(ConfigResource.Type.TOPIC, kafka.state_topic)
    until(
        lambda: admin.describe_configs([shown])[shown].result(15)["cleanup.policy"].value == policy,
        f"the broker has applied cleanup.policy={policy}",
    )


def test_deleted_state_can_be_reset_and_is_restored_from_a_log_start_above_0(state: Command) -> None:
    delete_state(state.kafka, 1)
    (disagreement,) = [line for line in state("check").out.splitlines() if line.startswith("partition 1")]
    assert "the group has committed offset 2, but there is no checkpoint of it" in disagreement
    assert state("reset", "--partition", "1", "--yes").code == 0
    for number, kind in enumerate("JL"):
        state.kafka.write([record(1, "b", kind, 2_000 + number)])
        work(state.kafka)  # restored from what the reset, or the worker before, has written
    assert state.lines("show", "b")[0]["viewers"] == 0
    assert all(line["agrees"] for line in state.lines("check"))


def test_transaction_markers_are_stepped_over_and_may_be_deleted(state: Command) -> None:
    abort_a_transaction(state.kafka, 1)
    work(state.kafka)
    assert state.kafka.committed()[1] == 4, "lag is 0"
    delete_all_records(state.kafka, 1)
    assert all(line["agrees"] for line in state.lines("check"))
    state.kafka.write([record(1, "b", "L", 700)])
    work(state.kafka)
    assert state.lines("show", "b")[0]["viewers"] == 0


def test_a_partition_reset_to_earliest_is_counted_again(state: Command) -> None:
    before = state.kafka.summaries()
    assert [(each["stream_id"], each["bucket_start_ms"]) for each in before] == [("a", 0), ("a", 1_000)]
    assert state("reset", "--partition", "0", "--from", "earliest", "--yes").code == 0
    assert state.kafka.committed() == {0: 0, 1: 2}
    work(state.kafka)
    assert state.kafka.summaries() == before * 2


def test_a_partition_reset_to_latest_skips_uncounted_records(state: Command) -> None:
    state.kafka.write([record(0, "a", "J", 3_200), record(0, "a", "J", 3_300)])
    assert state("reset", "--from", "latest", "--yes").code == 0
    assert state.kafka.committed() == {0: 9, 1: 2}
    assert [row["journal_offset"] for row in state.lines("list")] == [9, 2]


def test_a_reset_resolves_every_disagreement(state: Command) -> None:
    kafka = state.kafka.kafka
    commit(state.kafka, 0, 3)
    produce(
        kafka.bootstrap_servers,
        kafka.state_topic,
        [(0, b"what?", b""), (0, b"r\0\0a", b"no row"), (0, b"r\0\0b", b""), (0, b"c", b"no checkpoint")],
    )
    assert state("check", "--partition", "0").code == 1
    assert state("reset", "--partition", "0", "--yes").code == 0
    assert all(line["agrees"] for line in state.lines("check"))
    assert state.kafka.committed()[0] == 3
    work(state.kafka)
    assert all(line["agrees"] for line in state.lines("check"))
    assert state.lines("show", "a")[0]["viewers"] == 1


def test_the_bucket_length_can_change_after_a_reset(state: Command) -> None:
    #  buckets   1,000 ms   reset │ 1,500 ms: rows from before end in buckets that are ahead of their streams
    state.kafka.rules = replace(RULES, bucket_ms=1_500)
    assert state("check").code == 1
    assert state("reset", "--yes").code == 0
    state.kafka.write([record(0, "a", "J", 4_000), record(0, "a", "J", 5_000)])
    work(state.kafka)
    assert all(line["agrees"] for line in state.lines("check"))
    assert [each["bucket_start_ms"] for each in state.lines("show", "a")[0]["buckets"]] == [3_000, 4_500]


@pytest.mark.parametrize("command", ["list", "check", "reset"])
def test_a_partition_that_does_not_exist_is_a_usage_error(state: Command, command: str) -> None:
    done = state(command, "--partition", "2")
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: --partition: the input has partitions 0 to 1, not 2\n"
