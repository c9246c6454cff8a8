"""What only real groups do: members join, leave and fall silent, and topics change while they are read."""

import time
from collections.abc import Sequence

import pytest

from consumer.errors import ViewerConsumerError
from consumer.kafka.live_input import LiveInput
from consumer.kafka.reading import LONGEST_POLL_S
from tests.kafka.stage import PARTITIONS, KafkaStage, joined
from tests.support.fakes import RecordingHandler
from tests.support.topics import delete_topics
from tests.support.waiting import until


def poll_all(*members: LiveInput) -> list[int]:
    """Return the numbers of records read."""
    return [len(member.poll(100, 0.02)) for member in members]


def test_a_partition_is_revoked_before_another_member_gets_it_and_continues_at_its_offset(
    kafka_stage: KafkaStage,
) -> None:
    kafka_stage.write(0, b"a", b"b")
    kafka_stage.write(1, b"c", b"d")
    owner = kafka_stage.owner()
    order: list[str] = []

    class Committing(RecordingHandler):
        member: LiveInput

        def on_assigned(self, partitions: Sequence[int]) -> None:
            super().on_assigned(partitions)
            order.append(f"{self.name} has {list(self.heard[-1][1])}")

        def on_revoked(self, partitions: Sequence[int]) -> None:
            metadata = self.member.group_metadata()
            assert metadata is not None, "partitions being revoked can still be committed"
            owner.commit({(kafka_stage.topic, partition): 1 for partition in partitions}, metadata)
            super().on_revoked(partitions)
            order.append(f"{self.name} gives up {list(self.heard[-1][1])}")

    handlers = Committing("first"), Committing("second")
    first = handlers[0].member = kafka_stage.input(handlers[0])
    joined(first)
    second = handlers[1].member = kafka_stage.input(handlers[1])
    until(lambda: (poll_all(first, second), len(second.assignment) == 1)[1], "the second member has a partition")

    (moved,) = second.assignment
    assert first.assignment == {0, 1} - {moved}
    assert order == ["first has [0, 1]", f"first gives up [{moved}]", f"second has [{moved}]"]
    assert kafka_stage.committed() == {moved: 1}
    # A rebalance that moved none of the first member's partitions has changed the generation all the same.
    until(lambda: (poll_all(first), first.group_metadata() is not None)[1], "the first member can commit again")


def test_a_member_that_leaves_hands_over_at_once(kafka_stage: KafkaStage) -> None:
    first, second = kafka_stage.input(RecordingHandler()), kafka_stage.input(RecordingHandler())
    until(
        lambda: (poll_all(first, second), len(first.assignment) == len(second.assignment) == 1)[1],
        "both have partitions",
    )
    began = time.monotonic()
    second.close()
    until(
        lambda: (poll_all(first), len(first.assignment) == PARTITIONS)[1],
        "the first member has all partitions",
        within_s=15,
    )
    assert time.monotonic() - began < 10, "sooner than by the session timeout"


def test_a_member_that_was_silent_too_long_has_lost_its_partitions_and_may_not_commit(
    kafka_stage: KafkaStage, caplog: pytest.LogCaptureFixture
) -> None:
    handler = RecordingHandler()
    # The smallest values that brokers allow.
    short = {"session.timeout.ms": 6_000, "max.poll.interval.ms": 6_000, "transaction.timeout.ms": 5_500}
    member = joined(kafka_stage.input(handler, client=short))
    assert isinstance(member, LiveInput)
    other = kafka_stage.input(RecordingHandler())
    until(
        lambda: (other.poll(1, 0.05), len(other.assignment) == PARTITIONS)[1],
        "another member has taken over",
        within_s=40,
    )
    assert member.group_metadata() is None, "the metadata that it has is outdated"
    until(lambda: (member.poll(1, 0.05), not member.assignment)[1], "the silent member notices it")
    assert {what for what, _ in handler.heard} == {"assigned", "lost"}
    assert "maximum poll interval" in caplog.text.lower()


def test_an_exception_of_a_handler_does_not_lose_the_batch_that_came_with_the_rebalance(
    kafka_stage: KafkaStage,
) -> None:
    kafka_stage.write(0, *(b"%d" % number for number in range(3_000)))
    handlers = RecordingHandler("first"), RecordingHandler("second")
    first = joined(kafka_stage.input(handlers[0]))
    handlers[0].failure = RuntimeError("while giving up")
    second = kafka_stage.input(handlers[1])
    offsets: dict[int, list[int]] = {0: [], 1: []}
    raised: list[RuntimeError] = []
    begun: set[int] = set()

    def read() -> bool:
        for partition in second.assignment - begun:
            begun.add(partition)
            second.begin(partition, 0)
        for member in (first, second):
            try:
                batch = member.poll(50, 0.02)
            except RuntimeError as error:
                raised.append(error)
                continue
            offsets[0 if member is first else 1] += batch.offsets.tolist()
        return bool(raised) and 2_999 in offsets[0] + offsets[1]

    until(read, "the handler has raised and everything is read")
    # The member that keeps the partition has read it without a gap.
    assert [read_by for read_by in offsets.values() if read_by == list(range(3_000))] != []
    assert len(raised) == 1


def test_an_offset_that_is_gone_is_reported_with_the_command_that_resolves_it(kafka_stage: KafkaStage) -> None:
    kafka_stage.write(0, b"a", b"b", b"c")
    kafka_stage.delete_before(0, 2)
    member = joined(kafka_stage.input(RecordingHandler()))
    failures: dict[int, str] = {}

    def is_told() -> bool:
        assert not len(member.poll(10, 0.1))
        failures.update(member.pop_failures())
        return bool(failures)

    until(is_told, "the reason is reported")
    assert failures.keys() == {0}
    assert failures[0].startswith(f"{kafka_stage.topic}-0: the offset to read on from is not in it")
    assert failures[0].endswith("so some records were never counted")


def test_a_deleted_topic_is_an_error_with_its_name(kafka_stage: KafkaStage) -> None:
    member = joined(kafka_stage.input(RecordingHandler(), client={"topic.metadata.refresh.interval.ms": 500}))
    delete_topics(kafka_stage.bootstrap_servers, [kafka_stage.topic])
    with pytest.raises(ViewerConsumerError, match=f'input topic "{kafka_stage.topic}" is not there any more'):
        until(lambda: len(member.poll(10, 0.1)) > 0, "an error is raised")


def test_a_member_whose_instance_id_is_taken_by_another_stops_with_the_reason(kafka_stage: KafkaStage) -> None:
    named = {"group.instance.id": "one"}
    first = joined(kafka_stage.input(RecordingHandler(), client=named))
    second = kafka_stage.input(RecordingHandler(), client=named)
    until(lambda: (second.poll(1, 0.05), len(second.assignment) == PARTITIONS)[1], "the second member has joined")
    with pytest.raises(ViewerConsumerError, match=r"fenced by other consumer.*group\.instance\.id"):
        until(lambda: len(first.poll(1, 0.05)) > 0, "an error is raised")


def test_a_poll_never_delays_a_signal_for_long(kafka_stage: KafkaStage) -> None:
    member = joined(kafka_stage.input(RecordingHandler()))
    began = time.monotonic()
    assert not len(member.poll(1000, 5.0))
    assert time.monotonic() - began < LONGEST_POLL_S + 1
