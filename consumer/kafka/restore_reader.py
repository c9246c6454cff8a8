"""Read offsets, state and input of partitions that are being restored, beside live reading.

Nothing here blocks: offsets are looked up in a thread. What is wrong with one partition is kept for that partition.
"""

import contextlib
import logging
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

from confluent_kafka import OFFSET_BEGINNING, KafkaError, Message, TopicPartition

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
        self._failures: dict[tuple[str, int], str] = {}
        self._ends_seen: dict[tuple[str, int], int] = {}
        """Of every partition that is read; 0 before."""
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()

    def look_up(self, partitions: Sequence[int]) -> BoundsLookUp:
        """Start to look up bounds, without waiting."""
        look_up = BoundsLookUp(partitions, self._topics, self._clients, self._closed, self._on_missing)
        thread = threading.Thread(target=look_up.run, daemon=True, name="restore-look-up")
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()
        return look_up

    def begin(self, place: tuple[str, int], offset: int) -> None:
        """Return the partition's committed records from the offset on, in `poll`."""
        self.pause([place])
        self._ends_seen[place] = 0
        # A log may begin above 0, where somebody had its oldest records deleted.
        self._consumer.incremental_assign([TopicPartition(*place, offset or OFFSET_BEGINNING)])

    def pause(self, places: Iterable[tuple[str, int]]) -> None:
        """Stop reading these, until `begin`; does nothing for one that is not read."""
        for place in places:
            self._failures.pop(place, None)
            if self._ends_seen.pop(place, None) is not None:
                self._consumer.incremental_unassign([TopicPartition(*place)])

    def poll(self, max_messages: int, timeout_s: float) -> list[Message]:
        """The next messages of all partitions being read.

        Raises:
            ViewerConsumerError: an error that does not heal.
        """
        messages = self._consumer.consume(max_messages, timeout_s)
        if any(map(Message.error, messages)):
            return self._without_errors(messages)
        return messages

    def last_seen_end(self, place: tuple[str, int]) -> int:
        """The end when it was last read to its end since `begin`, transaction markers included; 0 before."""
        return self._ends_seen.get(place, 0)

    def pop_failures(self) -> Mapping[tuple[str, int], str]:
        """Partitions that cannot be read, each with the reason; returned once."""
        failures, self._failures = self._failures, {}
        return failures

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
        place = cast("str", message.topic()), cast("int", message.partition())
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # the library's name
            if place in self._ends_seen:
                self._ends_seen[place] = cast("int", message.offset())
        elif error.fatal() or error.code() in ACCESS_DENIED:
            raise explain(f"can't read {message.topic()}-{message.partition()}", self._servers, error)
        elif error.code() in NOT_FOUND_OR_DENIED:
            if place in self._ends_seen:
                self._failures[place] = f"can't read {place[0]}-{place[1]}: {error.str()}"
        else:
            _log.warning("restoring: %s", error.str())
