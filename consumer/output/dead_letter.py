"""Dead letters: a rejected record as it was received, with headers that give the reason.

Header names are those of Kafka Streams (KIP-1034), plus some of this project.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from consumer.runtime.joined import Joined, joined
from consumer.runtime.record_columns import HeaderColumns, RecordColumns, header_columns, record_columns

CauseHeaders: TypeAlias = Sequence[tuple[str, str]]
"""A `Cause` as headers."""

MadeHeaders: TypeAlias = list[tuple[str, str | bytes | None]]
"""Headers as published."""

EXCEPTION = "__streams.errors.exception"
MESSAGE = "__streams.errors.message"
TOPIC = "__streams.errors.topic"
PARTITION = "__streams.errors.partition"
OFFSET = "__streams.errors.offset"
APPLICATION = "viewer_consumer.application"
TIMESTAMP_MS = "viewer_consumer.timestamp_ms"
SCHEMA = "viewer_consumer.schema"
KEY_BYTES = "viewer_consumer.key_bytes"
VALUE_BYTES = "viewer_consumer.value_bytes"
HEADERS_DROPPED = "viewer_consumer.headers_dropped"
RETRY = "viewer_consumer.retry"
"""Of a record in the input that was a dead letter: its topic, partition and offset there."""
NUMBERS = joined((OFFSET.encode(), TIMESTAMP_MS.encode()))
"""Names of the headers that each dead letter has a number for."""

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

    columns: RecordColumns
    """Their dead letters before any are cut: own headers, headers of the cause, and numbers as `NUMBERS`."""

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def bytes_held(self) -> int:
        """Bytes in memory, approximately; headers are not counted one by one."""
        keys, values, own, *_ = self.columns
        contents = len(keys.text) + len(values.text) + len(own.fields.text)
        return contents + _RECORD_BYTES * len(self)

    def dead_letters(self, message_bytes: int) -> Iterator[RecordColumns]:
        """Their dead letters in order, each cut below that size: a larger one would abort its transaction."""
        room = message_bytes * 9 // 10 - _ROOM_FOR_OURS
        begin = 0
        for row in np.flatnonzero(self._sizes() > room).tolist():
            if row > begin:
                yield self.columns.part(begin, row)
            yield _fitted(self.columns.part(row, row + 1), room)
            begin = row + 1
        if begin == 0:  # the common case
            yield self.columns
        elif begin < len(self):
            yield self.columns.part(begin, len(self))

    def _sizes(self) -> npt.NDArray[np.int64]:
        """Bytes of each: key, value, and headers that were there."""
        keys, values, own, *_ = self.columns
        contents = keys.sizes.clip(0) + values.sizes.clip(0)
        sizes: npt.NDArray[np.int64] = contents + own.sizes() + _HEADER_BYTES * np.diff(own.edges) // 2
        return sizes


def rejected_records(
    offsets: npt.NDArray[np.int64],
    timestamps_ms: npt.NDArray[np.int64],
    keys: Joined,
    values: Joined,
    headers: HeaderColumns,
    causes: Sequence[CauseHeaders],
    kinds: npt.NDArray[np.int64],
) -> Rejected:
    """Rejected records; `kinds` is the index of each one's cause."""
    numbers = np.stack((offsets, timestamps_ms))
    return Rejected(RecordColumns(keys, values, headers, header_columns(causes), kinds, NUMBERS, numbers))


def _fitted(record: RecordColumns, room: int) -> RecordColumns:
    """One record cut to the size limit; added headers tell what was cut."""
    ((key, value, headers),) = record.records()
    count = len(record.own.fields) // 2
    theirs, ours = headers[:count], headers[count:]
    key, left = _cut(KEY_BYTES, key, room, ours)
    value, left = _cut(VALUE_BYTES, value, left, ours)
    if int(record.own.sizes()[0]) + _HEADER_BYTES * count > left:
        ours.append((HEADERS_DROPPED, str(count)))
        theirs = []
    return record_columns([(key, value, [*theirs, *ours])])


def _cut(header: str, content: bytes | None, left: int, ours: MadeHeaders) -> tuple[bytes | None, int]:
    """The content cut to the room left; a header holds the original size."""
    if content is None or len(content) <= left:
        return content, left - len(content or b"")
    ours.append((header, str(len(content))))
    return content[:left], 0
