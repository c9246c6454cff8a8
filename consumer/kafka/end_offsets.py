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

from consumer.errors import ViewerConsumerError
from consumer.kafka.clients import LastClientError, explain, kafka_error, make_admin
from consumer.kafka.config import ClientConfig
from consumer.kafka.deadline import Clock, Deadline
from consumer.kafka.timeouts import TIMEOUTS

MOST_CALLS = 200
"""In one query."""

ASK_FAILING_EVERY_S = 10.0
"""Interval of queries for partitions that had no answer."""

_log = logging.getLogger(__name__)


class _Query(NamedTuple):
    futures: Mapping[TopicPartition, Future[ListOffsetsResultInfo]]
    """Completed by a thread of the client library."""
    deadline: Deadline

    @property
    def answered(self) -> bool:
        """Whether all answers are there."""
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
        self._failing: set[int] = set()
        self._ask_failing_at_s = 0.0
        self._one_by_one = False
        self._complained = False

    def ask(self, partitions: Iterable[int]) -> bool:
        """Start a query for these unless one is pending; return whether it was started.

        Partitions without an answer last time are asked for by themselves, now and then, so that one without a leader
        does not delay the others.
        """
        self._give_up_in_time()
        if self._query is not None:
            return False
        wanted = set(partitions)
        failing = wanted & self._failing
        if failing != wanted and self._clock() < self._ask_failing_at_s:
            wanted -= failing
        elif failing:
            wanted, self._ask_failing_at_s = failing, self._clock() + ASK_FAILING_EVERY_S
        if not wanted:
            return False
        self._failed = False
        self._admin.poll(0)  # what it reports piles up otherwise
        self._query = _Query(self._futures_of(sorted(wanted)), Deadline.after(self._timeout_s, self._clock))
        return True

    def _futures_of(self, partitions: list[int]) -> dict[TopicPartition, Future[ListOffsetsResultInfo]]:
        """Ask for all in one call, or for each in its own: one call has no answer at all if one leader is missing."""
        calls = [[each] for each in partitions[:MOST_CALLS]] if self._one_by_one else [partitions]
        futures: dict[TopicPartition, Future[ListOffsetsResultInfo]] = {}
        for call in calls:
            futures |= ask_ends(self._admin, self._topic, call, self._timeout_s)
        return futures

    def answers(self) -> Mapping[int, int] | None:
        """End offsets of the queried partitions that have one, returned once; None while there is no answer."""
        self._give_up_in_time()
        if self._query is None or not self._query.answered:
            return None
        return self._collect(self._query) or None

    def failed(self) -> bool:
        """Whether the newest query failed or timed out for all its partitions; returned once per query."""
        self._give_up_in_time()
        failed, self._failed = self._failed, False
        return failed

    def _give_up_in_time(self) -> None:
        """Drop a query that is too old: its answers say nothing of now, but they tell who did not answer."""
        if self._query is not None and self._query.deadline.passed:
            self._collect(self._query)
            self._failed = True

    def _collect(self, query: _Query) -> Mapping[int, int]:
        self._query = None
        ends, error = self._answers_of(query)
        asked = {place.partition for place in query.futures}
        if len(asked) > 1 and not ends and not self._one_by_one:
            self._one_by_one = True  # to learn which of them it is
        else:
            self._one_by_one = False
            self._failing = (self._failing | asked) - ends.keys()
        if error is not None:
            self._complain(error)
        elif not self._failing:
            self._complained = False
        if not ends:
            self._failed = True
            self._begin_anew()
        return ends

    def _answers_of(self, query: _Query) -> tuple[dict[int, int], KafkaError | None]:
        ends: dict[int, int] = {}
        error: KafkaError | None = None
        for place, future in query.futures.items():
            try:
                ends[place.partition] = end_of(future.result(0))
            except (KafkaException, TimeoutError) as raised:
                error = kafka_error(raised)
        return ends, error

    def _complain(self, error: KafkaError) -> None:
        self._admin.poll(0)  # serves error callbacks
        if not self._complained:
            _log.warning(
                "%s", explain(f"can't look up where {self._topic} ends", self._servers, error, self._last_error.error())
            )
        self._complained = True

    def _begin_anew(self) -> None:
        """Replace the client: the old one keeps asking brokers that are down."""
        # One that logs in with tokens of ours takes a second to be made, and dropping the last reference to the old one
        # waits for its threads, which may wait for a name server.
        threading.Thread(target=self._replace, daemon=True, name="end-offsets-replace").start()

    def _replace(self) -> None:
        try:
            self._admin = make_admin(self._config, self._last_error)
        except ViewerConsumerError as error:  # no token: the next query that fails tries again
            _log.warning("can't ask where %s ends with another client: %s", self._topic, error)


def ask_ends(
    admin: AdminClient, topic: str, partitions: Iterable[int], timeout_s: float
) -> dict[TopicPartition, Future[ListOffsetsResultInfo]]:
    """Ask in one call where partitions end, records of open transactions included; `end_of` reads each answer."""
    specs: dict[TopicPartition, OffsetSpec] = {TopicPartition(topic, each): _latest_spec() for each in partitions}
    return admin.list_offsets(specs, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=timeout_s)


def _latest_spec() -> OffsetSpec:
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
