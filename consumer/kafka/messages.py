"""Convert messages of the client library's Python binding to columns."""

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import cast

import numpy as np
from confluent_kafka import Message

from consumer.kafka.batch import Batch, first_header, runs_of
from consumer.kafka.record import UNREADABLE_HEADERS, RecordHeaders
from consumer.runtime.joined import Joined, joined
from consumer.runtime.record_columns import HeaderColumns, header_columns

_SECOND = itemgetter(1)

_NO_HEADERS: RecordHeaders = ()


def batch_of(messages: Sequence[Message]) -> Batch:
    """The columns of messages that carry no errors."""
    # `map` over an unbound method costs half of a loop that calls it.
    count = len(messages)
    places = cast(
        "list[tuple[int, str]]", list(zip(map(Message.partition, messages), map(Message.topic, messages), strict=True))
    )
    return Batch(
        joined(list(map(Message.value, messages))),
        np.fromiter(cast("Iterator[int]", map(Message.offset, messages)), np.int64, count),
        np.fromiter(map(_SECOND, map(Message.timestamp, messages)), np.int64, count),
        list(runs_of(places)),
        _Messages(messages),
    )


class _Messages:
    """Keys and headers of messages."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages

    def keys(self, rows: Sequence[int]) -> Joined:
        return joined(cast("list[bytes | None]", [self._messages[row].key() for row in rows]))

    def headers(self, rows: Sequence[int]) -> HeaderColumns:
        return header_columns(headers_of_all([self._messages[row] for row in rows]))

    def header(self, name: str) -> Joined:
        return joined([first_header(headers, name) for headers in headers_of_all(self._messages)])


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
