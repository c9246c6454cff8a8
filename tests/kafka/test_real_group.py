"""What only real groups do: members join, leave and fall silent, and topics change while they are read."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from consumer.errors import ViewerConsumerError
from consumer.kafka import failure_budget
from consumer.kafka.brokers import MemberWatch
from consumer.kafka.errors import TransactionAborted
from consumer.kafka.live_input import LiveInput
from consumer.kafka.protocols import Input
from consumer.kafka.reading import LONGEST_POLL_S
from consumer.kafka.timeouts import TIMEOUTS
from tests.kafka.stage import CLASSIC, CONSUMER, PARTITIONS, PROTOCOLS, KafkaStage, joined
from tests.support.fakes import RecordingHandler
from tests.support.topics import configure_group, delete_topics, group_members
from tests.support.waiting import until

by_both_protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


def poll_all(*members: Input) -> list[int]:
    """Return the numbers of records read."""
    return [len(member.poll(100, 0.02)) for member in members]


@by_both_protocols
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


@by_both_protocols
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


@by_both_protocols
def test_commits_go_on_when_a_member_joins_and_takes_nothing(kafka_stage: KafkaStage) -> None:
    #  first, second   have a partition each ───────────────── a new generation ── commit
    #  third                                  joins: no partition
    first, second = members = [kafka_stage.input(RecordingHandler()) for _ in range(PARTITIONS)]

    def can_commit() -> bool:
        poll_all(*members)
        return len(first.assignment) == len(second.assignment) == 1 and first.group_metadata() is not None

    until(can_commit, "each has a partition")
    before = first.group_metadata()
    members.append(kafka_stage.input(RecordingHandler()))
    until(
        lambda: (poll_all(*members), group_members(kafka_stage.bootstrap_servers, kafka_stage.group) == 3)[1],
        "the third member has joined",
    )
    until(lambda: (poll_all(*members), first.group_metadata() not in (None, before))[1], "the first can commit again")
    (partition,) = first.assignment
    kafka_stage.owner().commit({(kafka_stage.topic, partition): 1}, first.group_metadata() or b"")
    assert kafka_stage.committed() == {partition: 1}


@by_both_protocols
def test_a_member_that_was_silent_too_long_has_lost_its_partitions_and_may_not_commit(
    kafka_stage: KafkaStage, caplog: pytest.LogCaptureFixture
) -> None:
    owner = kafka_stage.owner()

    class Committing(RecordingHandler):
        """Under KIP-848 it may be asked late to give up a partition that another member owns by then."""

        def on_revoked(self, partitions: Sequence[int]) -> None:
            with pytest.raises(TransactionAborted):
                owner.commit({(kafka_stage.topic, partitions[0]): 1}, member.group_metadata() or before)
            super().on_revoked(partitions)

    handler = Committing()
    # The smallest values that brokers allow.
    short = {"session.timeout.ms": 6_000, "max.poll.interval.ms": 6_000, "transaction.timeout.ms": 5_500}
    if kafka_stage.protocol == CONSUMER:
        configure_group(kafka_stage.bootstrap_servers, kafka_stage.group, "consumer.session.timeout.ms", 6_000)
        del short["session.timeout.ms"]
    member = joined(kafka_stage.input(handler, client=short))
    assert isinstance(member, LiveInput)
    until(lambda: (member.poll(1, 0.05), member.group_metadata() is not None)[1], "the member can commit")
    before = member.group_metadata() or b""
    other = kafka_stage.input(RecordingHandler())
    until(
        lambda: (other.poll(1, 0.05), len(other.assignment) == PARTITIONS)[1],
        "another member has taken over",
        within_s=40,
    )
    if kafka_stage.protocol == CLASSIC:
        assert member.group_metadata() is None, "the metadata that it has is outdated"
    assert member.group_metadata() in (None, before)
    with pytest.raises(TransactionAborted):
        owner.commit({(kafka_stage.topic, 0): 1}, before)
    until(lambda: (member.poll(1, 0.05), not member.assignment)[1], "the silent member notices it")
    assert {what for what, _ in handler.heard} - {"revoked"} == {"assigned", "lost"}
    assert kafka_stage.protocol == CONSUMER or "revoked" not in {what for what, _ in handler.heard}
    assert kafka_stage.committed() == {}
    assert "maximum poll interval" in caplog.text.lower()


@by_both_protocols
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


@by_both_protocols
def test_a_deleted_topic_is_an_error_with_its_name(kafka_stage: KafkaStage) -> None:
    member = joined(kafka_stage.input(RecordingHandler(), client={"topic.metadata.refresh.interval.ms": 500}))
    delete_topics(kafka_stage.bootstrap_servers, [kafka_stage.topic])
    with pytest.raises(ViewerConsumerError, match=f'input topic "{kafka_stage.topic}" is not there any more'):
        until(lambda: len(member.poll(10, 0.1)) > 0, "an error is raised")


@by_both_protocols
def test_a_topic_that_is_deleted_later_is_an_error_too(
    kafka_stage: KafkaStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under KIP-848 the group takes the partitions away, and the client library says nothing."""
    states: dict[str, str] = {}
    note = MemberWatch._note

    def note_states(watch: MemberWatch, statistics: Mapping[str, Any], now_s: float) -> None:
        partitions = statistics["topics"].get(kafka_stage.topic, {"partitions": {}})["partitions"]
        states.update({number: each["fetch_state"] for number, each in partitions.items() if number != "-1"})
        note(watch, statistics, now_s)

    monkeypatch.setattr(MemberWatch, "_note", note_states)
    member = joined(kafka_stage.input(RecordingHandler(), client={"topic.metadata.refresh.interval.ms": 500}))
    # Before that, it is the question for the end of a partition that fails.
    until(lambda: (member.poll(10, 0.1), list(states.values()) == PARTITIONS * ["active"])[1], "the ends are known")
    delete_topics(kafka_stage.bootstrap_servers, [kafka_stage.topic])
    with pytest.raises(ViewerConsumerError, match=f'input topic "{kafka_stage.topic}" is not there any more'):
        until(lambda: len(member.poll(10, 0.1)) > 0, "an error is raised", within_s=30)


