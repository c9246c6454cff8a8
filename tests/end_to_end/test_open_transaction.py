"""Records of a producer's open transaction are not read, and count as lag."""

import time

from confluent_kafka import Producer

from tests.end_to_end.events import encoded
from tests.end_to_end.stage import Record, counted, running, stage
from tests.reference.events_counting import Event, Rules
from tests.support.topics import unique
from tests.support.waiting import until

RULES = Rules(window_duration_ms=60_000, bucket_ms=10_000, grace_ms=2_000)


def test_records_of_an_open_transaction_wait_and_count_as_lag(bootstrap_servers: str) -> None:
    # offset   0    1 2 3    4
    # input    J   (J J J    C)
    # read     0             1 2 3
    # lag      0    1 2 3    0
    value = encoded(Event("s", "J", time.time_ns() // 1_000_000))
    with stage(bootstrap_servers, 1, RULES) as kafka, running(kafka.settings()) as service:
        kafka.write([Record(b"s", value)])
        until(
            lambda: counted(service, "events_total", type="join") == 1, "the record before the transaction is processed"
        )
        writer = Producer({"bootstrap.servers": bootstrap_servers, "transactional.id": unique("writer")})
        writer.init_transactions(30)
        writer.begin_transaction()
        for _ in range(3):
            writer.produce(kafka.kafka.input_topic, value, b"s", partition=0)
        assert writer.flush(30) == 0
        until(
            lambda: counted(service, "lag_records", partition="0") == 3, "the records of the transaction count as lag"
        )
        assert counted(service, "events_total", type="join") == 1
        writer.commit_transaction(30)
        until(lambda: counted(service, "events_total", type="join") == 4, "the records are processed after the commit")
