"""Read what a restore needs, beside the live reading: offsets first, then state and input.

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
from consumer.kafka.clients import ACCESS_DENIED, LastClientError, explain, kafka_error, make_admin, make_consumer
from consumer.kafka.config import ClientConfig
from consumer.kafka.deadline import Clock, Deadline
from consumer.kafka.end_offsets import end_of
from consumer.kafka.protocols import Bounds

_log = logging.getLogger(__name__)

LOOK_UP_WITHIN_S = 120.0
"""How long offsets may stay unknown: longer than any transaction may be open, with a broker that restarts besides."""

_CALL_WITHIN_S = 5.0
_RETRY_PAUSE_S = 0.2
_CLOSE_WITHIN_S = 5.0

T = TypeVar("T")


class KafkaLookUp:
    """Bounds of some partitions, once its thread has them."""

    def __init__(self) -> None:
        self._bounds: Mapping[int, Bounds] = {}
        self._failure: Exception | None = None

    def bounds(self, partition: int) -> Bounds | None:
        """None while it is not known.

        Raises:
            ViewerConsumerError: it can't be looked up.
        """
        if self._failure is not None:
            raise self._failure
        return self._bounds.get(partition)

    def run(self, look_up: Callable[[], Mapping[int, Bounds]]) -> None:
        """Look up; called in a thread."""
        try:
            self._bounds = look_up()
        except Exception as error:  # noqa: BLE001  # raised to whoever asks
            self._failure = error


class KafkaRestoreReader:
    """One consumer that is told what to read, and is asked from a thread where things stand.

    Args:
        config: from `restore_config`.
        admin_config: from `admin_config`.
        input_topic: the input topic.
        state_topic: the state topic.
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
        clock: Clock = time.monotonic,
    ) -> None:
        self._servers = str(config["bootstrap.servers"])
        self._input_topic = input_topic
        self._state_topic = state_topic
        self._clock = clock
        self._last_words = LastClientError()
        self._consumer = make_consumer(config, self._last_words)
        self._admin: AdminClient = make_admin(admin_config, self._last_words)
        self._reached: dict[tuple[str, int], int] = {}
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()

    def look_up(self, partitions: Sequence[int]) -> KafkaLookUp:
        """Begin to look up bounds; doesn't wait for them."""
        look_up, wanted = KafkaLookUp(), list(partitions)
        thread = threading.Thread(
            target=look_up.run, args=(lambda: self._bounds_of(wanted),), daemon=True, name="restore-look-up"
        )
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()
        return look_up

    def read(self, topic: str, partition: int, offset: int) -> None:
        """Return what is committed of that partition, from the offset on, in `poll`."""
        self.stop(topic, partition)
        self._reached[topic, partition] = offset
        self._consumer.incremental_assign([TopicPartition(topic, partition, offset)])

    def stop(self, topic: str, partition: int) -> None:
        """Return no more of it; does nothing where it is not read."""
        if self._reached.pop((topic, partition), None) is not None:
            self._consumer.incremental_unassign([TopicPartition(topic, partition)])

    def poll(self, max_messages: int, timeout_s: float) -> list[Message]:
        """The next messages of all that is read.

        Raises:
            ViewerConsumerError: what the client library doesn't get over.
        """
        messages = self._consumer.consume(max_messages, timeout_s)
        if any(map(Message.error, messages)):
            messages = self._without_errors(messages)
        # A replay should be no slower than live reading: a look at every message is too much.
        for topic, partition, run in runs_by_place(messages):
            self._note(topic, partition, cast("int", run[-1].offset()) + 1)
        return messages

    def reached(self, topic: str, partition: int) -> int:
        """All that is committed below this offset has been returned, and all that is aborted is out of the way."""
        return self._reached[topic, partition]

    def close(self) -> None:
        """Let go; a look-up that is under way is left to its thread."""
        self._closed.set()
        for thread in self._threads:
            thread.join(_CLOSE_WITHIN_S)
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
        elif error.fatal() or error.code() in _FINAL:
            raise explain(f"can't read {message.topic()}-{message.partition()}", self._servers, error)
        else:
            _log.warning("restoring: %s", error.str())

    def _note(self, topic: str, partition: int, reached: int) -> None:
        if (topic, partition) in self._reached:
            self._reached[topic, partition] = max(self._reached[topic, partition], reached)

    # In the thread of a look-up.

    def _bounds_of(self, partitions: list[int]) -> dict[int, Bounds]:
        deadline = Deadline.after(LOOK_UP_WITHIN_S, self._clock)
        # Else the client library finds out a second after it is told to read whom to read it from.
        self._asked(deadline, self._find_leaders)
        committed = self._asked(deadline, lambda: self._committed(partitions))
        # Asked after the offsets: what is in the state partition by then holds all that was committed with them.
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
        """Ask, and ask again where the answer is that there is none yet."""
        while True:
            try:
                return ask()
            except KafkaException as raised:
                error = kafka_error(raised)
            except TimeoutError:  # of a future: the client library may try longer than it was told to
                error = KafkaError(KafkaError._TIMED_OUT)  # noqa: SLF001  # the library's name
            if error.fatal() or error.code() in ACCESS_DENIED or deadline.passed:
                raise explain("can't look up where a restore begins", self._servers, error, self._last_words.error())
            if self._closed.wait(_RETRY_PAUSE_S):
                raise ViewerConsumerError("the worker stopped while offsets were being looked up")
            # Those that were asked may be down: the client library goes on asking them until it is told of others.
            with contextlib.suppress(KafkaException):
                self._find_leaders()

    def _find_leaders(self) -> None:
        for topic in (self._state_topic, self._input_topic):
            self._consumer.list_topics(topic, _CALL_WITHIN_S)
        self._admin.list_topics(self._state_topic, _CALL_WITHIN_S)

    def _committed(self, partitions: list[int]) -> dict[int, int | None]:
        # read_committed makes the client library wait for transactions that are about to change them.
        places = [TopicPartition(self._input_topic, partition) for partition in partitions]
        found = self._consumer.committed(places, timeout=_CALL_WITHIN_S)
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
            request_timeout=_CALL_WITHIN_S,
        )
        # Taken for an end, the answer that says none would make a state an empty one.
        return {place.partition: end_of(future.result(_CALL_WITHIN_S)) for place, future in asked.items()}

    def _watermarks(self, partition: int) -> tuple[int, int]:
        low, high = self._consumer.get_watermark_offsets(
            TopicPartition(self._input_topic, partition), timeout=_CALL_WITHIN_S
        )
        return low, high


_FINAL = ACCESS_DENIED | {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001  # the library's names
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001  # as above
    KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001  # as above
}
