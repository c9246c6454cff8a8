"""The input topic is deleted and created again while a worker runs: its offsets then mean other records."""

from tests.end_to_end.events import encoded
from tests.end_to_end.stage import Record, Stage, running, stage
from tests.reference.events_counting import Event, Rules
from tests.support.topics import create_topic, delete_topics
from tests.support.waiting import until

RULES = Rules(window_duration_ms=5_000, bucket_ms=1_000, grace_ms=0)
WITHIN_S = 60.0


def events(stream: str, number: int) -> list[Record]:
    return [Record(None, encoded(Event(stream, "J", bucket * 1_000 + 1)), 0, 0) for bucket in range(number)]


def create_again(kafka: Stage) -> None:
    servers, topic = kafka.kafka.bootstrap_servers, kafka.kafka.input_topic
    delete_topics(servers, [topic])
    create_topic(servers, topic, 1)


def test_the_worker_stops_its_partitions_with_the_reason(bootstrap_servers: str) -> None:
    with stage(bootstrap_servers, 1, RULES) as kafka:
        kafka.write(events("before", 10))
        with running(kafka.settings()) as service:
            kafka.wait_until_all_is_committed()
            create_again(kafka)
            until(lambda: service.board.latest().stopped == 1, "the partition is stopped", WITHIN_S)
            until(
                lambda: "the input topic was deleted and created again" in service.board.latest().health.reason,
                "the reason is shown",
                WITHIN_S,
            )
            kafka.write(events("after", 30))
            kafka.write(events("before", 1))
        assert {each["stream_id"] for each in kafka.summaries()} == {"before"}
