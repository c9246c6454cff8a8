"""Choose the transactional producer: over the C library's functions, or the Python binding's."""

import logging
from functools import cache
from typing import Protocol, cast

from confluent_kafka import Producer, TopicPartition

from consumer.kafka.c_producer import CProducer
from consumer.kafka.clients import DeliveryReport, LastClientError, free_in_thread, make_producer
from consumer.kafka.config import ClientConfig

_log = logging.getLogger(__name__)


class TransactionalProducer(Protocol):
    """The calls of the binding's producer that transactions need; arguments by position.

    Errors are `KafkaException`, with the library's marks, and `BufferError` while the queue is full.
    """

    def cluster_id(self, timeout: float, /) -> str:
        """The id of the cluster."""

    def init_transactions(self, timeout: float, /) -> None:
        """Fence predecessors."""

    def begin_transaction(self) -> None:
        """Begin."""

    def send_offsets_to_transaction(
        self, positions: list[TopicPartition], group_metadata: bytes, timeout: float, /
    ) -> None:
        """Add offsets."""

    def commit_transaction(self, timeout: float, /) -> None:
        """Flush and commit."""

    def abort_transaction(self, timeout: float, /) -> None:
        """Purge and abort."""

    def poll(self, timeout: float, /) -> int:
        """Serve callbacks."""

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        partition: int,
        on_delivery: None,
        report: None,
        timestamp: int,
        headers: list[tuple[str, str | bytes | None]] | None,
        /,
    ) -> None:
        """Add one record."""


def make_transactional_producer(
    config: ClientConfig, last_error: LastClientError, on_delivery: DeliveryReport
) -> TransactionalProducer:
    """A producer for a configuration from `producer_config`.

    Args:
        config: of its client.
        last_error: is told of errors.
        on_delivery: is called for every failed message.

    Raises:
        UsageError: librdkafka doesn't take the configuration.
    """
    try:
        return CProducer(config, last_error, on_delivery)
    except OSError as error:
        _warn(str(error))
        return released_in_thread(make_producer(config, last_error, on_delivery))


def released_in_thread(producer: Producer) -> TransactionalProducer:
    """The same calls; the client is freed in a thread of its own once nobody has them any more."""
    return cast("TransactionalProducer", _Calls(producer))


class _Calls:
    """The calls of a producer, each of which refers to it.

    Whoever takes the producer's reports usually has these calls. `__del__` ends that circle of references; otherwise a
    collection would free the client after all.
    """

    def __init__(self, producer: Producer) -> None:
        for name, function in vars(TransactionalProducer).items():
            if callable(function) and not name.startswith("_"):
                setattr(self, name, getattr(producer, name))

    def __del__(self) -> None:
        held = list(vars(self).values())
        vars(self).clear()
        free_in_thread(held.clear)


@cache
def _warn(reason: str) -> None:
    """Say once that writing is slow."""
    _log.warning(
        "records are written one by one, which takes about twice the CPU time for dead letters: librdkafka's C "
        "functions cannot be had (%s)",
        reason,
    )
