"""Read offsets, state and input of partitions that are being restored, beside live reading.

Nothing here blocks for long. Offsets are looked up in a thread, because offsets of an open transaction of a dead worker
are known only after the broker has ended it; other partitions continue meanwhile.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, cast

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import LatestSpec, OffsetSpec

from consumer.errors import ViewerConsumerError
from consumer.kafka.batch import runs_by_place
from consumer.kafka.clients import LastClientError, explain, kafka_error, make_admin, make_consumer
from consumer.kafka.config import ClientConfig
from consumer.kafka.deadline import Clock, Deadline
from consumer.kafka.end_offsets import end_of
from consumer.kafka.protocols import Bounds
from consumer.kafka.retries import NOT_FOUND_OR_DENIED, call_until
from consumer.kafka.timeouts import TIMEOUTS, Timeouts

_log = logging.getLogger(__name__)

T = TypeVar("T")


class KafkaLookUp:
    """Looks up the bounds of some partitions in a thread."""

    def __init__(self) -> None:
        self._bounds: Mapping[int, Bounds] = {}
        self._failure: Exception | None = None

    def bounds(self, partition: int) -> Bounds | None:
        """None while it is not known.

        Raises:
            ViewerConsumerError: the look-up failed.
        """
        if self._failure is not None:
            raise self._failure
        return self._bounds.get(partition)

    def run(self, look_up: Callable[[], Mapping[int, Bounds]]) -> None:
        """Run the look-up; called in a thread."""
        try:
            self._bounds = look_up()
        except Exception as error:  # noqa: BLE001  # raised to whoever asks
            self._failure = error


class KafkaRestoreReader:
    """One consumer with manual assignment; offsets are looked up in threads.

    Args:
        config: from `restore_config`.
        admin_config: from `admin_config`.
        input_topic: the input topic.
        state_topic: the state topic.
        timeouts: how long to wait.
        clock: monotonic seconds.

    Raises:
        UsageError: librdkafka doesn't take the configuration.
    """

    def __init__(
        self,
        config: ClientConfig,
        admin_config: ClientConfig,
        input_topic: str,
        state_topic: str,
        timeouts: Timeouts = TIMEOUTS,
        clock: Clock = time.monotonic,
    ) -> None:
        self._servers = str(config["bootstrap.servers"])
        self._input_topic = input_topic
        self._state_topic = state_topic
        self._timeouts = timeouts
        self._clock = clock
        self._last_error = LastClientError()
        self._consumer = make_consumer(config, self._last_error)
        self._admin: AdminClient = make_admin(admin_config, self._last_error)
        self._reached: dict[tuple[str, int], int] = {}
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()

    def look_up(self, partitions: Sequence[int]) -> KafkaLookUp:
        """Start to look up bounds, without waiting."""
        look_up, wanted = KafkaLookUp(), list(partitions)
        thread = threading.Thread(
            target=look_up.run, args=(lambda: self._bounds_of(wanted),), daemon=True, name="restore-look-up"
        )
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()
        return look_up

    def read(self, topic: str, partition: int, offset: int) -> None:
        """Return the partition's committed records from the offset on, in `poll`."""
        self.stop(topic, partition)
        self._reached[topic, partition] = offset
        self._consumer.incremental_assign([TopicPartition(topic, partition, offset)])

    def stop(self, topic: str, partition: int) -> None:
        """Stop reading it; does nothing if it is not read."""
        if self._reached.pop((topic, partition), None) is not None:
            self._consumer.incremental_unassign([TopicPartition(topic, partition)])

    def poll(self, max_messages: int, timeout_s: float) -> list[Message]:
        """The next messages of all partitions being read.

        Raises:
            ViewerConsumerError: an error that does not heal.
        """
        messages = self._consumer.consume(max_messages, timeout_s)
        if any(map(Message.error, messages)):
            messages = self._without_errors(messages)
        # A replay must be as fast as live reading, so messages are not inspected one by one.
        for topic, partition, run in runs_by_place(messages):
            self._note(topic, partition, cast("int", run[-1].offset()) + 1)
        return messages

    def reached(self, topic: str, partition: int) -> int:
        """The position: all committed records below it have been returned."""
        return self._reached[topic, partition]

    def close(self) -> None:
        """Close the clients; a look-up under way is left to its thread."""
        self._closed.set()
        for thread in self._threads:
            thread.join(self._timeouts.look_up_close_s)
        if not any(thread.is_alive() for thread in self._threads):
            self._consumer.close()

    def _without_errors(self, messages: Sequence[Message]) -> list[Message]:
        good = []
        for message in messages:
            if message.error() is None:
                good.append(message)
            else:
                self._take_error(message, cast("KafkaError", message.error()))
        return good

    def _take_error(self, message: Message, error: KafkaError) -> None:
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # the library's name
            self._note(cast("str", message.topic()), cast("int", message.partition()), cast("int", message.offset()))
        elif error.fatal() or error.code() in NOT_FOUND_OR_DENIED:
            raise explain(f"can't read {message.topic()}-{message.partition()}", self._servers, error)
        else:
            _log.warning("restoring: %s", error.str())

    def _note(self, topic: str, partition: int, reached: int) -> None:
        if (topic, partition) in self._reached:
            self._reached[topic, partition] = max(self._reached[topic, partition], reached)

    # Runs in the thread of a look-up.

    def _bounds_of(self, partitions: list[int]) -> dict[int, Bounds]:
        deadline = Deadline.after(self._timeouts.restore_s, self._clock)
        # Without this request the client library would learn the leader only a second after the assignment.
        self._asked(deadline, self._find_leaders)
        committed = self._asked(deadline, lambda: self._committed(partitions))
        # Queried after the offsets: the state partition then holds all that was committed with them.
        state_ends = self._asked(deadline, lambda: self._state_ends(partitions))
        return {
            partition: Bounds(
                committed[partition],
                state_ends[partition],
                *self._asked(deadline, lambda number=partition: self._watermarks(number)),  # type: ignore[misc]  # a default binds it now
            )
            for partition in partitions
        }

    def _asked(self, deadline: Deadline, ask: Callable[[], T]) -> T:
        """Query until there is an answer or the deadline has passed."""
        try:
            return call_until(deadline, ask, self._pause)
        except KafkaException as error:
            doing = "can't look up where a restore begins"
            raise explain(doing, self._servers, kafka_error(error), self._last_error.error()) from None

    def _pause(self) -> None:
        if self._closed.wait(self._timeouts.retry_pause_s):
            raise ViewerConsumerError("the worker stopped while offsets were being looked up")
        # The brokers may be down: the client library keeps asking them until its metadata is refreshed.
        with contextlib.suppress(KafkaException):
            self._find_leaders()

    def _find_leaders(self) -> None:
        for topic in (self._state_topic, self._input_topic):
            self._consumer.list_topics(topic, self._timeouts.call_s)
        self._admin.list_topics(self._state_topic, self._timeouts.call_s)

    def _committed(self, partitions: list[int]) -> dict[int, int | None]:
        # read_committed makes the client library wait for pending transactions.
        places = [TopicPartition(self._input_topic, partition) for partition in partitions]
        found = self._consumer.committed(places, timeout=self._timeouts.call_s)
        for each in found:
            if each.error is not None:
                raise KafkaException(each.error)
        return {each.partition: each.offset if each.offset >= 0 else None for each in found}

    def _state_ends(self, partitions: list[int]) -> dict[int, int]:
        wanted: dict[TopicPartition, OffsetSpec] = {
            TopicPartition(self._state_topic, partition): LatestSpec()  # type: ignore[no-untyped-call]  # it has no types
            for partition in partitions
        }
        asked = self._admin.list_offsets(
            wanted,
            isolation_level=IsolationLevel.READ_UNCOMMITTED,
            request_timeout=self._timeouts.call_s,
        )
        # An answer without an offset must not count as an empty state.
        return {place.partition: end_of(future.result(self._timeouts.call_s)) for place, future in asked.items()}

    def _watermarks(self, partition: int) -> tuple[int, int]:
        low, high = self._consumer.get_watermark_offsets(
            TopicPartition(self._input_topic, partition), timeout=self._timeouts.call_s
        )
        return low, high
