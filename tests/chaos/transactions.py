"""Producers with transactions among the events: they leave markers and aborted records behind."""

import itertools
import time
from collections.abc import Callable, Iterable, Sequence

from confluent_kafka import KafkaException, Producer

from tests.chaos.faults import Fault
from tests.chaos.producer import REASON
from tests.end_to_end.stage import Record
from tests.support.topics import unique

END_TIMEOUT_S = 30.0
TIMEOUT_MS = 15_000
"""After which brokers end one that its producer could not."""


class Transactor:
    """Writes transactions into partitions of a topic, one after the other."""

    def __init__(self, bootstrap_servers: str, topic: str, partitions: Iterable[int]) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._topic = topic
        self._partitions = itertools.cycle(partitions)

    def do(self, fault: Fault) -> str:
        """A record that must be rejected, in a transaction that is committed or aborted."""
        partition = next(self._partitions)
        record = Record(b"t", None, 0, partition, ((REASON, b"null_value"),))
        try:
            write_transaction(
                self._bootstrap_servers,
                self._topic,
                [record],
                commit=fault.kind != "abort",
                meanwhile=lambda: time.sleep(fault.for_s),
            )
        except KafkaException as error:
            return f"the brokers were away: {error.args[0].name()}"  # they end it
        return f"in partition {partition}"


def write_transaction(
    bootstrap_servers: str,
    topic: str,
    records: Sequence[Record],
    *,
    commit: bool,
    meanwhile: Callable[[], object] = lambda: None,
) -> None:
    """Write records in a transaction, which is committed or aborted.

    Raises:
        KafkaException: the brokers did not answer in time; it may have been committed all the same.
    """
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "transactional.id": unique("t"),
            "transaction.timeout.ms": TIMEOUT_MS,
            "log_level": 2,
        }
    )
    producer.init_transactions(END_TIMEOUT_S)
    producer.begin_transaction()
    for record in records:
        producer.produce(topic, record.value, record.key, record.partition, headers=list(record.headers))
    producer.flush(END_TIMEOUT_S)
    meanwhile()
    if commit:
        producer.commit_transaction(END_TIMEOUT_S)
    else:
        producer.abort_transaction(END_TIMEOUT_S)
