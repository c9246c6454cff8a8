"""Dead letters: a record that is no event we can take, as it came, with headers that say why.

Header names are those of Kafka Streams (KIP-1034), with our own beside them.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

Headers: TypeAlias = Sequence[tuple[str, bytes | None]]

CauseHeaders: TypeAlias = Sequence[tuple[str, str]]
"""What a `Cause` is as headers."""

DeadLetter: TypeAlias = tuple[bytes | None, bytes | None, list[tuple[str, str | bytes | None]]]
"""A record to publish: key, value and headers."""

MAX_BYTES = 900_000
"""A dead letter over the producer's limit (1,000,000) would abort its transaction for ever."""

EXCEPTION = "__streams.errors.exception"
MESSAGE = "__streams.errors.message"
TOPIC = "__streams.errors.topic"
PARTITION = "__streams.errors.partition"
OFFSET = "__streams.errors.offset"
APPLICATION = "viewer_consumer.application"
TIMESTAMP_MS = "viewer_consumer.timestamp_ms"
SCHEMA = "viewer_consumer.schema"

_ROOM_FOR_OURS = 4_096

_HEADER_BYTES = 10
"""What a header takes besides its name and content: the lengths of both, at most five bytes each."""


class Cause(NamedTuple):
    """Why records are rejects, and what else many of them have in common."""

    topic: str
    partition: int
    application: str
    """The consumer group that could not take them."""
    reason: str
    message: str
    schema: str
    """How they name their schema; empty where they name none."""

    def headers(self) -> CauseHeaders:
        """As headers; to be made once for many records."""
        return (
            (EXCEPTION, self.reason),
            (MESSAGE, self.message[:1_000]),
            (TOPIC, self.topic),
            (PARTITION, str(self.partition)),
            (APPLICATION, self.application),
            (SCHEMA, self.schema),
        )


class Rejected(NamedTuple):
    """Records as they came, and why they are rejects: columns, one entry a record, in their order."""

    offsets: list[int]
    timestamps_ms: list[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Sequence[Headers]
    causes: Sequence[CauseHeaders]

    def letters(self) -> Iterator[DeadLetter]:
        """Their dead letters, each made as it is asked for."""
        # What waits for a commit is columns, not a dozen objects a letter for the garbage collector to walk over.
        return map(dead_letter, *self)


def dead_letter(
    offset: int,
    timestamp_ms: int,
    key: bytes | None,
    value: bytes | None,
    headers: Headers,
    cause: CauseHeaders,
) -> DeadLetter:
    """The dead letter of one record."""
    ours: list[tuple[str, str | bytes | None]] = [*cause, (OFFSET, str(offset)), (TIMESTAMP_MS, str(timestamp_ms))]
    left = MAX_BYTES - _ROOM_FOR_OURS
    if not headers and len(key or b"") + len(value or b"") <= left:
        return key, value, ours
    key, left = _cut("key", key, left, ours)
    value, left = _cut("value", value, left, ours)
    theirs: list[tuple[str, str | bytes | None]] = list(headers)
    if sum(len(name.encode()) + len(content or b"") + _HEADER_BYTES for name, content in theirs) > left:
        ours.append(("viewer_consumer.headers_dropped", str(len(theirs))))
        theirs = []
    return key, value, [*theirs, *ours]


def _cut(
    what: str, content: bytes | None, left: int, ours: list[tuple[str, str | bytes | None]]
) -> tuple[bytes | None, int]:
    """The content as far as there is room; a header tells the size of one that was cut."""
    if content is None or len(content) <= left:
        return content, left - len(content or b"")
    ours.append((f"viewer_consumer.{what}_bytes", str(len(content))))
    return content[:left], 0
