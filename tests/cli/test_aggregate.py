"""`aggregate`: what goes to stdout and stderr, and the exit codes; in its own process where that makes a difference."""

import csv
import gzip
import io
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from consumer.intake.files.open import EventFile
from consumer.settings.model import InputSettings
from tests.aggregate.files import Event, write_avro, write_json_lines
from tests.cli.command import command, environment, run, run_here
from tests.support import zstandard

CLOSING = r"{}, [0-9]+[.][0-9] s"

EVENTS = [
    Event("b", "v1", 1_000, "J"),
    Event("a", "v2", 2_000, "J"),
    Event("a", "v2", 2_500, "B", 1_000),
    Event("b", "v1", 45_000, "S", 7),
]


def test_summaries_go_to_stdout_ordered_by_stream_and_bucket(tmp_path: Path) -> None:
    events = write_json_lines(tmp_path / "events.jsonl", EVENTS)
    done = run("aggregate", str(events))
    assert done.code == 0
    assert re.fullmatch(CLOSING.format("4 events of 2 streams, 6 summaries, 0 rejected, 0 late"), done.err.rstrip())
    summaries = [json.loads(line) for line in done.out.splitlines()]
    assert [(s["stream_id"], s["bucket_start_ms"], s["close_reason"]) for s in summaries] == [
        ("a", 0, "END_OF_INPUT"),
        *(("b", start_ms, "WATERMARK") for start_ms in (0, 10_000, 20_000)),
        *(("b", start_ms, "END_OF_INPUT") for start_ms in (30_000, 40_000)),
    ]
    assert list(summaries[0]) == [
        "stream_id",
        "bucket_start_ms",
        "bucket_end_ms",
        "peak_concurrent_viewers",
        "avg_bitrate_bps",
        "min_bitrate_bps",
        "max_bitrate_bps",
        "buffer_event_count",
        "buffer_stall_ms",
        "bitrate_sample_count",
        "joins",
        "leaves",
        "bitrate_sum_bps",
        "timeouts",
        "unique_viewers",
        "avg_concurrent_viewers",
        "viewer_ms",
        "viewers_at_end",
        "untracked_events",
        "close_reason",
        "counting",
        "topic",
        "partition",
        "offset",
    ]
    assert (summaries[0]["counting"], summaries[0]["topic"], summaries[0]["offset"]) == ("sessions", None, None)


def test_stdin_is_read_as_json_lines(tmp_path: Path) -> None:
    text = write_json_lines(tmp_path / "events.jsonl", EVENTS).read_text(encoding="utf-8")
    done = run("aggregate", "-", "--at-end", "keep", stdin=text)
    assert done.code == 0
    assert re.fullmatch(CLOSING.format("4 events of 2 streams, 3 summaries, 0 rejected, 0 late"), done.err.rstrip())
    assert [json.loads(line)["stream_id"] for line in done.out.splitlines()] == ["b"] * 3


