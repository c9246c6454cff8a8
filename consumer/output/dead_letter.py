"""Dead letters: a rejected record as it was received, with headers that give the reason.

Header names are those of Kafka Streams (KIP-1034), plus some of this project.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

Headers: TypeAlias = Sequence[tuple[str, bytes | None]]

CauseHeaders: TypeAlias = Sequence[tuple[str, str]]
"""A `Cause` as headers."""

MadeHeaders: TypeAlias = list[tuple[str, str | bytes | None]]
"""Headers as published."""

DeadLetter: TypeAlias = tuple[bytes | None, bytes | None, MadeHeaders]
"""A record to publish: key, value and headers."""

EXCEPTION = "__streams.errors.exception"
MESSAGE = "__streams.errors.message"
TOPIC = "__streams.errors.topic"
PARTITION = "__streams.errors.partition"
OFFSET = "__streams.errors.offset"
APPLICATION = "viewer_consumer.application"
TIMESTAMP_MS = "viewer_consumer.timestamp_ms"
SCHEMA = "viewer_consumer.schema"

_ROOM_FOR_OURS = 4_096
"""For added headers; a tenth of the limit is left for what the client library adds."""

_HEADER_BYTES = 10
"""Overhead of a header: the lengths of name and content, at most five bytes each."""


_RECORD_BYTES = 500
"""Overhead of a record in memory: Python objects, and usual headers."""


class Cause(NamedTuple):
    """The reason for rejects, and other values they have in common."""

    topic: str
    partition: int
    application: str
    """The consumer group that rejected them."""
    reason: str
    message: str
    schema: str
    """The schema reference of the records; empty if they have none."""

    def headers(self) -> CauseHeaders:
        """The cause as headers; call once for many records."""
        return (
            (EXCEPTION, self.reason),
            (MESSAGE, self.message[:1_000]),
            (TOPIC, self.topic),
            (PARTITION, str(self.partition)),
            (APPLICATION, self.application),
            (SCHEMA, self.schema),
        )


class Rejected(NamedTuple):
    """Rejected records with their causes, as columns in record order."""

    offsets: list[int]
    timestamps_ms: list[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Sequence[Headers]
    causes: Sequence[CauseHeaders]

    @property
    def bytes_held(self) -> int:
        """Bytes in memory, approximately; headers are not counted one by one."""
        contents = sum(len(content) for content in (*self.keys, *self.values) if content is not None)
        return contents + _RECORD_BYTES * len(self.offsets)

    def dead_letters(self, message_bytes: int) -> Iterator[DeadLetter]:
        """Generate their dead letters lazily, each cut below that size: a larger one would abort its transaction."""
        room = message_bytes * 9 // 10 - _ROOM_FOR_OURS
        # Pending rejects are columns, not a dozen objects per dead letter for the garbage collector to traverse.
        places = zip(self.offsets, self.timestamps_ms, self.causes, strict=True)
        records = zip(self.keys, self.values, self.headers, strict=True)
        for (offset, timestamp_ms, cause), (key, value, headers) in zip(places, records, strict=True):
            ours: MadeHeaders = [*cause, (OFFSET, str(offset)), (TIMESTAMP_MS, str(timestamp_ms))]
            if headers or len(key or b"") + len(value or b"") > room:
                yield _fitted(key, value, headers, ours, room)
            else:  # the common case, inlined: a call would cost a fifth more
                yield key, value, ours


def _fitted(key: bytes | None, value: bytes | None, headers: Headers, ours: MadeHeaders, room: int) -> DeadLetter:
    """A record with its own and added headers, cut to the size limit; added headers tell what was cut."""
    key, left = _cut("key", key, room, ours)
    value, left = _cut("value", value, left, ours)
    theirs: MadeHeaders = list(headers)
    if sum(len(name.encode()) + len(content or b"") + _HEADER_BYTES for name, content in theirs) > left:
        ours.append(("viewer_consumer.headers_dropped", str(len(theirs))))
        theirs = []
    return key, value, [*theirs, *ours]


def _cut(what: str, content: bytes | None, left: int, ours: MadeHeaders) -> tuple[bytes | None, int]:
    """The content cut to the room left; a header holds the original size."""
    if content is None or len(content) <= left:
        return content, left - len(content or b"")
    ours.append((f"viewer_consumer.{what}_bytes", str(len(content))))
    return content[:left], 0
