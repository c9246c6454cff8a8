"""What is made of the client library's statistics; their form is that of a real consumer."""

import json
import logging
from typing import Any

import pytest
from confluent_kafka import KafkaError

from consumer.kafka.brokers import NEWS_S, BrokerWatch
from consumer.kafka.clients import LOGGER

CREATED_S = 100.0


class Watched:
    """A watch and its clock."""

    def __init__(self) -> None:
        self.now_s = self.created_s = CREATED_S
        self.late_s = 0.0
        """How long the statistics have waited for a poll."""
        self.watch = BrokerWatch("one:9092,two:9092", "events", lambda: self.now_s)

    def statistics(
        self,
        *brokers: dict[str, Any],
        partitions: dict[str, dict[str, int]] | None = None,
        join_state: str = "steady",
    ) -> None:
        text = {
            "age": int((self.now_s - self.created_s - self.late_s) * 1e6),
            "name": "one",
            "brokers": {each["name"]: each for each in brokers or (broker(),)},
            "topics": {"events": {"partitions": {"0": partition(), "-1": partition()} | (partitions or {})}},
            "cgrp": {"state": "up", "join_state": join_state},
        }
        self.watch.member.record_statistics(json.dumps({**text, "topics": {}}))
        self.watch.reader.record_statistics(json.dumps({**text, "cgrp": {}}))


def broker(
    node: int = 1, state: str = "UP", idle_s: float = 0.1, owes: int = 1, age_s: float = 100.0
) -> dict[str, Any]:
    return {
        "name": f"b{node}:9092/{node}",
        "nodename": f"b{node}:9092",
        "nodeid": node,
        "state": state,
        "stateage": int(age_s * 1e6),
        "waitresp_cnt": owes,
        "rxidle": int(idle_s * 1e6),
    }


def partition(leader: int = 1, stable: int = 5, end: int = 5, position: int = 5) -> dict[str, int]:
    return {"leader": leader, "ls_offset": stable, "hi_offset": end, "next_offset": position}


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_a_broker_that_owes_an_answer_for_seconds_does_not_answer(watched: Watched) -> None:
    watched.statistics()
    assert watched.watch.silence() == ""
    watched.now_s += 9.0
    watched.statistics(broker(idle_s=9.0))
    assert watched.watch.silence() == ("Kafka does not answer: b1:9092 for 9 s, no answer from any broker for 9 s")
    watched.statistics(broker(idle_s=0.2))
    assert watched.watch.silence() == ""


def test_a_broker_that_owes_nothing_is_not_silent(watched: Watched) -> None:
    watched.now_s += 60.0
    watched.statistics(broker(idle_s=60.0, owes=0))
    assert watched.watch.silence() == ""


def test_a_broker_that_owes_nothing_does_not_hide_one_that_does(watched: Watched) -> None:
    watched.now_s += 9.0
    watched.statistics(broker(1, idle_s=9.0), broker(2, idle_s=8.5, owes=0))
    assert watched.watch.silence().startswith("Kafka does not answer: b1:9092 for 9 s, no answer from any broker for 8")


def test_where_nobody_is_connected_the_last_error_is_the_reason(watched: Watched) -> None:
    watched.watch.reader.record_error(KafkaError(KafkaError._TRANSPORT, "b1:9092: connection refused"))
    watched.watch.reader.record_error(KafkaError(KafkaError._ALL_BROKERS_DOWN, "2/2 brokers are down"))
    watched.now_s += 9.0
    watched.statistics(broker(state="DOWN"))
    assert watched.watch.silence() == (
        "Kafka does not answer: one:9092,two:9092, no answer from any broker for 9 s (b1:9092: connection refused)"
    )


def test_silence_lasts_until_an_answer_though_nothing_is_asked_for_a_while(watched: Watched) -> None:
    watched.now_s += 9.0
    watched.statistics(broker(idle_s=9.0))
    watched.now_s += 20.0
    watched.statistics(broker(idle_s=29.0, owes=0))
    assert watched.watch.silence().startswith(
        "Kafka does not answer: one:9092,two:9092, no answer from any broker for 29"
    )
    watched.statistics(broker(idle_s=0.1, owes=0))
    assert watched.watch.silence() == ""


def test_statistics_that_have_waited_for_a_poll_tell_of_the_time_when_they_were_made(watched: Watched) -> None:
    watched.now_s += 11.0
    for watched.late_s, idle_s in ((5.0, 6.0), (3.0, 8.0), (1.0, 10.0)):
        watched.statistics(broker(idle_s=idle_s))
    assert watched.watch.silence().startswith(
        "Kafka does not answer: b1:9092 for 10 s, no answer from any broker for 11"
    )


