import io
import json
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.intake.files.json_lines import BATCH_LINES, Fault, FileBatch, read_json_lines
from consumer.intake.rejects import IGNORED, Reject
from consumer.windows.events import KINDS, MAX_ABS_TIMESTAMP_MS, MAX_BITRATE_BPS, MAX_DURATION_MS, EventColumns

LONGEST = 65_536
GOOD: dict[str, Any] = {"stream_id": "s", "viewer_id": "v", "timestamp_ms": 5, "type": "join"}


class Row(NamedTuple):
    stream_id: str
    viewer_id: str
    timestamp_ms: int
    kind: str
    value: int


def read(text: bytes, longest: int = LONGEST) -> tuple[list[Row], list[Fault]]:
    """Return all events and all faults."""
    batches = list(read_json_lines(io.BytesIO(text), longest))
    return [row for batch in batches for row in rows_of(batch)], [fault for batch in batches for fault in batch.faults]


def rows_of(batch: FileBatch) -> list[Row]:
    events = batch.events
    assert int(np.count_nonzero((events.reject != 0) & (events.reject != IGNORED))) == len(batch.faults)
    return [
        Row(
            text_of(events, int(events.stream_start[i]), int(events.stream_size[i])),
            text_of(events, int(events.viewer_start[i]), int(events.viewer_size[i])),
            int(events.timestamp_ms[i]),
            KINDS[events.kind[i]],
            int(events.value[i]),
        )
        for i in np.flatnonzero(events.reject == 0)
    ]


def text_of(events: EventColumns, start: int, size: int) -> str:
    return events.text[start : start + size].tobytes().decode()


def one_fault(line: bytes | dict[str, Any]) -> Fault:
    text = line if isinstance(line, bytes) else json.dumps(line).encode()
    rows, (fault,) = read(b"\n" + text + b"\n")
    assert rows == []
    assert fault.number == 2
    return fault


def test_events_of_every_kind_become_rows() -> None:
    lines = [
        GOOD,
        GOOD | {"type": "leave", "timestamp_ms": -7},
        GOOD | {"type": "bitrate", "bitrate_bps": 1},
        GOOD | {"type": "buffer", "duration_ms": 2},
        GOOD | {"type": "join", "bitrate_bps": "not looked at", "else": [None]},
    ]
    rows, faults = read("\n".join(map(json.dumps, lines)).encode())
    assert faults == []
    assert rows == [
        Row("s", "v", 5, "join", 0),
        Row("s", "v", -7, "leave", 0),
        Row("s", "v", 5, "bitrate", 1),
        Row("s", "v", 5, "buffer", 2),
        Row("s", "v", 5, "join", 0),
    ]


def test_columns_have_the_types_that_the_windows_use() -> None:
    (batch,) = read_json_lines(io.BytesIO(json.dumps(GOOD).encode()), LONGEST)
    types = [column.dtype.name for column in batch.events]
    assert types == ["uint8", "int64", "int32", "int64", "int32", "int64", "uint8", "int64", "uint8"]
    assert all(column.flags.c_contiguous for column in batch.events)
    assert batch.events.text.flags.writeable


@pytest.mark.parametrize(
    "edge",
    [
        {"timestamp_ms": MAX_ABS_TIMESTAMP_MS},
        {"timestamp_ms": -MAX_ABS_TIMESTAMP_MS},
        {"type": "bitrate", "bitrate_bps": 0},
        {"type": "bitrate", "bitrate_bps": MAX_BITRATE_BPS},
        {"type": "buffer", "duration_ms": 0},
        {"type": "buffer", "duration_ms": MAX_DURATION_MS},
    ],
)
def test_the_limits_of_the_ranges_are_valid(edge: dict[str, Any]) -> None:
    rows, faults = read(json.dumps(GOOD | edge).encode())
    assert (len(rows), faults) == (1, [])


def test_a_byte_order_mark_crlf_line_ends_and_empty_lines_are_skipped() -> None:
    line = json.dumps(GOOD).encode()
    rows, faults = read(b"\xef\xbb\xbf" + line + b"\r\n\r\n  \n" + line)
    assert (len(rows), faults) == (2, [])


def test_line_numbers_continue_across_batches_and_bad_lines() -> None:
    line = json.dumps(GOOD).encode() + b"\n"
    rows, faults = read(line * BATCH_LINES + b"x\n" + line + b"y")
    assert len(rows) == BATCH_LINES + 1
    assert [fault.number for fault in faults] == [BATCH_LINES + 1, BATCH_LINES + 3]


