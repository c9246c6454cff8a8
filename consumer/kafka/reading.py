"""Readers of partitions that are assigned by hand, and what all of them do alike.

`ColumnReader` is the fast one; `MessageReader` serves where the client library's C functions cannot be had.
"""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from confluent_kafka import KafkaError

from consumer.kafka.batch import Batch
from consumer.kafka.clients import FORBIDDEN
from consumer.kafka.retries import NOT_FOUND_OR_DENIED

_log = logging.getLogger(__name__)

LONGEST_POLL_S = 0.2
"""The longest wait inside the client library, during which signals are not handled."""

Place: TypeAlias = tuple[str, int]
"""Topic and partition."""

NO_OFFSET = -1001
"""The client library's value for an unknown offset."""


class ReadEvent(NamedTuple):
    """An error, or an end, that came in place of records."""

    error: KafkaError
    place: Place | None
    """None if it concerns no partition."""
    offset: int
    """Of an end."""


class ReadError(Exception):
    """An error of a read that does not heal.

    Args:
        error: from the client library.
        place: the partition; None if it concerns no single one.
    """

    def __init__(self, error: KafkaError, place: Place | None) -> None:
        super().__init__(error.str())
        self.error = error
        self.place = place
        self.what = "the input" if place is None else f"{place[0]}-{place[1]}"


def close_aside(close: Callable[[], object]) -> None:
    """Close a client in a thread of its own: it may wait for brokers that do not answer."""
    threading.Thread(target=close, daemon=True, name="reader-close").start()


class RecordReader(ABC):
    """Reads committed records of partitions from offsets that the caller sets; used by one thread.

    ```
     begin(place, offset) ──► read ── pause ──► paused, its position kept ── resume ──► read
                               └──── drop ────► not read
    ```
    What was fetched before `begin`, `pause` or `drop` is never returned.
    """

    def __init__(self) -> None:
        self._positions: dict[Place, int] = {}
        """Of partitions that are read or paused: the offset behind what was returned."""
        self._paused: set[Place] = set()
        self._ends_seen: dict[Place, int] = {}
        self._errors: dict[Place, KafkaError] = {}
        self._failure: ReadError | None = None
        """What the next poll raises."""

    def poll(self, max_records: int, timeout_s: float) -> Batch:
        """The next records of all partitions that are read; waits for the first until the time is up.

        Args:
            max_records: at most so many.
            timeout_s: limited to `LONGEST_POLL_S`.

        Raises:
            ReadError: an error that does not heal. It came with the poll before, whose records are not lost.
        """
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        # The client library takes a negative time as infinite.
        batch = self._fetch(max_records, min(max(0.0, timeout_s), LONGEST_POLL_S))
        for run in batch.runs:
            self._positions[run.topic, run.partition] = int(batch.offsets[run.end - 1]) + 1
        for event in self._pop_events():
            self._look_at(event)
        return batch

    def serve(self) -> None:
        """Hand on what the client says, if nothing is read; where something is, `poll` does it.

        Raises:
            ReadError: as `poll`.
        """
        if not self._positions:
            self.poll(1, 0.0)

    def begin(self, place: Place, offset: int) -> None:
        """Return the partition's records from that offset on; also OFFSET_BEGINNING."""
        self.drop([place])
        self._assign(place, offset)
        self._positions[place] = max(0, offset)

    def pause(self, places: Iterable[Place]) -> None:
        """Return no more records of these until `resume` or `begin`."""
        for place in places:
            if place in self._positions and place not in self._paused:
                self._paused.add(place)
                self._unassign(place)

    def resume(self, places: Iterable[Place]) -> None:
        """Continue with these behind what was returned last."""
        for place in places:
            if place in self._paused:
                self._assign(place, self._positions[place])
                self._paused.discard(place)

    def drop(self, places: Iterable[Place]) -> None:
        """Read these no more; does nothing for one that is not read."""
        for place in places:
            if self._positions.pop(place, None) is not None and place not in self._paused:
                self._unassign(place)
            self._paused.discard(place)
            self._ends_seen.pop(place, None)
            self._errors.pop(place, None)

    def renew(self) -> None:
        """Replace the client by another, which reads on behind what was returned: for one that has stopped fetching.

        The batch of the last poll is over.

        Raises:
            UsageError: librdkafka doesn't take the configuration.
        """
        self._renew_client()
        for place, position in self._positions.items():
            if place not in self._paused:
                self._assign(place, position)

    def last_seen_end(self, place: Place) -> int:
        """The end when it was last read to its end since `begin`, hidden records included; 0 before."""
        return self._ends_seen.get(place, 0)

    def pop_errors(self) -> Mapping[Place, KafkaError]:
        """Partitions that cannot be read on since `begin`, each with the error; returned once."""
        errors, self._errors = self._errors, {}
        return errors

    @abstractmethod
    def known_end(self, place: Place) -> int:
        """The end offset as of the last fetch, without asking; negative if it is not known."""

    @abstractmethod
    def close(self) -> None:
        """Close the client; may hang, so it is called in a thread that can be left behind."""

    @abstractmethod
    def _renew_client(self) -> None:
        """Make another client, to which nothing is assigned, and close this one without waiting for it."""

    @abstractmethod
    def _fetch(self, max_records: int, timeout_s: float) -> Batch:
        """The next records."""

    @abstractmethod
    def _pop_events(self) -> Iterator[ReadEvent]:
        """The errors and ends that came with the last fetch."""

    @abstractmethod
    def _assign(self, place: Place, offset: int) -> None:
        """Begin to fetch a partition that is not fetched."""

    @abstractmethod
    def _unassign(self, place: Place) -> None:
        """Stop to fetch it, and drop what was fetched."""

    def _look_at(self, event: ReadEvent) -> None:
        error, place = event.error, event.place
        is_read = place is not None and place in self._positions and place not in self._paused
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # the library's name
            if is_read and place is not None:
                self._positions[place] = max(self._positions[place], event.offset)
                self._ends_seen[place] = event.offset
        elif error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            pass  # a reader has the name of the group, but joins none; the member tells
        elif error.fatal() or error.code() in FORBIDDEN or error.code() == KafkaError._FATAL:  # noqa: SLF001  # as above
            self._failure = self._failure or ReadError(error, place)
        elif error.code() in NOT_FOUND_OR_DENIED:
            if is_read and place is not None:
                self._errors[place] = error
        else:
            _log.warning("reading%s: %s", f" {place[0]}-{place[1]}" if place else "", error.str())
