"""Partitions that nobody owns although the group is stable."""

import json
import subprocess
import sys
import threading

from consumer.kafka.config import member_config
from consumer.kafka.group_view import WorkerGroup
from tests.kafka.stage import PARTITIONS, KafkaStage, joined
from tests.support.fakes import RecordingHandler
from tests.support.topics import group_members
from tests.support.waiting import until

DIES_IN_A_REBALANCE = """
import json, os, sys
from confluent_kafka import Consumer

topic, config = sys.argv[1], json.loads(sys.argv[2])
member = Consumer(config)

def owns(consumer, partitions):
    consumer.incremental_assign(partitions)
    print("owns", len(partitions), flush=True)

member.subscribe([topic], on_assign=owns, on_revoke=lambda *_: os._exit(0))
while True:
    member.poll(0.1)
"""
"""A member that dies when the group takes a partition from it, before it asks for the rebalance that follows."""


def test_partitions_of_a_leader_that_was_killed_in_the_middle_of_a_rebalance_get_an_owner(
    kafka_stage: KafkaStage,
) -> None:
    #  one    leads, owns 0 and 1 ── is to give 1 up: dies    comes back: owns 0, as at its death
    #  other                      joins: owns nothing yet                          nobody owns 1 ── owns 1
    config = {**member_config(kafka_stage.settings()), "group.instance.id": "one"}
    command = [sys.executable, "-c", DIES_IN_A_REBALANCE, kafka_stage.topic, json.dumps(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == f"owns {PARTITIONS}\n"
        other = kafka_stage.input(RecordingHandler("other"), client={"group.instance.id": "other"})
        until(lambda: (other.poll(1, 0.05), first.poll() is not None)[1], "the first member dies", within_s=30)
    handler = RecordingHandler("one")
    one = kafka_stage.input(handler, client={"group.instance.id": "one"})
    said: set[str] = set()

    def both_own() -> bool:
        for member in (one, other):
            member.poll(1, 0.02)
        said.add(other.brokers.group_reason())
        return len(one.assignment) == len(other.assignment) == 1

    until(both_own, "each has a partition", within_s=60)
    assert [what for what, _ in handler.heard] == ["assigned"], "the partition that has an owner stays"
    assert any("have no owner in the group" in reason for reason in said)


def test_a_group_is_seen_with_its_members_and_what_they_do_not_own(kafka_stage: KafkaStage) -> None:
    group = WorkerGroup(kafka_stage.settings())
    member = joined(kafka_stage.input(RecordingHandler()))
    until(lambda: (member.poll(1, 0.05), group.view().is_stable)[1], "the group is stable")
    is_stable, members, unowned = group.view()
    assert (is_stable, len(members), unowned) == (True, 1, frozenset())
    member.close()
    is_stable, members, unowned = group.view()
    assert (is_stable, members, unowned) == (False, [], frozenset(range(PARTITIONS)))


def test_a_rebalance_is_made_without_moving_partitions_of_the_input(kafka_stage: KafkaStage) -> None:
    handler = RecordingHandler()
    member = joined(kafka_stage.input(handler))
    until(lambda: (member.poll(1, 0.05), member.group_metadata() is not None)[1], "it can commit")
    before = member.group_metadata()
    group = WorkerGroup(kafka_stage.settings())
    thread = threading.Thread(target=group.make_rebalance, args=(threading.Event(),), daemon=True)
    thread.start()
    until(lambda: (member.poll(1, 0.05), not thread.is_alive())[1], "the other member has come and gone")
    until(lambda: (member.poll(1, 0.05), member.group_metadata() not in (None, before))[1], "another generation")
    assert handler.heard == [("assigned", (0, 1))]
    assert group_members(kafka_stage.bootstrap_servers, kafka_stage.group) == 1


def test_who_is_to_make_a_rebalance_and_is_closed_leaves(kafka_stage: KafkaStage) -> None:
    closed = threading.Event()
    closed.set()
    WorkerGroup(kafka_stage.settings()).make_rebalance(closed)
    assert group_members(kafka_stage.bootstrap_servers, kafka_stage.group) == 0
