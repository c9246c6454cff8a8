"""Read offsets, state and input of partitions that are being restored, beside live reading.

Nothing here blocks: offsets are looked up in a thread. What is wrong with one partition is kept for that partition.
"""

import contextlib
import logging
import math
import threading
from collections.abc import Callable, Sequence
from typing import cast

from confluent_kafka import OFFSET_BEGINNING, KafkaError, Message, TopicPartition

from consumer.kafka.batch import runs_by_place
from consumer.kafka.clients import ACCESS_DENIED, LastClientError, explain, make_admin, make_consumer
from consumer.kafka.config import ClientConfig
from consumer.kafka.deadline import CallTimedOutError, Deadline, call_within
from consumer.kafka.look_up import BoundsLookUp, Clients, Topics
from consumer.kafka.retries import NOT_FOUND_OR_DENIED
from consumer.kafka.timeouts import TIMEOUTS, Timeouts
from consumer.settings.model import KafkaSettings

_log = logging.getLogger(__name__)


class KafkaRestoreReader:
    """One consumer with manual assignment; offsets are looked up in threads.

    Args:
        config: from `restore_config`.
        admin_config: from `admin_config`.
        kafka: the topics, and what messages need.
        on_missing: is called in the look-up's thread when the state topic lacks a partition.
        timeouts: how long to wait.

    Raises:
        UsageError: librdkafka doesn't take the configuration.
    """

    def __init__(
        self,
        config: ClientConfig,
        admin_config: ClientConfig,
        kafka: KafkaSettings,
        on_missing: Callable[[], object] = lambda: None,
        timeouts: Timeouts = TIMEOUTS,
    ) -> None:
        self._servers = str(config["bootstrap.servers"])
        self._timeouts = timeouts
        self._on_missing = on_missing
        last_error = LastClientError()
        self._consumer = make_consumer(config, last_error)
        admin = make_admin(admin_config, last_error)
        self._topics = Topics(kafka)
        self._clients = Clients(self._consumer, admin, self._servers, last_error, timeouts)
        self._errors: dict[tuple[str, int], str] = {}
        self._reached: dict[tuple[str, int], int] = {}
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()

    def look_up(self, partitions: Sequence[int]) -> BoundsLookUp:
        """Start to look up bounds, without waiting."""
        look_up = BoundsLookUp(partitions, self._topics, self._clients, self._closed, self._on_missing)
        thread = threading.Thread(target=look_up.run, daemon=True, name="restore-look-up")
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()
        return look_up

    def read(self, topic: str, partition: int, offset: int) -> None:
        """Return the partition's committed records from the offset on, in `poll`."""
        self.stop(topic, partition)
        self._reached[topic, partition] = offset
        # A log may begin above 0, where somebody had its oldest records deleted.
        self._consumer.incremental_assign([TopicPartition(topic, partition, offset or OFFSET_BEGINNING)])

    def stop(self, topic: str, partition: int) -> None:
        """Stop reading it; does nothing if it is not read."""
        self._errors.pop((topic, partition), None)
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

    def error(self, topic: str, partition: int) -> str:
        """Why a partition cannot be read; empty if it can."""
        return self._errors.get((topic, partition), "")

    def close(self, within_s: float = math.inf) -> None:
        """Close the clients; a look-up under way is left to its thread."""
        deadline = Deadline.after(min(within_s, self._timeouts.look_up_close_s))
        self._closed.set()
        for thread in self._threads:
            thread.join(deadline.left_s())
        if not any(thread.is_alive() for thread in self._threads):
            with contextlib.suppress(CallTimedOutError):
                call_within(deadline, self._consumer.close)

    def _without_errors(self, messages: Sequence[Message]) -> list[Message]:
        good = []
        for message in messages:
            if message.error() is None:
                good.append(message)
            else:
                self._record_error(message, cast("KafkaError", message.error()))
        return good

    def _record_error(self, message: Message, error: KafkaError) -> None:
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # the library's name
            self._note(cast("str", message.topic()), cast("int", message.partition()), cast("int", message.offset()))
        elif error.fatal() or error.code() in ACCESS_DENIED:
            raise explain(f"can't read {message.topic()}-{message.partition()}", self._servers, error)
        elif error.code() in NOT_FOUND_OR_DENIED:
            place = cast("str", message.topic()), cast("int", message.partition())
            if place in self._reached:
                self._errors[place] = f"can't read {place[0]}-{place[1]}: {error.str()}"
        else:
            _log.warning("restoring: %s", error.str())

    def _note(self, topic: str, partition: int, reached: int) -> None:
        if (topic, partition) in self._reached:
            self._reached[topic, partition] = max(self._reached[topic, partition], reached)
