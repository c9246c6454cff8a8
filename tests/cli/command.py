"""Run the command as people do: in its own process, with its own stdout, stderr and exit code."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from consumer.cli.main import run_command
from consumer.kafka.timeouts import TIMEOUTS, Timeouts

ROOT = Path(__file__).parents[2]


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def error_lines(self) -> list[str]:
        return self.err.splitlines()


def environment(**extra: str) -> dict[str, str]:
    """Return this process's environment without our settings, in the C locale."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VIEWER_CONSUMER_")}
    return kept | {"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"} | extra


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "consumer", *arguments]


def run(*arguments: str, stdin: str | None = None, cwd: Path | None = None, **extra: str) -> Ran:
    done = subprocess.run(
        command(*arguments),
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        encoding="utf-8",
        env=environment(**extra),
        cwd=cwd,
        timeout=120,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def run_here(captured: pytest.CaptureFixture[str], *arguments: str, timeouts: Timeouts = TIMEOUTS) -> Ran:
    """Run the command in this process, which is faster and can have shorter time-outs."""
    code = run_command(arguments, timeouts)
    printed = captured.readouterr()
    return Ran(code, printed.out, printed.err)
