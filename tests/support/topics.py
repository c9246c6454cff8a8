"""Topics of a real broker for tests: create, fill, and read to the end."""

import time
import uuid
from collections.abc import Mapping, Sequence

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.cimpl import NewTopic

from tests.support.waiting import until


def unique(name: str) -> str:
    """Return a unique name for a topic or group."""
    return f"{name}-{uuid.uuid4().hex[:12]}"


def create_topic(
    bootstrap_servers: str,
    name: str,
    partitions: int,
    config: Mapping[str, str] | None = None,
    within_s: float = 15.0,
    replicas: Sequence[Sequence[int]] = (),
) -> None:
    """Create a topic and wait until it can be used.

    It has as many replicas as the brokers give by default, or those of partition i on the brokers `replicas[i]`,
    of each the same number.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    config = dict(config or {})
    if replicas:
        placed = [list(nodes) for nodes in replicas]
        topic = NewTopic(name, num_partitions=partitions, replica_assignment=placed, config=config)
    else:
        topic = NewTopic(name, num_partitions=partitions, replication_factor=-1, config=config)
    admin.create_topics([topic])[name].result(within_s)
    deadline = time.monotonic() + within_s
    while admin.list_topics(name, timeout=within_s).topics[name].error is not None:
        assert time.monotonic() < deadline, f"topic {name} was created but has no leader"


def delete_topics(bootstrap_servers: str, names: Sequence[str]) -> None:
    """Delete topics; missing ones are ignored."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    for future in admin.delete_topics(list(names)).values():
        # Not raised: the traceback would hold this frame, and so the client with its threads, until a collection.
        future.exception(15)


def delete_records(
    bootstrap_servers: str, topic: str, partition: int, before: int = OFFSET_END, within_s: float = 15.0
) -> None:
    """Delete the oldest records of a partition, by default all.

    A broker refuses it until it has applied a change of the topic's cleanup.policy that the controller has already
    acknowledged: then it is asked again.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 2})
    place = TopicPartition(topic, partition, before)

    def deleted() -> bool:
        try:
            admin.delete_records([place])[place].result(within_s)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.POLICY_VIOLATION:
                raise
            return False
        return True

    until(deleted, f"records of {topic}-{partition} are deleted", within_s)


def produce(
    bootstrap_servers: str,
    topic: str,
    records: Sequence[tuple[int, bytes | None, bytes | None]],
    within_s: float = 15.0,
) -> None:
    """Write (partition, key, value) without transactions and wait until all are acknowledged."""
    producer = Producer({"bootstrap.servers": bootstrap_servers, "linger.ms": 0, "enable.idempotence": True})
    for partition, key, value in records:
        producer.produce(topic, value, key, partition)
    assert producer.flush(within_s) == 0, f"not all of {len(records)} records were written to {topic}"


def read_committed(
    bootstrap_servers: str, topic: str, within_s: float = 60.0, only: int | None = None
) -> list[Message]:
    """All committed records of a topic, or of one partition, up to where it ends now; each partition in order."""
    return _read_all(bootstrap_servers, topic, "read_committed", within_s, only)


def read_uncommitted(bootstrap_servers: str, topic: str, within_s: float = 60.0) -> list[Message]:
    """Return all records of a topic, including those of open and aborted transactions."""
    return _read_all(bootstrap_servers, topic, "read_uncommitted", within_s)


def _read_all(
    bootstrap_servers: str, topic: str, isolation: str, within_s: float, only: int | None = None
) -> list[Message]:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": unique("reader"),
            "isolation.level": isolation,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "fetch.queue.backoff.ms": 10,
        }
    )
    try:
        partitions = [] if only is None else [only]
        if only is None:
            partitions = list(consumer.list_topics(topic, timeout=within_s).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        return _read_to_the_ends(consumer, set(partitions), time.monotonic() + within_s)
    finally:
        consumer.close()


def _read_to_the_ends(consumer: Consumer, unfinished: set[int], deadline: float) -> list[Message]:
    records: list[Message] = []
    while unfinished:
        assert time.monotonic() < deadline, (
            f"partitions {unfinished} were not read to their end; {len(records)} records were read"
        )
        for message in consumer.consume(1000, 0.1):
            error = message.error()
            if error is None:
                records.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                unfinished.discard(message.partition() or 0)
            else:
                raise KafkaException(error)
    return records


def committed_offsets(bootstrap_servers: str, group: str, topic: str, partitions: int) -> dict[int, int]:
    """Return the next offsets that a group has committed, without partitions that have none."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap_servers, "group.id": group, "isolation.level": "read_committed"}
    )
    try:
        found = consumer.committed([TopicPartition(topic, each) for each in range(partitions)], timeout=15)
    finally:
        consumer.close()
    return {each.partition: each.offset for each in found if each.offset >= 0}


def ends(bootstrap_servers: str, topic: str, isolation: str = "read_uncommitted") -> dict[int, int]:
    """Return the end of each partition for a reader with that isolation level; transaction markers count."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap_servers, "group.id": unique("ends"), "isolation.level": isolation}
    )
    try:
        partitions = consumer.list_topics(topic, timeout=15).topics[topic].partitions
        return {each: consumer.get_watermark_offsets(TopicPartition(topic, each), timeout=15)[1] for each in partitions}
    finally:
        consumer.close()


def configure_topic(bootstrap_servers: str, topic: str, key: str, value: str) -> None:
    """Change a topic's configuration."""
    entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    admin.incremental_alter_configs([resource])[resource].result(15)


def configure_group(bootstrap_servers: str, group: str, key: str, value: int) -> None:
    """Set what the brokers let a group of KIP-848 have for itself."""
    entry = ConfigEntry(key, str(value), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.GROUP, group, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    admin.incremental_alter_configs([resource])[resource].result(15)


def group_members(bootstrap_servers: str, group: str) -> int:
    """Return how many members a group has."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    return len(admin.describe_consumer_groups([group])[group].result(15).members)