def test_bad_lines_are_reported_and_the_other_lines_count(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    events = write_json_lines(tmp_path / "events.jsonl", EVENTS)
    with events.open("a", encoding="utf-8") as file:
        file.write("{\n" * 3)
        file.write('{"stream_id": "a", "viewer_id": "v", "timestamp_ms": 1.5, "type": "join"}\n' * 5)
    done = run_here(capsys, "aggregate", str(events))
    assert done.code == 0
    assert len(done.out.splitlines()) == 6
    named, summed = done.error_lines[:-1], done.error_lines[-1]
    assert [line.split(": ")[0] for line in named] == [f"{events}:{number}" for number in range(5, 10)]
    assert named[3].endswith("timestamp_ms must be a whole number")
    counted = "4 events of 2 streams, 6 summaries, 8 rejected [(]malformed 8[)], 0 late"
    assert re.fullmatch(CLOSING.format(counted), summed)


def test_late_events_are_reported(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    events = write_json_lines(tmp_path / "events.jsonl", [*EVENTS, Event("b", "v3", 1_000, "J")])
    done = run_here(capsys, "aggregate", str(events))
    assert done.code == 0
    assert re.fullmatch(CLOSING.format("4 events of 2 streams, 6 summaries, 0 rejected, 1 late"), done.err.rstrip())


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.pack, bytes], ids=["gzip", "Zstandard", "as it is"])
def test_stdin_may_be_packed(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    for written in (
        write_json_lines(tmp_path / "events.jsonl", EVENTS),
        write_avro(tmp_path / "events.avro", EVENTS, "snappy"),
    ):
        with subprocess.Popen(
            command("aggregate", "-"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        ) as process:
            out, err = process.communicate(pack(written.read_bytes()), timeout=120)
        assert (process.returncode, len(out.splitlines())) == (0, 6), err.decode()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "{}: is empty"),
        ("[]", "error: {}: is a JSON array, not JSON lines; write one object a line: jq -c '.[]' {} > lines.jsonl"),
        ("nonsense\n", "{}:1: malformed: is not JSON: Expecting value: line 1 column 1 (char 0)"),
    ],
)
def test_where_nothing_is_accepted_the_exit_code_is_1(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, line: str
) -> None:
    events = tmp_path / "events"
    events.write_text(text)
    done = run_here(capsys, "aggregate", str(events))
    assert (done.code, done.out) == (1, "")
    assert done.error_lines[0] == line.replace("{}", str(events))
    rejected = "1 rejected [(]malformed 1[)]" if text == "nonsense\n" else "0 rejected"
    counted = CLOSING.format(f"0 events of 0 streams, 0 summaries, {rejected}, 0 late")
    assert text == "[]" or re.fullmatch(counted, done.error_lines[1])


