import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fastavro
import pytest
from rich.console import Console

from consumer.errors import UsageError, ViewerConsumerError
from consumer.settings.model import Settings
from consumer.simulate.noise import NoiseRules
from consumer.simulate.options import SimulateOptions
from consumer.simulate.programme import Cast
from consumer.simulate.reports import ReportRules
from consumer.simulate.run import frame, simulate
from consumer.simulate.schema import confluent_frame, event_schema, single_object_frame

NOW_MS = 1_700_000_000_000
SMALL = SimulateOptions(cast=Cast(streams=20, viewers=300), duration_ms=60_000, start_ms=NOW_MS, seed=3, speed=0)


class TestClock:
    """A clock that only advances by waiting, and stops the run after a given time."""

    __test__ = False

    def __init__(self, stop_after_s: float = 1e9) -> None:
        self.waited_s = 0.0
        self._stop_after_s = stop_after_s

    def now_ms(self) -> int:
        return NOW_MS + int(self.waited_s * 1000)

    def wait(self, seconds: float) -> bool:
        self.waited_s += seconds
        return self.waited_s >= self._stop_after_s


def avro_records(path: Path) -> list[dict[str, Any]]:
    with path.open("rb") as file:
        return list(fastavro.reader(file))  # type: ignore[arg-type]  # records of our schema are dicts


def json_records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_fastavro_reads_every_event_and_our_schema_from_an_avro_file(tmp_path: Path) -> None:
    path = tmp_path / "events.avro"
    report = simulate(replace(SMALL, out=str(path)), Settings(), TestClock())
    records = avro_records(path)
    assert len(records) == report.events == sum(report.by_type) > 500
    with path.open("rb") as file:
        reader = fastavro.reader(file)
        assert reader.codec == "deflate"
        assert fastavro.schema.to_parsing_canonical_form(reader.writer_schema or {}) == (
            fastavro.schema.to_parsing_canonical_form(event_schema())
        )


def test_a_large_file_has_several_blocks_and_every_event(tmp_path: Path) -> None:
    path = tmp_path / "events.avro"
    options = replace(SMALL, out=str(path), cast=Cast(streams=20, viewers=10_000))
    report = simulate(options, Settings(), TestClock())
    with path.open("rb") as file:
        blocks = [block.num_records for block in fastavro.block_reader(file)]
    assert len(blocks) > 2
    assert sum(blocks) == report.events


def test_both_formats_hold_the_same_events_in_the_same_order(tmp_path: Path) -> None:
    noisy = replace(SMALL, noise=NoiseRules(loss=0.05, duplicates=0.1, disorder=0.3, max_skew_ms=500))
    simulate(replace(noisy, out=str(tmp_path / "a.avro")), Settings(), TestClock())
    simulate(replace(noisy, out=str(tmp_path / "a.jsonl")), Settings(), TestClock())
    avro, lines = avro_records(tmp_path / "a.avro"), json_records(tmp_path / "a.jsonl")
    assert [(one["stream_id"], one["viewer_id"]) for one in avro] == [
        (one["stream_id"], one["viewer_id"]) for one in lines
    ]
    assert [round(one["timestamp_ms"].timestamp() * 1000) for one in avro] == [one["timestamp_ms"] for one in lines]


@pytest.mark.parametrize("name", ["events.avro", "events.jsonl"])
def test_equal_runs_write_equal_files(tmp_path: Path, name: str) -> None:
    first, second = tmp_path / f"1-{name}", tmp_path / f"2-{name}"
    for path in (first, second):
        simulate(replace(SMALL, out=str(path)), Settings(), TestClock())
    assert first.read_bytes() == second.read_bytes()


def test_stdout_receives_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    report = simulate(replace(SMALL, out="-", max_events=10), Settings(), TestClock())
    assert report.events == 10
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["type"] for line in lines].count("join") == report.by_type[0]


@pytest.mark.parametrize("most", [1, 7, 999])
def test_a_limit_on_the_number_of_events_is_exact(tmp_path: Path, most: int) -> None:
    path = tmp_path / "events.jsonl"
    simulate(replace(SMALL, out=str(path), duration_ms=None, max_events=most), Settings(), TestClock())
    assert len(json_records(path)) == most


def test_events_in_transit_at_the_end_still_arrive(tmp_path: Path) -> None:
    late = NoiseRules(disorder=1.0, max_delay_ms=30_000)
    path = tmp_path / "events.jsonl"
    simulate(replace(SMALL, out=str(path)), Settings(), TestClock())
    whole = len(json_records(path))
    simulate(replace(SMALL, out=str(path), noise=late, force=True), Settings(), TestClock())
    assert len(json_records(path)) == whole


