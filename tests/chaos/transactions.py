"""Producers with transactions among the events: they leave markers and aborted records behind."""

import itertools
import time

from confluent_kafka import KafkaException, Producer

from tests.chaos.faults import Fault
from tests.chaos.producer import REASON
from tests.support.topics import unique

END_TIMEOUT_S = 30.0


class Transactor:
    """Writes transactions into the partitions of a topic, one after the other."""

    def __init__(self, bootstrap_servers: str, topic: str, partitions: int) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._topic = topic
        self._partitions = itertools.cycle(range(partitions))

    def do(self, fault: Fault) -> str:
        """A record that must be rejected, in a transaction that is committed or aborted."""
        partition = next(self._partitions)
        producer = Producer(
            {"bootstrap.servers": self._bootstrap_servers, "transactional.id": unique("t"), "log_level": 2}
        )
        try:
            producer.init_transactions(END_TIMEOUT_S)
            producer.begin_transaction()
            producer.produce(self._topic, key=b"t", partition=partition, headers={REASON: b"null_value"})
            producer.flush(END_TIMEOUT_S)
            time.sleep(fault.for_s)
            if fault.kind == "abort":
                producer.abort_transaction(END_TIMEOUT_S)
            else:
                producer.commit_transaction(END_TIMEOUT_S)
        except KafkaException as error:
            return f"the brokers were away: {error.args[0].name()}"  # they end it
        return f"in partition {partition}"
