"""Convert messages to columns and to runs of consecutive records of one partition."""

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from operator import itemgetter
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
from confluent_kafka import Message

_SECOND = itemgetter(1)

RecordHeaders = Sequence[tuple[str, bytes | None]]

_NO_HEADERS: RecordHeaders = ()

UNREADABLE_HEADERS = "viewer_consumer.headers_unreadable"
"""Replaces all headers of a record if one of their names is not UTF-8."""


class Run(NamedTuple):
    """Rows `begin` to `end` of a batch: one partition, ordered by offset."""

    partition: int
    begin: int
    end: int


class Batch(NamedTuple):
    """Messages and their columns, one entry per message."""

    messages: Sequence[Message]
    values: list[bytes | None]
    offsets: npt.NDArray[np.int64]
    timestamps_ms: npt.NDArray[np.int64]
    """Kafka's timestamps; -1 for a record without one."""
    runs: list[Run]
    """The batch split at changes of the partition."""

    def headers(self) -> list[RecordHeaders]:
        """The headers of every message; not a column, because most inputs never need them."""
        return headers_of_all(self.messages)


def keys_of(messages: Sequence[Message]) -> list[bytes | None]:
    """The keys of messages."""
    return cast("list[bytes | None]", list(map(Message.key, messages)))


def headers_of_all(messages: Sequence[Message]) -> list[RecordHeaders]:
    """The headers of messages, in order.

    The client library returns no headers of a record with a name that is not UTF-8; `UNREADABLE_HEADERS` replaces them.
    """
    found: list[RecordHeaders | None] = []
    # For such a name the library returns a broken list and sets a pending exception. An ordinary call may not check for
    # it; `map` checks, so the exception is raised here and the broken list is never touched.
    one_by_one = cast("Iterator[RecordHeaders | None]", map(Message.headers, messages))
    while len(found) < len(messages):
        try:
            found.extend(one_by_one)
        except (SystemError, UnicodeDecodeError):
            # The library caches the list, and would return it without an error the second time.
            messages[len(found)].set_headers([(UNREADABLE_HEADERS, None)])
            found.append([(UNREADABLE_HEADERS, None)])
    return [headers or _NO_HEADERS for headers in found]


def headers_of(message: Message) -> RecordHeaders:
    """The headers of one message, as `headers_of_all`."""
    (headers,) = headers_of_all((message,))
    return headers


def batch_of(messages: Sequence[Message]) -> Batch:
    """The columns of messages that carry no errors."""
    # `map` over an unbound method costs half of a loop that calls it. Each column costs time for each message, so
    # columns that can be derived are left out.
    runs = _runs_of(messages)
    offsets = [_offsets_of(messages[run.begin : run.end]) for run in runs]
    return Batch(
        messages=messages,
        values=list(map(Message.value, messages)),
        offsets=offsets[0] if len(offsets) == 1 else np.concatenate([*offsets, np.empty(0, np.int64)]),
        timestamps_ms=np.fromiter(map(_SECOND, map(Message.timestamp, messages)), np.int64, len(messages)),
        runs=runs,
    )


def runs_by_place(messages: Sequence[Message]) -> Iterator[tuple[str, int, Sequence[Message]]]:
    """Split messages where topic or partition changes."""
    places = cast(
        "list[tuple[str, int]]", list(zip(map(Message.topic, messages), map(Message.partition, messages), strict=True))
    )
    if places and places.count(places[0]) == len(places):  # the common case
        yield *places[0], messages
        return
    begin = 0
    for (topic, partition), run in groupby(places):
        end = begin + sum(1 for _ in run)
        yield topic, partition, messages[begin:end]
        begin = end


def _runs_of(messages: Sequence[Message]) -> list[Run]:
    partitions = cast("list[int]", list(map(Message.partition, messages)))
    if partitions and partitions.count(partitions[0]) == len(partitions):
        return [Run(partitions[0], 0, len(partitions))]
    changes = np.flatnonzero(np.diff(np.array(partitions, np.int64))) + 1
    edges = [0, *changes.tolist(), len(partitions)]
    return [Run(partitions[begin], begin, end) for begin, end in pairwise(edges) if begin < end]


def _offsets_of(run: Sequence[Message]) -> npt.NDArray[np.int64]:
    """Whether ascending offsets of one partition are consecutive: first and last tell."""
    first, last = cast("int", run[0].offset()), cast("int", run[-1].offset())
    if last - first == len(run) - 1:
        return np.arange(first, last + 1, dtype=np.int64)
    return np.array(list(map(Message.offset, run)), np.int64)