def test_history_is_sent_at_once_and_then_the_clock_is_followed(tmp_path: Path) -> None:
    clock = TestClock(stop_after_s=10)
    options = SimulateOptions(
        out=str(tmp_path / "events.jsonl"), cast=SMALL.cast, speed=1, history_ms=60_000, duration_ms=600_000
    )
    report = simulate(options, Settings(), clock)
    assert report.from_ms == NOW_MS - 60_000
    assert NOW_MS + 9_500 <= report.to_ms <= clock.now_ms()
    assert json_records(tmp_path / "events.jsonl")[-1]["timestamp_ms"] < clock.now_ms()


def test_speed_multiplies_the_clock(tmp_path: Path) -> None:
    clock = TestClock()
    simulate(replace(SMALL, out=str(tmp_path / "events.jsonl"), speed=20.0), Settings(), clock)
    assert 2.9 < clock.waited_s < 3.2


def test_a_stop_keeps_what_was_sent(tmp_path: Path) -> None:
    path = tmp_path / "events.avro"
    options = replace(SMALL, out=str(path), speed=1.0)
    report = simulate(options, Settings(), TestClock(stop_after_s=5))
    assert 0 < report.events == len(avro_records(path))
    assert report.to_ms < NOW_MS + 6_000


def test_players_send_heartbeats_and_stalls_with_a_bitrate(tmp_path: Path) -> None:
    plain = tmp_path / "plain.jsonl"
    before = simulate(replace(SMALL, out=str(plain)), Settings(), TestClock())
    path = tmp_path / "events.jsonl"
    report = simulate(replace(SMALL, out=str(path), reports=ReportRules(0.4, 1.0)), Settings(), TestClock())
    joins, leaves, bitrates, buffers, heartbeats, several = report.by_type
    assert (report.events, joins, leaves) == (before.events, *before.by_type[:2]), "the same events happen"
    assert (buffers, several) == (0, before.by_type[3])
    assert bitrates + heartbeats == before.by_type[2]
    assert 0.3 < heartbeats / before.by_type[2] < 0.5
    assert f"{heartbeats:,} heartbeats, {several:,} with several facts; " in report.line
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line["type"] for line in lines].count("heartbeat") == heartbeats
    stalls = [line for line in lines if line["type"] == ["bitrate", "buffer"]]
    assert len(stalls) == several > 0
    assert all(line["bitrate_bps"] > 0 < line["duration_ms"] for line in stalls)


@pytest.mark.parametrize("name", ["heartbeats", "combined"])
def test_a_share_is_from_0_to_1(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} must be a share from 0 to 1, not 1.5"):
        ReportRules(**{name: 1.5})


def test_the_closing_line_counts_events_by_type(tmp_path: Path) -> None:
    report = simulate(replace(SMALL, out=str(tmp_path / "events.jsonl")), Settings(), TestClock())
    joins, leaves, bitrates, buffers, *_ = report.by_type
    for part in (f"{report.events:,} events to", f"{joins:,} joins", f"{leaves:,} leaves", f"{bitrates:,} bitrate"):
        assert part in report.line
    assert f"{buffers:,} buffer events; 60 s of event time" in report.line


@pytest.mark.parametrize("most", [500, None])
def test_progress_is_shown_on_a_terminal_and_not_on_a_pipe(tmp_path: Path, most: int | None) -> None:
    options = replace(SMALL, out=str(tmp_path / "events.jsonl"), force=True, max_events=most)
    terminal, pipe = io.StringIO(), io.StringIO()
    report = simulate(options, Settings(), TestClock(), Console(file=terminal, force_terminal=True, width=100))
    simulate(options, Settings(), TestClock(), Console(file=pipe, force_terminal=False, width=100))
    assert pipe.getvalue() == ""
    seen = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert f"{report.events:,} events" in seen


@pytest.mark.parametrize("name", ["missing/events.avro", "missing/events.jsonl"])
def test_a_file_that_cannot_be_written_is_a_one_line_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ViewerConsumerError, match="cannot be written: No such file or directory"):
        simulate(replace(SMALL, out=str(tmp_path / name)), Settings(), TestClock())


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("confluent", lambda: confluent_frame(4)),
        ("single-object", lambda: single_object_frame(event_schema())),
        ("raw", lambda: b""),
    ],
)
def test_records_are_framed_as_configured(form: str, expected: Callable[[], bytes]) -> None:
    settings = Settings.model_validate({"input": {"format": form, "schemas": ["viewer_event.avsc"]}})
    assert frame(settings.input, 4) == expected()


def test_limits_on_both_ends_of_time_are_refused() -> None:
    with pytest.raises(UsageError):
        replace(SMALL, history_ms=1_000)
