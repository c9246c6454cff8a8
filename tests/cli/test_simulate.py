"""`simulate` in its own process: events on stdout or in a file, statistics on stderr."""

import json
from pathlib import Path

import fastavro
import pytest

from consumer.cli.main import run_command
from tests.cli.command import run

SMALL = ("--streams", "3", "--viewers", "50", "--duration", "2m", "--start", "2026-01-31T20:15:00Z")
START_MS = 1_769_890_500_000


def test_events_go_to_stdout_and_statistics_to_stderr() -> None:
    done = run("simulate", "--to", "-", *SMALL)
    assert done.code == 0
    events = [json.loads(line) for line in done.out.splitlines()]
    assert len(events) > 50
    assert {event["type"] for event in events} >= {"join", "bitrate"}
    assert all(START_MS <= event["timestamp_ms"] < START_MS + 120_000 for event in events)
    (line,) = done.error_lines
    assert line.startswith(f"{len(events):,} events to ")


def test_the_same_seed_gives_the_same_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    first, again, other = (str(tmp_path / name) for name in ("first.jsonl", "again.jsonl", "other.jsonl"))
    for name, seed in ((first, "5"), (again, "5"), (other, "6")):
        assert (
            run_command(["simulate", "--to", name, "--seed", seed, "--loss", "0.1", "--disorder", "0.2", *SMALL]) == 0
        )
    capsys.readouterr()
    assert Path(first).read_bytes() == Path(again).read_bytes()
    assert Path(first).read_bytes() != Path(other).read_bytes()


@pytest.mark.parametrize("suffix", ["avro", "jsonl"])
def test_a_file_that_exists_is_overwritten_only_by_force(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"events.{suffix}"
    path.write_bytes(b"precious")
    assert run_command(["simulate", "--to", str(path), *SMALL]) == 1
    assert capsys.readouterr().err == f"error: {path}: exists already; --force overwrites it\n"
    assert path.read_bytes() == b"precious"
    assert run_command(["simulate", "--to", str(path), "--force", *SMALL]) == 0
    assert path.stat().st_size > 1_000


def test_a_device_is_written_without_force(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    link = tmp_path / "null.jsonl"
    link.symlink_to("/dev/null")
    assert run_command(["simulate", "--to", str(link), *SMALL]) == 0
    assert "events to " in capsys.readouterr().err


def test_delays_and_skews_are_spans(capsys: pytest.CaptureFixture[str]) -> None:
    spans = ("--disorder", "0.5", "--max-delay", "2s", "--clock-skew", "1.5s")
    assert run_command(["simulate", "--to", "-", *spans, *SMALL]) == 0
    assert run_command(["simulate", "--to", "-", "--max-delay", "2000", *SMALL]) == 2
    assert "error: --max-delay: must be a number with a unit" in capsys.readouterr().err


def test_both_file_formats_hold_the_same_events_and_give_the_same_summaries(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lines, container = tmp_path / "events.jsonl", tmp_path / "events.avro"
    for path in (lines, container):
        assert run_command(["simulate", "--to", str(path), *SMALL]) == 0
    with container.open("rb") as file:
        assert len(list(fastavro.reader(file))) == len(lines.read_text(encoding="utf-8").splitlines())
    capsys.readouterr()
    printed = []
    for path in (lines, container):
        assert run_command(["aggregate", str(path)]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert len(printed[0].splitlines()) > 10


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--to", "events.txt"], 'cannot tell the format of "events.txt"'),
        (["--to", "-", "--duration", "10"], "--duration: must be a number with a unit"),
        (["--to", "-", "--duration", "1s", "--start", "soon"], "--start: must be a time as 2026-01-31T20:15:00Z"),
        (["--to", "-"], "a run faster than real time needs an end"),
        (["--to", "-", "--duration", "1s", "--loss", "2"], "Invalid value for '--loss'"),
    ],
)
def test_each_invalid_option_is_a_one_line_error(
    capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    assert run_command(["simulate", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (only,) = printed.err.splitlines()
    assert only.startswith(f"error: {line}")


def test_a_file_that_cannot_be_written_is_a_one_line_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    missing = tmp_path / "none" / "events.jsonl"
    assert run_command(["simulate", "--to", str(missing), *SMALL]) == 1
    assert capsys.readouterr().err == f"error: {missing}: cannot be written: No such file or directory\n"
