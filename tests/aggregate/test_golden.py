"""Run the golden cases through the command, from both file formats."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.aggregate.files import Event, aggregate, golden, write_avro, write_json_lines

Write = Callable[[Path, Sequence[Event]], Path]
FORMATS = [pytest.param(write_json_lines, id="json-lines"), pytest.param(write_avro, id="avro")]

SLIDING_WINDOW = golden("sliding_window.jsonl")
SESSIONS = golden("sessions.jsonl")
KINDS = golden("kinds.jsonl")
FIELDS = list(SESSIONS[0]["expect"]["s0"]["summaries"][0])


def row_of(summary: dict[str, Any]) -> list[Any]:
    return [
        summary["bucket_start_ms"],
        summary["peak_concurrent_viewers"],
        summary["avg_bitrate_bps"],
        summary["min_bitrate_bps"],
        summary["max_bitrate_bps"],
        summary["buffer_event_count"],
        summary["buffer_stall_ms"],
        summary["bitrate_sample_count"],
    ]


def assert_rows(got: list[list[Any]], expected: list[list[Any]]) -> None:
    """Compare averages, the third value of a row, within 1e-12 and all others exactly."""
    assert [row[:2] + row[3:] for row in got] == [row[:2] + row[3:] for row in expected]
    for mine, theirs in zip(got, expected, strict=True):
        assert math.isclose(mine[2], theirs[2], rel_tol=1e-12)


@pytest.mark.parametrize("write", FORMATS)
@pytest.mark.parametrize("number", range(len(SLIDING_WINDOW)))
def test_sliding_window(capsys: pytest.CaptureFixture[str], tmp_path: Path, number: int, write: Write) -> None:
    case = SLIDING_WINDOW[number]
    window_ms, bucket_ms, expect = case["window_duration_ms"], case["bucket_ms"], case["expect"]
    # Events counting ignores the text of stream and viewer ids; some are not ASCII.
    events = [
        Event("s\N{SNOWMAN}", f"v{i % 7}", event[1], event[0], *event[2:]) for i, event in enumerate(case["events"])
    ]
    got = aggregate(
        capsys,
        tmp_path,
        [write(tmp_path / "events", events)],
        window_duration_ms=window_ms,
        bucket_ms=bucket_ms,
        grace_ms=window_ms - bucket_ms,
        counting="events",
    )
    assert_rows([row_of(summary) for summary in got.summaries], expect["evicted"] + expect["active"])
    (view,) = got.view.values()
    assert_rows([row_of(row) for row in view["buckets"]], expect["active"])
    # A bucket in the window may be closed already: it ends inside the window and began before it.
    closed = {row["bucket_start_ms"] for row in view["buckets"] if row["close_reason"] is not None}
    assert closed == {row[0] for row in expect["active"] if row[0] + window_ms < view["time"]}
    at_end = [summary["bucket_start_ms"] for summary in got.summaries if summary["close_reason"] == "END_OF_INPUT"]
    assert at_end == [row[0] for row in expect["active"] if row[0] not in closed]
    assert view["concurrent_viewers"] == expect["concurrent_viewers"]
    assert math.isclose(view["window_bitrate_stats"][0], expect["window_bitrate_stats"][0], rel_tol=1e-12)
    assert view["window_bitrate_stats"][1:] == expect["window_bitrate_stats"][1:]
    assert view["window_buffer_events"] == expect["window_buffer_events"]
    assert view["window_peak_concurrent"] == expect["window_peak_concurrent"]


@pytest.mark.parametrize("write", FORMATS)
@pytest.mark.parametrize("number", range(len(SESSIONS)))
def test_sessions(capsys: pytest.CaptureFixture[str], tmp_path: Path, number: int, write: Write) -> None:
    case = SESSIONS[number]
    events = [Event(*event) for event in case["events"]]
    got = aggregate(capsys, tmp_path, [write(tmp_path / "events", events)], **case["settings"])
    assert got.view.keys() == case["expect"].keys()
    for stream_id, expect in case["expect"].items():
        view = got.view[stream_id]
        assert (view["late"], view["time"], view["concurrent_viewers"]) == (
            expect["late"],
            expect["time"],
            expect["live"],
        )
        summaries = [summary for summary in got.summaries if summary["stream_id"] == stream_id]
        assert [summary["untracked_events"] for summary in summaries] == [0] * len(summaries)
        # Both sides round the exact quotient once.
        assert [{key: summary[key] for key in FIELDS} for summary in summaries] == expect["summaries"]


@pytest.mark.parametrize("write", FORMATS)
@pytest.mark.parametrize("number", range(len(KINDS)))
def test_kinds(capsys: pytest.CaptureFixture[str], tmp_path: Path, number: int, write: Write) -> None:
    case = KINDS[number]
    events = [Event(*event) for event in case["events"]]
    got = aggregate(capsys, tmp_path, [write(tmp_path / "events", events)], **case["settings"])
    for stream_id, expect in case["expect"].items():
        view = got.view[stream_id]
        assert [view[key] for key in ("late", "time", "concurrent_viewers")] == [
            expect[key] for key in ("late", "time", "live")
        ]
        summaries = [summary for summary in got.summaries if summary["stream_id"] == stream_id]
        fields = expect["summaries"][0]
        assert [{key: summary[key] for key in fields} for summary in summaries] == expect["summaries"]
    skipped = sum(event.kind.count("b") + event.kind.count("s") for event in events)
    assert f", {skipped} samples skipped that are no numbers (bitrate_bps " in got.stderr


@pytest.mark.parametrize("number", range(len(SESSIONS)))
def test_lateness_and_stream_time_in_the_sessions_cases(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, number: int
) -> None:
    case = SESSIONS[number]
    settings = {key: case["settings"][key] for key in ("window_duration_ms", "bucket_ms", "grace_ms", "stream_idle_ms")}
    events = [Event(*event) for event in case["events"]]
    got = aggregate(capsys, tmp_path, [write_json_lines(tmp_path / "events", events)], **settings)
    expected = {stream_id: (stream["late"], stream["time"]) for stream_id, stream in case["expect"].items()}
    assert {stream_id: (stream["late"], stream["time"]) for stream_id, stream in got.view.items()} == expected
