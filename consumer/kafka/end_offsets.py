"""Query end offsets without blocking the loop: ask in one turn, read the answer some turns later."""

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import NamedTuple

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import LatestSpec, ListOffsetsResultInfo, OffsetSpec

from consumer.kafka.clients import LastClientError, explain, kafka_error, make_admin
from consumer.kafka.config import ClientConfig
from consumer.kafka.deadline import Clock, Deadline
from consumer.kafka.timeouts import TIMEOUTS

_log = logging.getLogger(__name__)


class _Query(NamedTuple):
    futures: Mapping[TopicPartition, Future[ListOffsetsResultInfo]]
    """Completed by a thread of the client library."""
    deadline: Deadline

    @property
    def answered(self) -> bool:
        return all(future.done() for future in self.futures.values())


class EndOffsets:
    """End offsets of partitions, records of open transactions included; one query at a time.

    No call waits: a thread of the client library receives the answers.

    Args:
        config: from `admin_config`.
        topic: the topic of the partitions.
        timeout_s: how long an answer is valid after its query.
        clock: monotonic seconds.

    Raises:
        UsageError: librdkafka doesn't take the configuration.
    """

    def __init__(
        self, config: ClientConfig, topic: str, timeout_s: float = TIMEOUTS.end_offsets_s, clock: Clock = time.monotonic
    ) -> None:
        self._config = config
        self._servers = str(config["bootstrap.servers"])
        self._topic = topic
        self._timeout_s = timeout_s
        self._clock = clock
        self._last_error = LastClientError()
        self._admin: AdminClient = make_admin(config, self._last_error)
        self._query: _Query | None = None
        self._failed = False
        self._complained = False

    def ask(self, partitions: Iterable[int]) -> bool:
        """Start a query for all of these unless one is pending; return whether it was started."""
        self._give_up_in_time()
        wanted: dict[TopicPartition, OffsetSpec] = {
            TopicPartition(self._topic, partition): latest_spec() for partition in partitions
        }
        if self._query is not None or not wanted:
            return False
        self._failed = False
        futures = self._admin.list_offsets(
            wanted, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=self._timeout_s
        )
        self._query = _Query(futures, Deadline.after(self._timeout_s, self._clock))
        return True

    def answers(self) -> Mapping[int, int] | None:
        """End offsets of all queried partitions, returned once; None while there is no answer."""
        self._give_up_in_time()
        if self._query is None or not self._query.answered:
            return None
        futures, self._query = self._query.futures, None
        try:
            ends = {place.partition: end_of(future.result()) for place, future in futures.items()}
        except KafkaException as error:
            self._fail(kafka_error(error))
            return None
        self._complained = False
        return ends

    def failed(self) -> bool:
        """Whether the newest query failed or timed out; returned once per query."""
        self._give_up_in_time()
        failed, self._failed = self._failed, False
        return failed

    def _give_up_in_time(self) -> None:
        if self._query is not None and self._query.deadline.passed:
            self._query = None
            self._fail(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  # the library's name

    def _fail(self, error: KafkaError) -> None:
        self._failed = True
        self._admin.poll(0)  # serves error callbacks
        if not self._complained:
            _log.warning(
                "%s", explain(f"can't look up where {self._topic} ends", self._servers, error, self._last_error.error())
            )
        self._complained = True
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Replace the client: the old one keeps asking brokers that are down."""
        old = [self._admin]
        self._admin = make_admin(self._config, self._last_error)
        # Dropping the last reference waits for the client's threads, which may wait for a name server.
        threading.Thread(target=old.clear, daemon=True, name="end-offsets-close").start()


def latest_spec() -> OffsetSpec:
    """The spec that asks for the end of a partition."""
    return LatestSpec()  # type: ignore[no-untyped-call]  # the library gives no types for it


def end_of(answer: ListOffsetsResultInfo) -> int:
    """The end offset in an answer.

    Raises:
        KafkaException: the answer holds none.
    """
    if answer.offset < 0:
        # The client library answers -1 without an error if the leader cannot be reached.
        raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
    return int(answer.offset)
