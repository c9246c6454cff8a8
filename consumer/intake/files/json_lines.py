"""Read events as JSON lines in batches of columns."""

import json
import math
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

from consumer.intake.rejects import Reject
from consumer.intake.vm.iso_time import time_of
from consumer.intake.vm.wire import MAX_ID_BYTES
from consumer.windows.events import (
    BITRATE,
    BUFFER,
    JOIN,
    KINDS,
    LEAVE,
    MAX_ABS_TIMESTAMP_MS,
    MAX_BITRATE_BPS,
    MAX_DURATION_MS,
    SKIPPED_SHIFT,
    EventColumns,
)

BATCH_LINES = 10_000

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class _Sample(NamedTuple):
    fact: int
    name: str
    highest: int


_BITRATE = _Sample(BITRATE, "bitrate_bps", MAX_BITRATE_BPS)
_DURATION = _Sample(BUFFER, "duration_ms", MAX_DURATION_MS)


class Fault(NamedTuple):
    """A record that is not an event: its number in the file, from 1, and why."""

    number: int
    reason: Reject
    detail: str


class FileBatch(NamedTuple):
    """A batch of a file's records in order; each fault has a row in `events` that is marked as a reject."""

    events: EventColumns
    faults: list[Fault]


class _Row(NamedTuple):
    stream_id: bytes
    viewer_id: bytes
    timestamp_ms: int
    facts: int
    bitrate_bps: int
    duration_ms: int


_NO_ROW = _Row(b"", b"", 0, 0, 0, 0)
"""Placeholder for a fault in the columns."""


