"""What happens where stdout, stderr or a file cannot be written: one line, exit code 1, no traceback."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.command import command, environment
from tests.end_to_end.stage import stage
from tests.reference.events_counting import Rules

FULL = Path("/dev/full")
NO_SPACE = "error: stdout: cannot be written: No space left on device\n"
EVENT = '{"stream_id": "s", "viewer_id": "v", "timestamp_ms": 1000, "type": "join"}\n'


def shell(arguments: str, stdin: str = "") -> tuple[int, str]:
    """Exit code and stderr of the command with redirections."""
    line = " ".join([*command(), arguments])
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        env=environment(),
        timeout=200,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        "config",
        "config --json",
        "--help",
        "--version",
        "simulate --to - --speed 0 --events 5",
        "simulate --to - --speed 0 --events 50000",
        "aggregate -",
    ],
)
def test_a_full_disk_behind_stdout_is_one_line(arguments: str) -> None:
    assert shell(f"{arguments} > {FULL}", EVENT) == (1, NO_SPACE)


def test_a_table_on_a_full_disk_is_one_line(bootstrap_servers: str) -> None:
    with stage(bootstrap_servers, 1, Rules(60_000, 10_000, 10_000, 60_000)) as kafka:
        flags = " ".join(kafka.flags())
        code, _ = shell(f"topics {flags}")
        assert code == 0
        for listing in ("list", "list --json", "check"):
            assert shell(f"state {listing} {flags} > {FULL}") == (1, NO_SPACE)


def test_a_view_on_a_full_disk_names_its_file() -> None:
    code, said = shell(f"aggregate - --view {FULL}", EVENT)
    assert (code, said) == (1, f"error: {FULL}: cannot be written: No space left on device\n")


@pytest.mark.parametrize("arguments", ["config", "simulate --to - --speed 0 --events 50000", "aggregate -"])
def test_a_reader_that_has_gone_is_no_error(arguments: str) -> None:
    code, said = shell(f"{arguments} | exec 0<&-", EVENT)
    assert (code, said) == (0, "")


def test_a_closed_stdout_is_one_line_for_a_command_that_prints() -> None:
    assert shell("config >&-") == (1, "error: stdout: cannot be written: Bad file descriptor\n")


@pytest.mark.parametrize("where", [f"> {FULL}", ">&-"])
def test_without_stderr_the_exit_code_remains(where: str) -> None:
    assert shell(f"no-such-command 2{where}") == (2, "")
    assert shell(f"config 2{where}") == (0, "")


def test_without_any_stream_a_command_still_runs() -> None:
    done = subprocess.run(
        ["bash", "-c", f"exec {' '.join(command('config'))} <&- 2>&-"],
        stdout=subprocess.PIPE,
        env=environment(),
        check=False,
    )
    assert done.returncode == 0
    assert done.stdout.startswith(b"[kafka]")
    assert os.linesep.encode() in done.stdout