@by_both_protocols
def test_a_member_that_owns_nothing_is_told_of_a_deleted_topic_too(kafka_stage: KafkaStage) -> None:
    fresh: dict[str, str | int] = {"topic.metadata.refresh.interval.ms": 500}
    owners = [kafka_stage.input(RecordingHandler(), client=fresh) for _ in range(PARTITIONS)]
    until(lambda: (poll_all(*owners), all(len(each.assignment) == 1 for each in owners))[1], "each owns a partition")
    spare = kafka_stage.input(RecordingHandler(), client=fresh)
    until(
        lambda: (poll_all(*owners, spare), group_members(kafka_stage.bootstrap_servers, kafka_stage.group) == 3)[1],
        "the spare member has joined",
    )
    delete_topics(kafka_stage.bootstrap_servers, [kafka_stage.topic])
    with pytest.raises(ViewerConsumerError, match=f'input topic "{kafka_stage.topic}" is not there any more'):
        until(lambda: len(spare.poll(10, 0.1)) > 0, "an error is raised", within_s=30)


def test_a_member_that_was_fenced_joins_again(kafka_stage: KafkaStage) -> None:
    """As after a request to join whose answer was lost: another client has had the name, and is gone."""
    named = {"group.instance.id": "one"}
    handler = RecordingHandler()
    member = joined(kafka_stage.input(handler, client=named))
    joined(kafka_stage.input(RecordingHandler(), client=named)).close()
    until(lambda: (member.poll(1, 0.05), not member.assignment)[1], "it has lost its partitions")
    assert member.group_metadata() is None
    until(lambda: (member.poll(1, 0.05), member.group_metadata() is not None)[1], "it can commit again")
    assert handler.heard == [("assigned", (0, 1)), ("lost", (0, 1)), ("assigned", (0, 1))]
    kafka_stage.owner().commit({(kafka_stage.topic, 0): 1}, member.group_metadata() or b"")


def test_of_two_members_with_one_instance_id_one_ends_with_the_reason(
    kafka_stage: KafkaStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failure_budget, "FENCES_ALLOWED", 2)
    named = {"group.instance.id": "one"}
    first = joined(kafka_stage.input(RecordingHandler(), client=named))
    second = kafka_stage.input(RecordingHandler(), client=named)
    with pytest.raises(ViewerConsumerError, match=r"fenced by other consumer.*group\.instance\.id"):
        until(lambda: len(poll_all(first, second)) == 0, "an error is raised")


@pytest.mark.parametrize("protocol", [CONSUMER])
def test_by_the_consumer_protocol_an_instance_id_that_stays_in_use_is_refused_to_the_newcomer(
    kafka_stage: KafkaStage,
) -> None:
    named = {"group.instance.id": "one"}
    first = joined(kafka_stage.input(RecordingHandler(), client=named))
    second = kafka_stage.input(RecordingHandler(), client=named, timeouts=TIMEOUTS._replace(join_s=1.0))
    with pytest.raises(ViewerConsumerError, match=r"group\.instance\.id"):
        until(lambda: len(second.poll(1, 0.05)) > 0, "an error is raised")
    assert (len(first.poll(1, 0.05)), len(first.assignment)) == (0, PARTITIONS)
    assert first.group_metadata() is not None


@pytest.mark.parametrize("protocol", [CONSUMER])
def test_by_the_consumer_protocol_a_worker_that_was_killed_gets_its_instance_id_back_with_the_end_of_its_session(
    kafka_stage: KafkaStage,
) -> None:
    named: dict[str, str | int] = {"group.instance.id": "one"}
    configure_group(kafka_stage.bootstrap_servers, kafka_stage.group, "consumer.session.timeout.ms", 6_000)
    # It is not polled any more, and so sends no heartbeats.
    killed = {**named, "transaction.timeout.ms": 5_500, "max.poll.interval.ms": 1_000}
    joined(kafka_stage.input(RecordingHandler(), client=killed))
    again = joined(kafka_stage.input(RecordingHandler(), client=named))
    until(lambda: (len(again.poll(1, 0.05)), again.group_metadata() is not None)[1], "it can commit")
    kafka_stage.owner().commit({(kafka_stage.topic, 0): 1}, again.group_metadata() or b"")


@pytest.mark.parametrize("protocol", [CONSUMER])
def test_what_the_brokers_refuse_for_good_is_an_error_with_the_settings_to_look_at(kafka_stage: KafkaStage) -> None:
    member = kafka_stage.input(RecordingHandler(), client={"group.remote.assignor": "nobody"})
    with pytest.raises(
        ViewerConsumerError, match=r"assignor.*look at what .*: kafka.client group\.protocol, group\.remote"
    ):
        until(lambda: len(member.poll(1, 0.05)) > 0, "an error is raised")


def test_a_poll_never_delays_a_signal_for_long(kafka_stage: KafkaStage) -> None:
    member = joined(kafka_stage.input(RecordingHandler()))
    began = time.monotonic()
    assert not len(member.poll(1000, 5.0))
    assert time.monotonic() - began < LONGEST_POLL_S + 1