def test_csv_has_the_same_fields_and_values_as_json_lines(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    events = [*EVENTS, Event('c,"\n', "v", 46_000, "J")]
    path = str(write_json_lines(tmp_path / "events.jsonl", events))
    expected = [json.loads(line) for line in run_here(capsys, "aggregate", path).out.splitlines()]
    rows = list(csv.DictReader(io.StringIO(run_here(capsys, "aggregate", path, "--output-format", "csv").out)))
    assert rows == [{key: "" if value is None else str(value) for key, value in each.items()} for each in expected]
    assert list(rows[0]) == list(expected[0])


def test_a_table_is_for_people(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    events = [*EVENTS, Event("c\x1b[2J" + "x" * 60, "v", 46_000, "J")]
    path = str(write_json_lines(tmp_path / "events.jsonl", events))
    lines = run_here(capsys, "aggregate", path, "--output-format", "table").out.splitlines()
    headings = "stream from (UTC) peak average unique joins leaves timeouts at end kbit/s stalls stalled s closed by"
    assert " ".join(lines[0].split()) == headings
    assert " ".join(lines[1].split()) == "a 1970-01-01 00:00:00 1 0.8 1 1 0 0 1 1 0 0.0 END_OF_INPUT"
    assert lines[-1].startswith("c\\x1b[2J" + "x" * 31 + "…  1970-01-01 00:00:40")
    assert len({line.index("  1970") for line in lines[1:]}) == 1, "in columns"
    counted = run_here(
        capsys, "aggregate", path, "--output-format", "table", "--set", "windows.counting=events"
    ).out.splitlines()
    assert " - " in counted[1], "what this way of counting does not have"


@pytest.mark.parametrize("cut", [2, 40, -1, -9])
def test_a_truncated_container_is_a_one_line_error_without_summaries(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, cut: int
) -> None:
    whole = write_avro(tmp_path / "events.avro", EVENTS * 100)
    whole.write_bytes(whole.read_bytes()[:cut] if cut > 2 or cut < 0 else b"Obj\x01")
    done = run_here(capsys, "aggregate", str(whole))
    assert (done.code, done.out) == (1, "")
    (line,) = done.error_lines
    assert line.startswith(f"error: {whole}: ")


def test_each_unreadable_file_is_one_error_line_before_anything_is_read(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    events = write_json_lines(tmp_path / "events.jsonl", EVENTS)
    done = run_here(capsys, "aggregate", str(events), str(tmp_path / "none"), str(tmp_path))
    assert (done.code, done.out) == (1, "")
    assert done.error_lines == [
        f"error: {tmp_path / 'none'}: cannot be read: No such file or directory",
        f"error: {tmp_path}: cannot be read: Is a directory",
    ]


def test_a_view_file_that_cannot_be_written_is_a_one_line_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    events = write_json_lines(tmp_path / "events.jsonl", EVENTS)
    done = run_here(capsys, "aggregate", str(events), "--view", str(tmp_path / "none" / "view.json"))
    assert (done.code, done.out) == (1, "")
    assert done.error_lines == [
        f"error: {tmp_path / 'none' / 'view.json'}: cannot be written: No such file or directory"
    ]


def test_a_view_file_that_exists_is_overwritten_only_by_force(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    events, view = write_json_lines(tmp_path / "events.jsonl", EVENTS), tmp_path / "view.json"
    view.write_text("precious")
    done = run_here(capsys, "aggregate", str(events), "--view", str(view))
    assert (done.code, done.out) == (1, "")
    assert done.error_lines == [f"error: {view}: exists already; --force overwrites it"]
    assert view.read_text() == "precious"
    assert run_here(capsys, "aggregate", str(events), "--view", str(view), "--force").code == 0
    assert set(json.loads(view.read_text())) == {"a", "b"}


def test_a_view_on_stdout_takes_the_place_of_the_summaries(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    events = write_json_lines(tmp_path / "events.jsonl", EVENTS)
    done = run_here(capsys, "aggregate", str(events), "--view", "-")
    assert done.code == 0
    (line,) = done.out.splitlines()
    assert set(json.loads(line)) == {"a", "b"}


@pytest.mark.parametrize("packed", [False, True])
def test_the_position_in_a_pipe_is_known(packed: bool) -> None:  # pytest gives it
    lines = b'{"stream_id": "s", "viewer_id": "v", "timestamp_ms": 1000, "type": "join"}\n' * 5_000
    content = gzip.compress(lines) if packed else lines
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe:
        thread = threading.Thread(target=_write_all, args=(writing, content))
        thread.start()
        file = EventFile("-", pipe, InputSettings())
        positions = [file.position() for _ in file.batches()]
        thread.join()
    assert positions == sorted(positions)
    assert positions[-1] == len(content)
    assert file.size is None


def _write_all(descriptor: int, content: bytes) -> None:
    with os.fdopen(descriptor, "wb") as pipe:
        pipe.write(content)


def test_kafka_time_is_refused_for_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    events = write_json_lines(tmp_path / "events.jsonl", EVENTS)
    done = run_here(capsys, "aggregate", str(events), "--set", "input.time=kafka")
    assert (done.code, done.out) == (2, "")
    assert len(done.error_lines) == 1


def test_ctrl_c_ends_it_without_a_traceback(tmp_path: Path) -> None:
    fifo = tmp_path / "events"
    os.mkfifo(fifo)
    with (
        subprocess.Popen(
            command("aggregate", str(fifo)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
        ) as process,
        fifo.open("wb"),
    ):  # returns once the command reads
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_a_closed_pipe_ends_it_without_a_traceback(tmp_path: Path) -> None:
    many = [Event(f"s{i}", "v", 1_000, "J") for i in range(3_000)]
    events = write_json_lines(tmp_path / "events.jsonl", many)
    with subprocess.Popen(
        command("aggregate", str(events)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        deadline = time.monotonic() + 60
        process.wait(deadline - time.monotonic())
    assert (process.returncode, err) == (0, b"")