def test_a_line_that_is_too_long_is_a_fault_and_the_next_line_counts() -> None:
    line = json.dumps(GOOD).encode()
    rows, faults = read(line + b"\n" + b" " + line[:-1] + b', "x": 1}' + b"\n" + line, longest=len(line))
    assert len(rows) == 2
    assert [(fault.number, fault.reason) for fault in faults] == [(2, Reject.OVERSIZED)]
    rows, faults = read(b"x" * 1_000_000 + b"\n" + line, longest=100)
    assert (len(rows), len(faults)) == (1, 1)


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        (b"{", Reject.MALFORMED, "is not JSON"),
        (b"\xff", Reject.MALFORMED, "is not JSON"),
        (b"[" * 60_000, Reject.MALFORMED, "is not JSON"),
        (b'{"timestamp_ms": ' + b"9" * 5_000 + b"}", Reject.MALFORMED, "is not JSON"),
        (b"[]", Reject.MALFORMED, "is not a JSON object"),
        (b"5", Reject.MALFORMED, "is not a JSON object"),
        (b"null", Reject.MALFORMED, "is not a JSON object"),
        ({}, Reject.UNKNOWN_EVENT_TYPE, "type must be one of join, leave, bitrate, buffer"),
        (GOOD | {"type": "JOIN"}, Reject.UNKNOWN_EVENT_TYPE, "type must be one of"),
        (GOOD | {"type": ["join"]}, Reject.UNKNOWN_EVENT_TYPE, "type must be one of"),
        ({"type": "join"}, Reject.MISSING_VALUE, "stream_id is missing"),
        (GOOD | {"viewer_id": None}, Reject.MISSING_VALUE, "viewer_id is missing"),
        (GOOD | {"stream_id": ""}, Reject.EMPTY_ID, "stream_id is empty"),
        (GOOD | {"stream_id": 5}, Reject.MALFORMED, "stream_id must be text"),
        (GOOD | {"viewer_id": "\ud800"}, Reject.BAD_TEXT, "viewer_id holds half a character"),
        (GOOD | {"viewer_id": "\N{SNOWMAN}" * 342}, Reject.ID_TOO_LONG, "viewer_id has more than 1024 bytes"),
        (GOOD | {"timestamp_ms": 5.0}, Reject.MALFORMED, "timestamp_ms must be a whole number"),
        (GOOD | {"timestamp_ms": True}, Reject.MALFORMED, "timestamp_ms must be a whole number"),
        (GOOD | {"timestamp_ms": "5"}, Reject.MALFORMED, "timestamp_ms must be a whole number"),
        (GOOD | {"timestamp_ms": 2**52 + 1}, Reject.TIMESTAMP_OUT_OF_RANGE, "timestamp_ms must be from -4503599627"),
        (GOOD | {"timestamp_ms": -(2**52) - 1}, Reject.TIMESTAMP_OUT_OF_RANGE, "timestamp_ms must be from"),
        (GOOD | {"timestamp_ms": 10**30}, Reject.TIMESTAMP_OUT_OF_RANGE, "timestamp_ms must be from"),
        (GOOD | {"type": "bitrate"}, Reject.MISSING_VALUE, "bitrate_bps is missing"),
        (
            GOOD | {"type": "bitrate", "bitrate_bps": -1},
            Reject.OUT_OF_RANGE,
            "bitrate_bps must be from 0 to 2199023255552",
        ),
        (
            GOOD | {"type": "bitrate", "bitrate_bps": MAX_BITRATE_BPS + 1},
            Reject.OUT_OF_RANGE,
            "bitrate_bps must be from 0",
        ),
        (GOOD | {"type": "buffer", "bitrate_bps": 1}, Reject.MISSING_VALUE, "duration_ms is missing"),
        (GOOD | {"type": "buffer", "duration_ms": "1"}, Reject.MALFORMED, "duration_ms must be a whole number"),
        (
            GOOD | {"type": "buffer", "duration_ms": 2**32},
            Reject.OUT_OF_RANGE,
            "duration_ms must be from 0 to 4294967295",
        ),
    ],
)
def test_an_invalid_line_is_a_fault_with_the_reason(line: bytes | dict[str, Any], reason: Reject, detail: str) -> None:
    fault = one_fault(line)
    assert fault.reason is reason
    assert fault.detail.startswith(detail)


identities = st.text(st.characters(codec="utf-8"), min_size=1, max_size=9)
events = st.one_of(
    st.builds(
        Row, identities, identities, st.integers(-(2**52), 2**52), st.sampled_from(["join", "leave"]), st.just(0)
    ),
    st.builds(
        Row, identities, identities, st.integers(-(2**52), 2**52), st.just("bitrate"), st.integers(0, MAX_BITRATE_BPS)
    ),
    st.builds(
        Row, identities, identities, st.integers(-(2**52), 2**52), st.just("buffer"), st.integers(0, MAX_DURATION_MS)
    ),
)


@given(st.lists(events, max_size=8), st.booleans())
def test_written_events_are_read_back(written: list[Row], ascii_only: bool) -> None:
    number = {"bitrate": "bitrate_bps", "buffer": "duration_ms"}
    lines = []
    for row in written:
        line = {"stream_id": row.stream_id, "viewer_id": row.viewer_id, "timestamp_ms": row.timestamp_ms}
        line |= {"type": row.kind} | ({number[row.kind]: row.value} if row.kind in number else {})
        lines.append(json.dumps(line, ensure_ascii=ascii_only))
    assert read("\n".join(lines).encode()) == (written, [])


@given(st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), max_size=8))
def test_no_bytes_crash_the_reader(lines: list[bytes]) -> None:
    rows, faults = read(b"\n".join(lines), longest=30)
    # Only a byte order mark can make a line shorter than it looks.
    held = [line for i, line in enumerate(lines) if (line.removeprefix(b"\xef\xbb\xbf") if i == 0 else line).strip()]
    assert len(rows) + len(faults) <= len(held)
    assert all(0 < fault.number <= len(lines) for fault in faults)