class _NoEventError(Exception):
    def __init__(self, reason: Reject, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def read_json_lines(file: BinaryIO, max_line_bytes: int) -> Iterator[FileBatch]:
    """The file's lines in batches; empty lines are skipped, a line that is not an event is a fault."""
    rows: list[_Row | Fault] = []
    for number, line in _lines(file, max_line_bytes):
        rows.append(_row_or_fault(number, line, max_line_bytes))
        if len(rows) == BATCH_LINES:
            yield _batch(rows)
            rows = []
    if rows:
        yield _batch(rows)


def _lines(file: BinaryIO, max_line_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Numbered non-empty lines; a line that is too long is cut, so that memory stays bounded."""
    number = 0
    while line := file.readline(max_line_bytes + 2):
        number += 1
        if not line.endswith(b"\n"):
            _skip_line(file)
        line = line.rstrip(b"\r\n")
        if number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if line.strip():
            yield number, line


def _skip_line(file: BinaryIO) -> None:
    while (rest := file.readline(65_536)) and not rest.endswith(b"\n"):
        pass


def _row_or_fault(number: int, line: bytes, max_line_bytes: int) -> _Row | Fault:
    if len(line) > max_line_bytes:
        return Fault(number, Reject.OVERSIZED, f"the line has more than {max_line_bytes} bytes")
    try:
        return _row(line)
    except _NoEventError as error:
        return Fault(number, error.reason, error.detail)


def _row(line: bytes) -> _Row:
    try:
        event = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and numbers of too many digits are ValueErrors
        raise _NoEventError(Reject.MALFORMED, f"is not JSON: {error}") from None
    if not isinstance(event, dict):
        raise _NoEventError(Reject.MALFORMED, "is not a JSON object")
    facts = _facts(event.get("type"))
    stream_id, viewer_id = _identity(event, "stream_id"), _identity(event, "viewer_id")
    timestamp_ms = _timestamp_ms(event)
    facts, bitrate_bps = _sample(event, _BITRATE, facts)
    facts, duration_ms = _sample(event, _DURATION, facts)
    return _Row(stream_id, viewer_id, timestamp_ms, facts, bitrate_bps, duration_ms)


def _facts(types: object) -> int:
    """What an event says, by its type or its list of types."""
    facts = 0
    for name in types if isinstance(types, list) and types else [types]:
        fact = KINDS.get(name) if isinstance(name, str) else None
        if fact is None:
            raise _NoEventError(Reject.UNKNOWN_EVENT_TYPE, f"type must be one of {', '.join(KINDS)}, or a list of them")
        facts |= fact
    if facts & JOIN and facts & LEAVE:
        raise _NoEventError(Reject.UNKNOWN_EVENT_TYPE, "type cannot be both join and leave")
    return facts


def _value(event: dict[str, object], name: str) -> object:
    value = event.get(name)
    if value is None:
        raise _NoEventError(Reject.MISSING_VALUE, f"{name} is missing")
    return value


def _identity(event: dict[str, object], name: str) -> bytes:
    text = _value(event, name)
    if type(text) is int:  # True is an int to isinstance
        text = str(text)
    if not isinstance(text, str):
        raise _NoEventError(Reject.MALFORMED, f"{name} must be text or a whole number")
    if not text:
        raise _NoEventError(Reject.EMPTY_ID, f"{name} is empty")
    try:
        identity = text.encode("utf-8")
    except UnicodeEncodeError:
        raise _NoEventError(Reject.BAD_TEXT, f"{name} holds half a character") from None
    if len(identity) > MAX_ID_BYTES:
        raise _NoEventError(Reject.ID_TOO_LONG, f"{name} has more than {MAX_ID_BYTES} bytes")
    return identity


def _timestamp_ms(event: dict[str, object]) -> int:
    most = MAX_ABS_TIMESTAMP_MS
    value = _value(event, "timestamp_ms")
    if isinstance(value, str):
        return _time_of(value)
    number = _whole(value, "timestamp_ms")
    if not -most <= number <= most:
        raise _NoEventError(Reject.TIMESTAMP_OUT_OF_RANGE, f"timestamp_ms must be from {-most} to {most}")
    return number


def _time_of(text: str) -> int:
    """A time as text, read as in Avro; milliseconds since 1970."""
    # An escape that is half a character cannot be encoded, and is no time.
    data = np.frombuffer(bytearray(text.encode("utf-8", "surrogatepass")) or bytearray(1), np.uint8)
    time_ms, fault = time_of(data, 0)
    if fault == Reject.TIME_WITHOUT_OFFSET:
        raise _NoEventError(Reject.TIME_WITHOUT_OFFSET, "timestamp_ms is a time without an offset from UTC")
    if fault:
        raise _NoEventError(Reject.BAD_TIME, Reject.BAD_TIME.sentence)
    return time_ms


def _sample(event: dict[str, object], sample: _Sample, facts: int) -> tuple[int, int]:
    """The event's facts, with a sample that is no number marked as skipped, and the sample; 0 if it has none."""
    if not facts & sample.fact:
        return facts, 0
    number = event.get(sample.name)
    if number is None or (isinstance(number, int | float) and not 0 <= number < math.inf):
        return facts - sample.fact + (sample.fact << SKIPPED_SHIFT), 0
    number = _whole(number, sample.name)
    if number > sample.highest:
        raise _NoEventError(Reject.OUT_OF_RANGE, f"{sample.name} must be at most {sample.highest}")
    return facts, number


def _whole(number: object, name: str) -> int:
    if type(number) is not int:  # True is an int to isinstance
        raise _NoEventError(Reject.MALFORMED, f"{name} must be a whole number")
    return number


def _batch(rows: list[_Row | Fault]) -> FileBatch:
    faults = [row for row in rows if isinstance(row, Fault)]
    events = [_NO_ROW if isinstance(row, Fault) else row for row in rows]
    streams, viewers, timestamps, facts, bitrates, durations = zip(*events, strict=True)
    sizes = np.array([*map(len, streams), *map(len, viewers)], np.int32)
    starts = np.cumsum(sizes, dtype=np.int64) - sizes
    columns = EventColumns(
        text=np.frombuffer(bytearray(b"".join([*streams, *viewers])) or bytearray(1), np.uint8),
        stream_start=starts[: len(rows)],
        stream_size=sizes[: len(rows)],
        viewer_start=starts[len(rows) :],
        viewer_size=sizes[len(rows) :],
        timestamp_ms=np.array(timestamps, np.int64),
        facts=np.array(facts, np.uint8),
        bitrate_bps=np.array(bitrates, np.int64),
        duration_ms=np.array(durations, np.int64),
        clamped_ms=np.zeros(len(rows), np.int64),
        reject=np.array([row.reason if isinstance(row, Fault) else 0 for row in rows], np.uint8),
        reject_field=np.zeros(len(rows), np.uint8),
    )
    return FileBatch(columns, faults)
