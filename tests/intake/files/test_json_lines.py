import io
import json
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.intake.files.json_lines import BATCH_LINES, Fault, FileBatch, read_json_lines
from consumer.intake.rejects import IGNORED, Reject
from consumer.windows.events import (
    BITRATE,
    BUFFER,
    KINDS,
    MAX_ABS_TIMESTAMP_MS,
    MAX_BITRATE_BPS,
    MAX_DURATION_MS,
    SKIPPED_SHIFT,
    EventColumns,
)

LONGEST = 65_536
GOOD: dict[str, Any] = {"stream_id": "s", "viewer_id": "v", "timestamp_ms": 5, "type": "join"}


class Row(NamedTuple):
    stream_id: str
    viewer_id: str
    timestamp_ms: int
    kinds: str
    bitrate_bps: int | None = None
    duration_ms: int | None = None


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
            kinds_of(int(events.facts[i])),
            int(events.bitrate_bps[i]) if events.facts[i] & BITRATE else None,
            int(events.duration_ms[i]) if events.facts[i] & BUFFER else None,
        )
        for i in np.flatnonzero(events.reject == 0)
    ]


def kinds_of(facts: int) -> str:
    """Return what an event says; in parentheses, what its skipped samples belong to."""
    said = [name for name, fact in KINDS.items() if facts & fact] or ["heartbeat"]
    return " ".join([*said, *(f"({name})" for name in ("bitrate", "buffer") if facts & (KINDS[name] << SKIPPED_SHIFT))])


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
        GOOD | {"type": "heartbeat", "bitrate_bps": 7},
        GOOD | {"type": ["bitrate", "buffer"], "bitrate_bps": 3, "duration_ms": 4},
        GOOD | {"type": ["buffer", "leave", "buffer"], "duration_ms": 5},
        GOOD | {"type": ["join", "heartbeat"]},
    ]
    rows, faults = read("\n".join(map(json.dumps, lines)).encode())
    assert faults == []
    assert rows == [
        Row("s", "v", 5, "join"),
        Row("s", "v", -7, "leave"),
        Row("s", "v", 5, "bitrate", 1),
        Row("s", "v", 5, "buffer", None, 2),
        Row("s", "v", 5, "join"),
        Row("s", "v", 5, "heartbeat"),
        Row("s", "v", 5, "bitrate buffer", 3, 4),
        Row("s", "v", 5, "leave buffer", None, 5),
        Row("s", "v", 5, "join"),
    ]


def test_ids_may_be_whole_numbers_and_times_text() -> None:
    line = GOOD | {"stream_id": 17, "viewer_id": -(10**20), "timestamp_ms": "2026-11-28T18:20:17.1239+01:00"}
    rows, faults = read(json.dumps(line).encode())
    assert faults == []
    assert [(row.stream_id, row.viewer_id, row.timestamp_ms) for row in rows] == [
        ("17", "-100000000000000000000", 1_795_886_417_123)
    ]


