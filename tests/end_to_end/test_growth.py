"""Partitions are added to the input while a worker runs."""

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from consumer.settings.model import Settings
from tests.end_to_end.events import encoded
from tests.end_to_end.stage import Record, running, stage
from tests.reference.events_counting import Event, Rules
from tests.support.topics import create_topic
from tests.support.waiting import until

RULES = Rules(window_duration_ms=5_000, bucket_ms=1_000, grace_ms=0)
WITHIN_S = 60.0


def record(partition: int, bucket: int) -> Record:
    return Record(None, encoded(Event(f"s{partition}", "J", bucket * 1_000 + 1)), 0, partition)


def with_fast_metadata(settings: Settings, *, create_topics: bool) -> Settings:
    """Settings of a worker that notices new partitions within a second."""
    client = {"topic.metadata.refresh.interval.ms": 1_000}
    kafka = settings.kafka.model_copy(update={"client": client, "create_topics": create_topics})
    return settings.model_copy(update={"kafka": kafka})


def test_the_other_topics_grow_with_the_input_if_topics_may_be_created(bootstrap_servers: str) -> None:
    with stage(bootstrap_servers, 1, RULES) as kafka, running(with_fast_metadata(kafka.settings(), create_topics=True)):
        kafka.write([record(0, 0)])
        kafka.wait_until_all_is_committed()
        kafka.grow(2)
        kafka.write([record(1, 0), record(1, 1), record(0, 1)])
        kafka.wait_until_all_is_committed(WITHIN_S)
        until(lambda: len(kafka.summaries()) == 2, "a bucket of each is published", WITHIN_S)


def test_otherwise_the_new_partition_waits_and_names_the_command_while_others_continue(bootstrap_servers: str) -> None:
    with stage(bootstrap_servers, 1, RULES) as kafka:
        create_topic(bootstrap_servers, kafka.kafka.output_topic, 1)
        create_topic(bootstrap_servers, kafka.kafka.dead_letter_topic, 1)
        create_topic(bootstrap_servers, kafka.kafka.state_topic, 1, {"cleanup.policy": "compact"})
        with running(with_fast_metadata(kafka.settings(), create_topics=False)) as service:
            kafka.write([record(0, 0)])
            kafka.wait_until_all_is_committed()
            kafka.grow(2)
            command = f"--alter --topic {kafka.kafka.state_topic} --partitions 2"
            until(lambda: command in service.board.latest().health.reason, "the reason is reported", WITHIN_S)
            kafka.write([record(1, 0), record(0, 1)])
            until(lambda: kafka.committed() == {0: 2}, "the other partition is committed", WITHIN_S)
            topic = kafka.kafka.state_topic
            admin = AdminClient({"bootstrap.servers": bootstrap_servers})
            admin.create_partitions([NewPartitions(topic, 2)])[topic].result()
            until(lambda: kafka.committed() == {0: 2, 1: 1}, "the partition continues", WITHIN_S)
