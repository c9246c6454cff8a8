"""How `aggregate` handles streams, time and order, with small inputs."""

import json
from pathlib import Path
from typing import Any

import pytest

from consumer.cli.main import run_command
from tests.aggregate.files import Event, aggregate, write_json_lines

RULES: dict[str, int | str] = {
    "counting": "events",
    "window_duration_ms": 2_000,
    "bucket_ms": 1_000,
    "grace_ms": 0,
    "stream_idle_ms": 5_000,
}


def places(summaries: list[dict[str, Any]]) -> list[tuple[str, int, str]]:
    return [(s["stream_id"], s["bucket_start_ms"], s["close_reason"]) for s in summaries]


@pytest.fixture
def events_file(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def test_several_files_are_read_as_one_partition_in_the_given_order(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    early = write_json_lines(tmp_path / "early", [Event("s", "v", 500, "J")])
    later = write_json_lines(tmp_path / "later", [Event("s", "v", 2_500, "B", 10)])
    forth = aggregate(capsys, tmp_path, [early, later], **RULES)
    assert places(forth.summaries) == [("s", 0, "WATERMARK"), ("s", 2_000, "END_OF_INPUT")]
    assert forth.view["s"]["late"] == 0
    back = aggregate(capsys, tmp_path, [later, early], **RULES)
    assert places(back.summaries) == [("s", 2_000, "END_OF_INPUT")]
    assert back.view["s"]["late"] == 1


def test_the_view_is_computed_before_the_end_of_input_closes_open_buckets(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, events_file: Path
) -> None:
    events = [Event("s", "v", 500, "J"), Event("s", "w", 1_500, "J"), Event("s", "w", 1_600, "S", 9)]
    for at_end, expected in (
        ("close", [("s", 0, "WATERMARK"), ("s", 1_000, "END_OF_INPUT")]),
        ("keep", [("s", 0, "WATERMARK")]),
    ):
        got = aggregate(capsys, tmp_path, [write_json_lines(events_file, events)], "--at-end", at_end, **RULES)
        assert places(got.summaries) == expected
        view = got.view["s"]
        assert [(row["bucket_start_ms"], row["close_reason"]) for row in view["buckets"]] == [
            (0, "WATERMARK"),
            (1_000, None),
        ]
        assert view["buckets"][0] == got.summaries[0]
        assert list(view["buckets"][1]) == list(got.summaries[0])
        assert {key: value for key, value in view.items() if key != "buckets"} == {
            "concurrent_viewers": 2,
            "window_bitrate_stats": [0.0, 0, 0],
            "window_buffer_events": 1,
            "window_peak_concurrent": 2,
            "late": 0,
            "time": 1_600,
        }


def test_other_streams_close_a_quiet_stream_and_the_view_keeps_it_after_it_is_forgotten(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, events_file: Path
) -> None:
    #   quiet   B                                  B (late: its bucket is below the idle watermark)
    #   busy        J                    J
    #           0   1                    20        0.9 s
    events = [
        Event("quiet", "v", 0, "B", 7),
        Event("busy", "v", 1_000, "J"),
        Event("busy", "v", 20_000, "J"),
        Event("quiet", "v", 900, "B", 7),
        Event("other", "v", 900, "B", 7),
    ]
    got = aggregate(capsys, tmp_path, [write_json_lines(events_file, events)], **RULES)
    assert places(got.summaries) == [
        ("busy", 1_000, "WATERMARK"),
        ("busy", 20_000, "END_OF_INPUT"),
        ("quiet", 0, "STREAM_IDLE"),
    ]
    assert list(got.view) == ["busy", "other", "quiet"]
    gone = {
        "concurrent_viewers": 0,
        "window_bitrate_stats": [0.0, 0, 0],
        "window_buffer_events": 0,
        "window_peak_concurrent": 0,
        "buckets": [],
        "late": 1,
        "time": 15_000,
    }
    assert got.view["quiet"] == gone
    assert got.view["other"] == gone
    assert got.stderr.startswith("3 events of 2 streams, 3 summaries, 0 rejected, 2 late, ")


def test_an_event_beyond_the_stream_limit_is_rejected(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, events_file: Path
) -> None:
    events = [Event("a", "v", 0, "J"), Event("b", "v", 0, "J"), Event("b", "v", 0, "J"), Event("a", "v", 0, "J")]
    got = aggregate(capsys, tmp_path, [write_json_lines(events_file, events)], max_streams=1, **RULES)
    assert places(got.summaries) == [("a", 0, "END_OF_INPUT")]
    assert got.view["a"]["concurrent_viewers"] == 2
    assert (got.view["b"]["concurrent_viewers"], got.view["b"]["time"]) == (0, None)
    assert got.stderr.startswith("2 events of 1 streams, 1 summaries, 2 rejected (stream_limit 2), 0 late, ")


def test_an_event_far_in_the_future_is_accepted_because_files_have_no_clock(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, events_file: Path
) -> None:
    got = aggregate(capsys, tmp_path, [write_json_lines(events_file, [Event("s", "v", 2**52, "J")])], **RULES)
    assert places(got.summaries) == [("s", 2**52 // 1_000 * 1_000, "END_OF_INPUT")]


def test_an_empty_file_is_named_and_the_others_count(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, events_file: Path
) -> None:
    empty = write_json_lines(tmp_path / "empty", [])
    got = aggregate(capsys, tmp_path, [write_json_lines(events_file, [Event("s", "v", 0, "J")]), empty], **RULES)
    assert places(got.summaries) == [("s", 0, "END_OF_INPUT")]
    assert got.stderr.splitlines()[0] == f"{empty}: is empty"


def test_stream_ids_are_written_as_they_were_read(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, events_file: Path
) -> None:
    names = ['"', "\\", "\n", "\x00", "\N{SNOWMAN}", "\U0001f600", "a b", "A", "a"]
    got = aggregate(capsys, tmp_path, [write_json_lines(events_file, [Event(name, "v", 0, "J") for name in names])])
    assert [summary["stream_id"] for summary in got.summaries] == sorted(names)
    assert list(got.view) == sorted(names)


def test_many_summaries_are_written_in_order(capsys: pytest.CaptureFixture[str], events_file: Path) -> None:
    events = [Event(f"s{stream}", "v", 10_000 * bucket, "J") for bucket in range(30) for stream in range(99, 0, -1)]
    write_json_lines(events_file, events)
    assert run_command(["aggregate", str(events_file)]) == 0
    summaries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    order = [(summary["stream_id"], summary["bucket_start_ms"]) for summary in summaries]
    assert order == sorted(order)
    assert len(order) == 99 * 30