def test_columns_have_the_types_that_the_windows_use() -> None:
    (batch,) = read_json_lines(io.BytesIO(json.dumps(GOOD).encode()), LONGEST)
    types = [column.dtype.name for column in batch.events]
    assert types == [
        "uint8",
        "int64",
        "int32",
        "int64",
        "int32",
        "int64",
        *("uint8", "int64", "int64"),
        *("int64", "uint8", "uint8"),
    ]
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
        (GOOD | {"type": []}, Reject.UNKNOWN_EVENT_TYPE, "type must be one of"),
        (GOOD | {"type": ["join", "pause"]}, Reject.UNKNOWN_EVENT_TYPE, "type must be one of"),
        (GOOD | {"type": ["join", ["leave"]]}, Reject.UNKNOWN_EVENT_TYPE, "type must be one of"),
        (GOOD | {"type": ["join", "leave"]}, Reject.UNKNOWN_EVENT_TYPE, "type cannot be both join and leave"),
        ({"type": "join"}, Reject.MISSING_VALUE, "stream_id is missing"),
        (GOOD | {"viewer_id": None}, Reject.MISSING_VALUE, "viewer_id is missing"),
        (GOOD | {"stream_id": ""}, Reject.EMPTY_ID, "stream_id is empty"),
        (GOOD | {"stream_id": 5.0}, Reject.MALFORMED, "stream_id must be text or a whole number"),
        (GOOD | {"viewer_id": True}, Reject.MALFORMED, "viewer_id must be text or a whole number"),
        (GOOD | {"viewer_id": "\ud800"}, Reject.BAD_TEXT, "viewer_id holds half a character"),
        (GOOD | {"viewer_id": "\N{SNOWMAN}" * 342}, Reject.ID_TOO_LONG, "viewer_id has more than 1024 bytes"),
        (GOOD | {"timestamp_ms": 5.0}, Reject.MALFORMED, "timestamp_ms must be a whole number"),
        (GOOD | {"timestamp_ms": True}, Reject.MALFORMED, "timestamp_ms must be a whole number"),
        (GOOD | {"timestamp_ms": "5"}, Reject.BAD_TIME, "timestamp_ms is not a time of ISO 8601"),
        (GOOD | {"timestamp_ms": ""}, Reject.BAD_TIME, "timestamp_ms is not a time of ISO 8601"),
        (GOOD | {"timestamp_ms": "2026-11-28\ud80017:20Z"}, Reject.BAD_TIME, "timestamp_ms is not a time of ISO 8601"),
        (GOOD | {"timestamp_ms": "2026-11-28 17:20:17"}, Reject.TIME_WITHOUT_OFFSET, "timestamp_ms is a time without"),
        (GOOD | {"timestamp_ms": 2**52 + 1}, Reject.TIMESTAMP_OUT_OF_RANGE, "timestamp_ms must be from -4503599627"),
        (GOOD | {"timestamp_ms": -(2**52) - 1}, Reject.TIMESTAMP_OUT_OF_RANGE, "timestamp_ms must be from"),
        (GOOD | {"timestamp_ms": 10**30}, Reject.TIMESTAMP_OUT_OF_RANGE, "timestamp_ms must be from"),
        (GOOD | {"type": "bitrate", "bitrate_bps": 1.5}, Reject.MALFORMED, "bitrate_bps must be a whole number"),
        (GOOD | {"type": "bitrate", "bitrate_bps": True}, Reject.MALFORMED, "bitrate_bps must be a whole number"),
        (GOOD | {"type": "bitrate", "bitrate_bps": 10**400}, Reject.OUT_OF_RANGE, "bitrate_bps must be at most"),
        (
            GOOD | {"type": "bitrate", "bitrate_bps": MAX_BITRATE_BPS + 1},
            Reject.OUT_OF_RANGE,
            "bitrate_bps must be at most 2199023255552",
        ),
        (GOOD | {"type": "buffer", "duration_ms": "1"}, Reject.MALFORMED, "duration_ms must be a whole number"),
        (
            GOOD | {"type": "buffer", "duration_ms": 2**32},
            Reject.OUT_OF_RANGE,
            "duration_ms must be at most 4294967295",
        ),
    ],
)
def test_an_invalid_line_is_a_fault_with_the_reason(line: bytes | dict[str, Any], reason: Reject, detail: str) -> None:
    fault = one_fault(line)
    assert fault.reason is reason
    assert fault.detail.startswith(detail)


@pytest.mark.parametrize("number", [None, "absent", float("nan"), float("inf"), -float("inf"), -1, -0.5, -(10**400)])
def test_a_sample_that_is_no_number_is_skipped_and_its_event_counts(number: Any) -> None:
    sample = {} if number == "absent" else {"bitrate_bps": number}
    (row,), faults = read(json.dumps(GOOD | {"type": ["bitrate", "buffer"], "duration_ms": 7} | sample).encode())
    assert faults == []
    assert row == Row("s", "v", 5, "buffer (bitrate)", None, 7)


identities = st.text(st.characters(codec="utf-8"), min_size=1, max_size=9)
kinds = st.sampled_from(["join", "leave", "bitrate", "buffer", "heartbeat", "bitrate buffer", "join bitrate buffer"])


@st.composite
def events(draw: st.DrawFn) -> Row:
    said = draw(kinds)
    bitrate_bps = draw(st.integers(0, MAX_BITRATE_BPS)) if "bitrate" in said else None
    duration_ms = draw(st.integers(0, MAX_DURATION_MS)) if "buffer" in said else None
    timestamp_ms = draw(st.integers(-MAX_ABS_TIMESTAMP_MS, MAX_ABS_TIMESTAMP_MS))
    return Row(draw(identities), draw(identities), timestamp_ms, said, bitrate_bps, duration_ms)


@given(st.lists(events(), max_size=8), st.booleans())
def test_written_events_are_read_back(written: list[Row], ascii_only: bool) -> None:
    lines = []
    for row in written:
        said = row.kinds.split()
        line = row._asdict() | {"type": said if len(said) > 1 else said[0]}
        lines.append(json.dumps(line, ensure_ascii=ascii_only))
    assert read("\n".join(lines).encode()) == (written, [])


@given(st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), max_size=8))
def test_no_bytes_crash_the_reader(lines: list[bytes]) -> None:
    rows, faults = read(b"\n".join(lines), longest=30)
    # Only a byte order mark can make a line shorter than it looks.
    held = [line for i, line in enumerate(lines) if (line.removeprefix(b"\xef\xbb\xbf") if i == 0 else line).strip()]
    assert len(rows) + len(faults) <= len(held)
    assert all(0 < fault.number <= len(lines) for fault in faults)
