"""Downstream: reads the committed of a topic while everything is going on, and writes down what it sees."""

import threading
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from tests.support.topics import unique
from tests.support.waiting import until


class Seen(NamedTuple):
    """A record as it appeared."""

    partition: int
    offset: int
    value: bytes


class Reader:
    """Reads all partitions of a topic from their beginning, in a thread; `grow` adds those that came since."""

    def __init__(self, bootstrap_servers: str, topic: str, partitions: int) -> None:
        self._topic = topic
        self._partitions = partitions
        self._assigned = 0
        self.seen: list[Seen] = []
        """In the order of appearance, which is that of offsets within a partition."""
        self._ends: dict[int, int] = {}
        self._failure: Exception | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reader")
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": unique("reader"),
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "log_level": 2,
            }
        )

    def __enter__(self) -> "Reader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def grow(self, partitions: int) -> None:
        """Read so many from now on, where the topic has more than at first."""
        self._partitions = max(self._partitions, partitions)

    def wait_until_at(self, ends: dict[int, int], within_s: float) -> None:
        """Wait until it has read each partition as far as that.

        Raises:
            Exception: what it could not get over.
        """
        until(lambda: self._is_at(ends), f"the reader is at {ends}", within_s)

    def _is_at(self, ends: dict[int, int]) -> bool:
        if self._failure is not None:
            raise self._failure
        return all(self._ends.get(partition, 0) >= end for partition, end in ends.items())

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._read()
        except Exception as error:  # noqa: BLE001  # raised where the reader is waited for
            self._failure = error

    def _read(self) -> None:
        if self._assigned < (wanted := self._partitions):
            more = [TopicPartition(self._topic, partition, 0) for partition in range(self._assigned, wanted)]
            self._consumer.incremental_assign(more)
            self._assigned = wanted
        for message in self._consumer.consume(1_000, 0.1):
            partition, offset, error = message.partition() or 0, message.offset() or 0, message.error()
            if error is None:
                self.seen.append(Seen(partition, offset, message.value() or b""))
            elif error.code() == KafkaError._PARTITION_EOF:
                self._ends[partition] = offset
            elif error.code() == KafkaError._AUTO_OFFSET_RESET or error.fatal():
                raise KafkaException(error)