def test_the_statistics_of_a_client_that_has_replaced_another_count_from_its_own_start(watched: Watched) -> None:
    watched.now_s += 60.0
    watched.statistics()
    watched.now_s += 1.0
    watched.created_s = watched.now_s
    for client in (watched.watch.member, watched.watch.reader):
        client.client_created()
    watched.now_s += 9.0
    watched.statistics()
    assert watched.watch.silence() == ""


@pytest.mark.parametrize(("late_s", "lines"), [(0.0, 2), (NEWS_S - 0.1, 2), (NEWS_S + 0.1, 0)])
def test_connections_are_logged_from_statistics_that_have_not_waited_long(
    watched: Watched, caplog: pytest.LogCaptureFixture, late_s: float, lines: int
) -> None:
    """Of both clients, by the client's age, as everything else here: a step of the wall clock hides no broker."""
    watched.now_s, watched.late_s = watched.now_s + 10.0, late_s
    with caplog.at_level(logging.INFO, LOGGER.name):
        watched.statistics()
    assert [each.getMessage() for each in caplog.records] == ["CONNECTED [one] b1:9092/1"] * lines


def test_one_silent_broker_among_others_is_no_silence(watched: Watched) -> None:
    watched.now_s += 30.0
    watched.statistics(broker(1, idle_s=30.0), broker(2))
    assert watched.watch.silence() == ""


def test_an_end_is_known_while_its_leader_answers(watched: Watched) -> None:
    assert watched.watch.is_fresh(0), "before the first statistics, what was fetched is known"
    watched.statistics(broker(1), broker(2, idle_s=20.0), partitions={"1": partition(leader=2)})
    assert watched.watch.is_fresh(0)
    assert not watched.watch.is_fresh(1)
    assert not watched.watch.is_fresh(7)
    watched.statistics(broker(1, state="CONNECT"))
    assert not watched.watch.is_fresh(0)


def test_an_end_is_unknown_from_a_broken_connection_until_it_has_been_back_for_a_fetch(watched: Watched) -> None:
    watched.statistics()
    watched.now_s += 1.0
    watched.watch.reader.record_error(KafkaError(KafkaError._TRANSPORT, "disconnected"))
    assert not watched.watch.is_fresh(0)
    watched.now_s += 1.0
    watched.statistics(broker(age_s=0.5))
    assert not watched.watch.is_fresh(0)
    watched.statistics(broker(age_s=2.5))
    assert watched.watch.is_fresh(0)


def test_an_end_is_unknown_if_statistics_stay_away(watched: Watched) -> None:
    watched.statistics()
    watched.now_s += 9.0
    assert not watched.watch.is_fresh(0)


def test_records_behind_an_open_transaction_are_held_with_the_time_since_it_is_so(watched: Watched) -> None:
    watched.statistics(partitions={"0": partition(stable=5, end=9, position=5)})
    assert watched.watch.held()[0].records == 4
    assert watched.watch.held_reason() == ""
    watched.now_s += 61.0
    watched.statistics(partitions={"0": partition(stable=5, end=12, position=5)})
    assert watched.watch.held_reason() == (
        "events-0: an open transaction of a producer has held it at offset 5 for 61 s, 7 offsets wait behind it; "
        "find it with: kafka-transactions.sh --bootstrap-server one:9092,two:9092 find-hanging --topic events"
    )
    watched.statistics(partitions={"0": partition(stable=7, end=12, position=7)})
    assert watched.watch.held_reason() == "", "it moves on"
    watched.statistics(partitions={"0": partition(stable=12, end=12, position=12)})
    assert watched.watch.held() == {}


def test_a_partition_that_is_read_from_before_its_last_stable_offset_is_behind_and_not_held(watched: Watched) -> None:
    watched.statistics(partitions={"0": partition(stable=500, end=900, position=5)})
    assert watched.watch.held() == {}


def test_the_group_says_why_there_are_no_partitions(watched: Watched) -> None:
    watched.statistics(join_state="wait-join")
    assert watched.watch.group_reason() == ""
    watched.now_s += 12.0
    watched.statistics(join_state="wait-join")
    assert watched.watch.group_reason().startswith("the group has been rebalancing for 12 s (wait-join): it waits for")
    watched.statistics(join_state="steady")
    assert watched.watch.group_reason() == "the group has no partition for this worker: other workers have them all"


def test_by_the_consumer_protocol_a_member_without_partitions_is_in_its_first_state(watched: Watched) -> None:
    watched.watch.member.consumer_protocol = True
    watched.statistics(join_state="init")
    assert watched.watch.group_reason() == ""
    watched.now_s += 12.0
    watched.statistics(join_state="init")
    assert watched.watch.group_reason().startswith(
        "the group has given this worker no partition for 12 s: other workers"
    )
