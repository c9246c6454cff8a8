"""`dlq list` and `dlq show` on dead letters that a worker wrote."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import Ran, run_here
from tests.end_to_end.events import encoded
from tests.end_to_end.stage import Record, Stage, running, stage
from tests.reference.events_counting import Event, Rules

RULES = Rules(window_duration_ms=5_000, bucket_ms=1_000, grace_ms=0)
GOOD = encoded(Event("s", "J", time.time_ns() // 1_000_000 - 10_000))


@pytest.fixture(scope="module")
def kafka(bootstrap_servers: str) -> Iterator[Stage]:
    """Two partitions; two dead letters are of the first and one is of the second."""
    with stage(bootstrap_servers, 2, RULES) as made:
        made.write([Record(b"k", GOOD + b"\0", partition=0), Record(b"\x1b[2J", GOOD[:-1], partition=0)])
        made.write([Record(None, None, partition=1), Record(b"k", GOOD, partition=1)])
        with running(made.settings()):
            made.wait_until_all_is_committed()
        yield made


def dlq(capsys: pytest.CaptureFixture[str], kafka: Stage, *arguments: str) -> Ran:
    return run_here(capsys, "dlq", *arguments, *kafka.flags())


def listed(capsys: pytest.CaptureFixture[str], kafka: Stage, *arguments: str) -> list[dict[str, Any]]:
    ran = dlq(capsys, kafka, "list", "--json", *arguments)
    assert (ran.code, ran.err) == (0, "")
    return sorted(map(json.loads, ran.out.splitlines()), key=lambda one: (one["input_partition"], one["input_offset"]))


def test_list_filters_by_reason_partition_and_time(capsys: pytest.CaptureFixture[str], kafka: Stage) -> None:
    dead_letters = listed(capsys, kafka)
    assert [one["reason"] for one in dead_letters] == ["trailing_bytes", "truncated", "null_value"]
    assert listed(capsys, kafka, "--reason", "truncated") == dead_letters[1:2]
    assert listed(capsys, kafka, "--partition", "1") == dead_letters[2:]
    assert listed(capsys, kafka, "--since", "2020-01-01", "--until", "2021-01-01") == []
    assert listed(capsys, kafka, "--since", str(min(one["timestamp_ms"] for one in dead_letters))) == dead_letters
    assert len(listed(capsys, kafka, "--most", "2")) == 2


def test_list_prints_text_and_counts(capsys: pytest.CaptureFixture[str], kafka: Stage) -> None:
    ran = dlq(capsys, kafka, "list")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert sorted(lines[1::2]) == [
        "    bytes are left behind the last value",
        "    the payload ends inside a value",
        "    the record has no value (a tombstone)",
    ]
    assert all("  from " in line for line in lines[::2])
    assert max(map(len, lines)) <= 80
    counts = dlq(capsys, kafka, "list", "--count").out.splitlines()
    assert [line.split() for line in counts] == [
        ["1", "null_value", "partition", "1"],
        ["1", "trailing_bytes", "partition", "0"],
        ["1", "truncated", "partition", "0"],
    ]


def test_show_prints_one_dead_letter(capsys: pytest.CaptureFixture[str], kafka: Stage) -> None:
    (dead_letter,) = listed(capsys, kafka, "--reason", "truncated")
    ran = dlq(capsys, kafka, "show", f"{dead_letter['partition']}:{dead_letter['offset']}")
    assert ran.code == 0
    assert "reason       truncated: the payload ends inside a value\n" in ran.out
    assert f"came from    {kafka.kafka.input_topic} 0:1\n" in ran.out
    assert "key          \\x1b[2J\n" in ran.out
    as_json = dlq(capsys, kafka, "show", f"{dead_letter['partition']}:{dead_letter['offset']}", "--json")
    assert json.loads(as_json.out) == dead_letter


def test_places_choose_dead_letters(capsys: pytest.CaptureFixture[str], kafka: Stage) -> None:
    first, second, third = listed(capsys, kafka)
    places = [f"{each['partition']}:{each['offset']}" for each in (third, first)]
    assert listed(capsys, kafka, *places) == [first, third]
    assert listed(capsys, kafka, *places, "--reason", second["reason"]) == []


def test_dead_letters_are_exported_to_a_file_that_is_not_overwritten(
    capsys: pytest.CaptureFixture[str], kafka: Stage, tmp_path: Path
) -> None:
    file = tmp_path / "letters.jsonl"
    ran = dlq(capsys, kafka, "list", "--output", str(file))
    assert (ran.code, ran.out, ran.err) == (0, "", f"{file}: 3 dead letters\n")
    exported = sorted(map(json.loads, file.read_text().splitlines()), key=lambda each: each["reason"])
    assert exported == sorted(listed(capsys, kafka), key=lambda each: each["reason"])

    again = dlq(capsys, kafka, "list", "--output", str(file), "--reason", "truncated")
    assert (again.code, again.err) == (1, f"error: {file}: exists already; --force overwrites it\n")
    assert len(file.read_text().splitlines()) == 3
    assert dlq(capsys, kafka, "list", "--output", str(file), "--reason", "truncated", "--force").code == 0
    assert len(file.read_text().splitlines()) == 1


def test_an_export_to_stdout_is_what_the_list_prints_as_json(capsys: pytest.CaptureFixture[str], kafka: Stage) -> None:
    ran = dlq(capsys, kafka, "list", "--output", "-", "--reason", "truncated")
    assert ran.code == 0
    assert list(map(json.loads, ran.out.splitlines())) == listed(capsys, kafka, "--reason", "truncated")


def test_a_value_is_written_to_a_file_as_it_is(
    capsys: pytest.CaptureFixture[str], kafka: Stage, tmp_path: Path
) -> None:
    (letter,) = listed(capsys, kafka, "--reason", "truncated")
    place, file = f"{letter['partition']}:{letter['offset']}", tmp_path / "value.avro"
    ran = dlq(capsys, kafka, "show", place, "--value", str(file))
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert file.read_bytes() == GOOD[:-1]
    assert dlq(capsys, kafka, "show", place, "--value", str(file)).code == 1
    assert dlq(capsys, kafka, "show", place, "--value", str(file), "--force").code == 0
    (without,) = listed(capsys, kafka, "--reason", "null_value")
    ran = dlq(capsys, kafka, "show", f"{without['partition']}:{without['offset']}", "--value", str(tmp_path / "no"))
    assert (ran.code, ran.error_lines) == (
        1,
        [f"error: the dead letter at {without['partition']}:{without['offset']} has no value"],
    )
    assert not (tmp_path / "no").exists()


def test_a_file_that_cannot_be_written_is_one_line(
    capsys: pytest.CaptureFixture[str], kafka: Stage, tmp_path: Path
) -> None:
    ran = dlq(capsys, kafka, "list", "--output", str(tmp_path / "missing" / "letters.jsonl"))
    assert ran.code == 1
    (line,) = ran.error_lines
    assert line.endswith("letters.jsonl: cannot be written: No such file or directory")


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (
            ["show", "0:99999"],
            1,
            "error: there is no dead letter at 0:99999; see where they are with: viewer-consumer ",
        ),
        (["show", "zero"], 2, 'error: PLACE: must be partition:offset of the dead-letter topic, as 3:17, not "zero"'),
        (["list", "--reason", "ugly"], 2, 'error: --reason: there is no "ugly"; there are null_value, oversized'),
        (["list", "--since", "now"], 2, "error: --since: must be a time as"),
        (["list", "0:0", "one"], 2, "error: PLACE: must be partition:offset of the dead-letter topic, as 3:17, not"),
        (["list", "0:0", "0:99999"], 1, "error: there is no dead letter at 0:99999; see where they are with: viewer-"),
        (["list", "--count", "--output", "x"], 2, "error: --output: exports dead letters, so it does not go with"),
        (["retry", "zero"], 2, "error: PLACE: must be partition:offset of the dead-letter topic, as 3:17, not"),
        (["retry", "--reason", "ugly"], 2, 'error: --reason: there is no "ugly"; there are null_value, oversized'),
        (["retry", "--partition", "7"], 2, "error: --partition: the input has partitions 0 to 1, not 7"),
        ([], 2, "error: "),
    ],
)
def test_each_usage_error_is_one_line(
    capsys: pytest.CaptureFixture[str], kafka: Stage, arguments: list[str], code: int, line: str
) -> None:
    ran = dlq(capsys, kafka, *arguments)
    assert (ran.code, ran.out) == (code, "")
    (only,) = ran.error_lines
    assert only.startswith(line)
