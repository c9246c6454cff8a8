"""A record as a Python object: for what is off the hot path."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

RecordHeaders: TypeAlias = Sequence[tuple[str, bytes | None]]

UNREADABLE_HEADERS = "viewer_consumer.headers_unreadable"
"""Replaces all headers of a record if one of their names is not UTF-8."""


class Record(NamedTuple):
    """A record that was read."""

    partition: int
    offset: int
    timestamp_ms: int
    """Kafka's timestamp; -1 if there is none."""
    key: bytes | None
    value: bytes | None
    headers: RecordHeaders


class OutgoingRecord(NamedTuple):
    """A record to write to a partition."""

    partition: int
    timestamp_ms: int | None
    """None: the time at which it is written."""
    key: bytes | None
    value: bytes | None
    headers: RecordHeaders
