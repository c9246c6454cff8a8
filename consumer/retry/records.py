"""Make the record that a dead letter was, or say why that cannot be done."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from consumer.kafka.record import UNREADABLE_HEADERS, OutgoingRecord, RecordHeaders
from consumer.output.dead_letter import (
    APPLICATION,
    EXCEPTION,
    HEADERS_DROPPED,
    KEY_BYTES,
    PARTITION,
    RETRY,
    TIMESTAMP_MS,
    TOPIC,
    VALUE_BYTES,
)
from consumer.output.dead_letter_reader import DeadLetterRecord

_CUT = frozenset({KEY_BYTES, VALUE_BYTES, HEADERS_DROPPED})
_MAX_DIGITS = 19


class Refusal(StrEnum):
    """Why a dead letter is not sent, whatever its bucket."""

    FOREIGN = "not written by a worker: the headers with its origin are missing"
    OTHER_GROUP = "rejected by another consumer group"
    OTHER_TOPIC = "from another topic than kafka.input_topic"
    NO_PARTITION = "from a partition that the input topic does not have"
    CUT = "cut, since the record was too large for a dead letter"
    HEADERS_LOST = "without its headers, since a name of them is not UTF-8"
    NO_TIMESTAMP = "without a timestamp to keep; --now sends them"
    RETRIED = "sent again before, and rejected again; --again sends them"


class Target(NamedTuple):
    """Where dead letters are sent, and how."""

    dead_letter_topic: str
    input_topic: str
    partitions: int
    """Of the input topic."""
    group: str
    """The consumer group: what another one has rejected, this one may have counted."""
    now: bool = False
    """Whether records get the time at which they are sent, not the Kafka timestamp that they had."""
    again: bool = False
    """Whether to send those that were sent again before."""


class _Origin(NamedTuple):
    topic: str
    partition: int
    group: str
    timestamp_ms: int


def retried_record(dead_letter: DeadLetterRecord, target: Target) -> OutgoingRecord | Refusal:
    """The record that was rejected, with a header that says where its dead letter is; or why there is none.

    It goes to the partition that it came from: there are the other records of its stream, whatever partitioner their
    producers use, and the windows that it counts in.
    """
    theirs, ours = _split(dead_letter.headers)
    origin = _origin(ours)
    if origin is None:
        return Refusal.FOREIGN
    checks = {
        Refusal.OTHER_GROUP: origin.group != target.group,
        Refusal.OTHER_TOPIC: origin.topic != target.input_topic,
        Refusal.NO_PARTITION: not 0 <= origin.partition < target.partitions,
        Refusal.CUT: any(name in _CUT for name, _ in ours),
        Refusal.HEADERS_LOST: any(name == UNREADABLE_HEADERS for name, _ in theirs),
        Refusal.RETRIED: not target.again and any(name == RETRY for name, _ in theirs),
        Refusal.NO_TIMESTAMP: not target.now and origin.timestamp_ms <= 0,  # 0 is now for the client library
    }
    refusal = next((refusal for refusal, applies in checks.items() if applies), None)
    if refusal is not None:
        return refusal
    place = f"{target.dead_letter_topic}/{dead_letter.partition}/{dead_letter.offset}"
    headers = [*theirs, (RETRY, place.encode())]
    timestamp_ms = None if target.now else origin.timestamp_ms
    return OutgoingRecord(origin.partition, timestamp_ms, dead_letter.key, dead_letter.value, headers)


def _origin(ours: RecordHeaders) -> "_Origin | None":
    """What the worker's headers say; None if they are not a worker's."""
    texts = {name: (content or b"").decode("utf-8", "replace") for name, content in ours}
    partition, timestamp_ms = _number(texts.get(PARTITION, "")), _number(texts.get(TIMESTAMP_MS, ""))
    if TOPIC not in texts or APPLICATION not in texts or partition is None or timestamp_ms is None:
        return None
    return _Origin(texts[TOPIC], partition, texts[APPLICATION], timestamp_ms)


def _split(headers: Sequence[tuple[str, bytes | None]]) -> tuple[RecordHeaders, RecordHeaders]:
    """The record's own headers, and behind them those that the worker has added, the first of which is the reason."""
    at = next((i for i in reversed(range(len(headers))) if headers[i][0] == EXCEPTION), len(headers))
    return headers[:at], headers[at:]


def _number(text: str) -> int | None:
    is_number = text.isascii() and text.removeprefix("-").isdecimal() and len(text) <= _MAX_DIGITS
    return int(text) if is_number else None
