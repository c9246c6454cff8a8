"""Read offsets, state and input of partitions that are being restored, beside live reading.

Nothing here blocks: offsets are looked up in a thread. What is wrong with one partition is kept for that partition.
"""

import contextlib
import logging
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from confluent_kafka import OFFSET_BEGINNING

from consumer.kafka.batch import Batch
from consumer.kafka.clients import LastClientError, explain, make_admin, make_consumer
from consumer.kafka.config import ClientConfig
from consumer.kafka.deadline import CallTimedOutError, Deadline, call_within
from consumer.kafka.look_up import BoundsLookUp, Clients, Topics
from consumer.kafka.readers import make_reader
from consumer.kafka.reading import ReadError
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
        admin = self._admin = make_admin(admin_config, last_error)
        self._reader = make_reader(config, last_error)
        self._topics = Topics(kafka)
        self._clients = Clients(self._consumer, admin, self._servers, last_error, timeouts)
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()

    def look_up(self, partitions: Sequence[int]) -> BoundsLookUp:
        """Start to look up bounds, without waiting."""
        look_up = BoundsLookUp(partitions, self._topics, self._clients, self._closed, self._on_missing)
        thread = threading.Thread(target=look_up.run, daemon=True, name="restore-look-up")
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()
        return look_up

    def serve(self) -> None:
        """Hand on what the clients say; called now and then, as it would pile up while nothing is restored."""
        self._consumer.poll(0)  # it has no partitions
        self._admin.poll(0)
        with contextlib.suppress(ReadError):  # a restore meets it again
            self._reader.serve()

    def begin(self, place: tuple[str, int], offset: int) -> None:
        """Return the partition's committed records from the offset on, in `poll`."""
        # A log may begin above 0, where somebody had its oldest records deleted.
        self._reader.begin(place, offset or OFFSET_BEGINNING)

    def pause(self, places: Iterable[tuple[str, int]]) -> None:
        """Stop reading these, until `begin`; does nothing for one that is not read."""
        self._reader.drop(places)

    def poll(self, max_records: int, timeout_s: float) -> Batch:
        """The next records of all partitions being read.

        Raises:
            ViewerConsumerError: an error that does not heal.
        """
        try:
            return self._reader.poll(max_records, timeout_s)
        except ReadError as failed:
            raise explain(f"can't read {failed.what}", self._servers, failed.error) from None

    def last_seen_end(self, place: tuple[str, int]) -> int:
        """The end when it was last read to its end since `begin`, transaction markers included; 0 before."""
        return self._reader.last_seen_end(place)

    def pop_failures(self) -> Mapping[tuple[str, int], str]:
        """Partitions that cannot be read, each with the reason; returned once."""
        errors = self._reader.pop_errors().items()
        return {place: f"can't read {place[0]}-{place[1]}: {error.str()}" for place, error in errors}

    def close(self, within_s: float = math.inf) -> None:
        """Close the clients; a look-up under way is left to its thread."""
        deadline = Deadline.after(min(within_s, self._timeouts.look_up_close_s))
        self._closed.set()
        for thread in self._threads:
            thread.join(deadline.left_s())
        if not any(thread.is_alive() for thread in self._threads):
            with contextlib.suppress(CallTimedOutError):
                call_within(deadline, self._consumer.close)
        with contextlib.suppress(CallTimedOutError):
            call_within(deadline, self._reader.close)
