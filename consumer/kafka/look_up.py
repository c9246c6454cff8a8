"""Look up in a thread where the restore of a partition begins and ends.

Offsets of an open transaction of a dead worker are known only after the broker has ended it, and a partition without a
leader answers nobody: each partition is asked for again until it is known, and none waits for another.
"""

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import ListOffsetsResultInfo

from consumer.kafka.clients import LastClientError, explain, kafka_error
from consumer.kafka.end_offsets import ask_ends, end_of
from consumer.kafka.protocols import Bounds
from consumer.kafka.retries import is_worth_a_retry
from consumer.kafka.timeouts import Timeouts
from consumer.kafka.tool_commands import add_partitions
from consumer.settings.model import KafkaSettings


class BoundsLookUp:
    """The bounds of some partitions, each as soon as it is known; `run` is called in a thread."""

    def __init__(
        self,
        partitions: Sequence[int],
        topics: "Topics",
        clients: "Clients",
        closed: threading.Event,
        on_missing: Callable[[], object],
    ) -> None:
        self._partitions = list(partitions)
        self._topics = topics
        self._clients = clients
        self._closed = closed
        self._on_missing = on_missing
        self._bounds: dict[int, Bounds] = {}
        self._reasons: dict[int, str] = {}
        self._failure: Exception | None = None
        self._one_by_one = False
        self._state_partitions: int | None = None

    def bounds(self, partition: int) -> Bounds | None:
        """None while unknown.

        Raises:
            ViewerConsumerError: the brokers refuse; asking again does not help.
        """
        if self._failure is not None:
            raise self._failure
        return self._bounds.get(partition)

    def reason(self, partition: int) -> str:
        """Why the bounds are not known yet; empty before the first failure."""
        return self._reasons.get(partition, "")

    def run(self) -> None:
        """Ask for all partitions until each is known or the reader is closed."""
        left = self._partitions
        try:
            while left and not self._closed.is_set():
                with contextlib.suppress(KafkaException):
                    # The client library would learn the leaders a second after the assignment, and goes on asking
                    # brokers that are down until its metadata is refreshed.
                    self._state_partitions = self._clients.find_leaders(self._topics)
                before, left = left, self._round(left)
                # One call has no answer at all if one leader is missing.
                self._one_by_one = left == before
                if any(map(self._is_missing, left)):
                    # Once a round, however many are missing: it asks the brokers to add them all.
                    self._on_missing()
                if left:
                    self._closed.wait(self._clients.timeouts.retry_pause_s)
        except Exception as error:  # noqa: BLE001  # raised to whoever asks
            self._failure = error

    def _round(self, partitions: list[int]) -> list[int]:
        """Ask once for each; return those that stay unknown."""
        try:
            # In this order: the state partition holds all that was committed with the offsets.
            committed = self._clients.committed(self._topics.input, partitions)
            state_ends = self._clients.ends(self._topics.state, partitions, one_by_one=self._one_by_one)
        except (KafkaException, TimeoutError) as error:
            for partition in partitions:
                self._note(partition, kafka_error(error))
            return partitions
        return [each for each in partitions if not self._resolve(each, committed[each], state_ends[each])]

    def _resolve(self, partition: int, committed: int | None, state_end: int | KafkaError) -> bool:
        if isinstance(state_end, KafkaError):
            self._note(partition, state_end)
            return False
        try:
            begin, end = self._clients.watermarks(self._topics.input, partition)
        except KafkaException as error:
            self._note(partition, kafka_error(error))
            return False
        self._bounds[partition] = Bounds(committed, state_end, begin, end)
        return True

    def _note(self, partition: int, error: KafkaError) -> None:
        if not is_worth_a_retry(error):
            raise self._clients.explained("can't look up where a restore begins", error)
        # Asked for the end of a partition that does not exist, the client library only finds no leader.
        if self._is_missing(partition):
            self._reasons[partition] = self._topics.missing(partition)
        else:
            self._reasons[partition] = f"its offsets are not known: {error.str()}"

    def _is_missing(self, partition: int) -> bool:
        return self._state_partitions is not None and partition >= self._state_partitions


class Topics:
    """The topics that a restore reads."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self.input = kafka.input_topic
        self.state = kafka.state_topic
        self._kafka = kafka

    def missing(self, partition: int) -> str:
        """What to do about a state topic that has fewer partitions than the input."""
        return (
            f'state topic "{self.state}" has no partition {partition}: set kafka.create_topics = true, or run '
            f"{add_partitions(self._kafka, self.state, partition + 1)}"
        )


class Clients:
    """The blocking calls of a look-up."""

    def __init__(
        self, consumer: Consumer, admin: AdminClient, servers: str, last_error: LastClientError, timeouts: Timeouts
    ) -> None:
        self.timeouts = timeouts
        self._consumer = consumer
        self._admin = admin
        self._servers = servers
        self._last_error = last_error

    def find_leaders(self, topics: Topics) -> int | None:
        """Refresh the metadata of both clients; return the number of state partitions, None if it is not known."""
        for topic in (topics.input, topics.state):
            self._consumer.list_topics(topic, self.timeouts.call_s)
        state = self._admin.list_topics(topics.state, self.timeouts.call_s).topics[topics.state]
        return len(state.partitions) if state.error is None else None

    def committed(self, topic: str, partitions: Iterable[int]) -> Mapping[int, int | None]:
        """The group's stable offsets; the client library waits for pending transactions."""
        places = [TopicPartition(topic, partition) for partition in partitions]
        found = self._consumer.committed(places, timeout=self.timeouts.call_s)
        for each in found:
            if each.error is not None:
                raise KafkaException(each.error)
        return {each.partition: each.offset if each.offset >= 0 else None for each in found}

    def ends(self, topic: str, partitions: Sequence[int], *, one_by_one: bool) -> Mapping[int, int | KafkaError]:
        """End offsets, records of open transactions included, or the error of each partition."""
        asked: dict[TopicPartition, Future[ListOffsetsResultInfo]] = {}
        for call in [[each] for each in partitions] if one_by_one else [partitions]:
            asked |= ask_ends(self._admin, topic, call, self.timeouts.call_s)
        return {place.partition: self._end_or_error(future.result) for place, future in asked.items()}

    def _end_or_error(self, result: Callable[[float], ListOffsetsResultInfo]) -> int | KafkaError:
        try:
            # An answer without an offset must not count as an empty state.
            return end_of(result(self.timeouts.call_s))
        except (KafkaException, TimeoutError) as error:  # the client library may try longer than its time-out
            return kafka_error(error)

    def watermarks(self, topic: str, partition: int) -> tuple[int, int]:
        """Log start and last stable offset."""
        low, high = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=self.timeouts.call_s)
        return low, high

    def explained(self, doing: str, error: KafkaError) -> Exception:
        """The error for people."""
        return explain(doing, self._servers, error, self._last_error.error())
