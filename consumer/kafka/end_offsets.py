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

ANSWER_WITHIN_S = 5.0
"""An answer that is taken later than this after its question says nothing of now."""

_log = logging.getLogger(__name__)


class _Question(NamedTuple):
    futures: Mapping[TopicPartition, Future[ListOffsetsResultInfo]]
    """Set by a thread of the client library."""
    deadline: Deadline

    @property
    def answered(self) -> bool:
        return all(future.done() for future in self.futures.values())


class EndOffsets:
    """One past the newest record of partitions, those of open transactions too; one question at a time.

    No call waits: the client library's own thread takes what the brokers say.

    Args:
        config: from `admin_config`.
        topic: whose partitions are asked for.
        answer_within_s: how long after its question an answer may be taken.
        clock: monotonic seconds.

    Raises:
        UsageError: librdkafka doesn't take the configuration.
    """

    def __init__(
        self, config: ClientConfig, topic: str, answer_within_s: float = ANSWER_WITHIN_S, clock: Clock = time.monotonic
    ) -> None:
        self._config = config
        self._servers = str(config["bootstrap.servers"])
        self._topic = topic
        self._answer_within_s = answer_within_s
        self._clock = clock
        self._last_words = LastClientError()
        self._admin: AdminClient = make_admin(config, self._last_words)
        self._question: _Question | None = None
        self._failed = False
        self._complained = False

    def ask(self, partitions: Iterable[int]) -> bool:
        """Begin to ask for all of these, unless an answer is awaited still; says whether it was begun."""
        self._give_up_in_time()
        wanted: dict[TopicPartition, OffsetSpec] = {
            TopicPartition(self._topic, partition): latest_spec() for partition in partitions
        }
        if self._question is not None or not wanted:
            return False
        self._failed = False
        futures = self._admin.list_offsets(
            wanted, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=self._answer_within_s
        )
        self._question = _Question(futures, Deadline.after(self._answer_within_s, self._clock))
        return True

    def answers(self) -> Mapping[int, int] | None:
        """End offsets by partition, of all that were asked for; given once, None while there are none to give."""
        self._give_up_in_time()
        if self._question is None or not self._question.answered:
            return None
        futures, self._question = self._question.futures, None
        try:
            ends = {place.partition: end_of(future.result()) for place, future in futures.items()}
        except KafkaException as error:
            self._fail(kafka_error(error))
            return None
        self._complained = False
        return ends

    def failed(self) -> bool:
        """Whether the newest question is known to have got no answer, or an error for any partition; said once."""
        self._give_up_in_time()
        failed, self._failed = self._failed, False
        return failed

    def _give_up_in_time(self) -> None:
        if self._question is not None and self._question.deadline.passed:
            self._question = None
            self._fail(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  # the library's name

    def _fail(self, error: KafkaError) -> None:
        self._failed = True
        self._admin.poll(0)  # serves what the client has to say
        if not self._complained:
            _log.warning(
                "%s", explain(f"can't look up where {self._topic} ends", self._servers, error, self._last_words.error())
            )
        self._complained = True
        self._begin_anew()

    def _begin_anew(self) -> None:
        """With a client that has yet to look up who leads: the old one goes on asking brokers that are down."""
        old = [self._admin]
        self._admin = make_admin(self._config, self._last_words)
        # With its last reference the client waits for its own threads, and those perhaps for a name server.
        threading.Thread(target=old.clear, daemon=True, name="end-offsets-close").start()


def latest_spec() -> OffsetSpec:
    """Asks for the end of a partition."""
    return LatestSpec()  # type: ignore[no-untyped-call]  # the library gives no types for it


def end_of(answer: ListOffsetsResultInfo) -> int:
    """The end that was asked for.

    Raises:
        KafkaException: there is none in the answer.
    """
    if answer.offset < 0:
        # So the client library answers, without an error, for partitions of one of several leaders that can't be asked.
        raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
    return int(answer.offset)
