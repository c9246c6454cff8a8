"""A measured process as seen by the process that started it."""

import contextlib
import json
import queue
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

MARK_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 120.0


class Mark(NamedTuple):
    """A milestone; values that it does not report are 0."""

    mark: str
    wall_s: float
    """A monotonic clock that all processes of a machine share."""
    cpu_s: float
    main_cpu_s: float
    """Of the main thread alone; the rest is of the client library's threads."""
    peak_mib: float
    events: int = 0
    restore_s: float = 0.0
    """By the worker's own clock, from the assignment to the first live record."""
    rows: int = 0
    replayed: int = 0
    address: str = ""


class Measured:
    """A process that runs `tests.bench.pinned`."""

    def __init__(self, process: "subprocess.Popen[str]", errors: IO[bytes]) -> None:
        self._process = process
        self._errors = errors
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True, name="marks").start()

    def mark(self, name: str, within_s: float = MARK_TIMEOUT_S) -> Mark:
        """Wait for the milestone with that name; skip those before it."""
        while True:
            line = self._line(within_s)
            if line == "":
                raise SystemExit(f"the process ended before the milestone {name}:\n{self._last_words()}")
            mark = Mark(**json.loads(line))
            if mark.mark == name:
                return mark

    def stop(self) -> None:
        """Stop it as an orchestrator does: send SIGTERM and wait."""
        self._process.terminate()
        if self._process.wait(STOP_TIMEOUT_S) != 0:
            raise SystemExit(f"the process failed:\n{self._last_words()}")

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()
        self._process.wait()

    def resident_mib(self) -> float:
        """Return the memory in use now, in MiB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def _line(self, within_s: float) -> str:
        try:
            return self._lines.get(timeout=within_s)
        except queue.Empty:
            raise SystemExit(f"the process printed nothing for {within_s:.0f} s:\n{self._last_words()}") from None

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")[-2000:]


@contextlib.contextmanager
def measured(kind: str, cpu: int, events: int, flags: Sequence[str]) -> Iterator[Measured]:
    """Run a measured process; kill it at the end if it still runs."""
    command = [sys.executable, "-m", "tests.bench.pinned", kind, str(cpu), str(events), *flags]
    with TemporaryFile() as errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as made:
        try:
            yield Measured(made, errors)
        finally:
            made.kill()


def scraped(address: str) -> dict[str, float]:
    """Return the metrics of a worker, summed over labels."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=10) as answer:  # noqa: S310  # the worker's own address
        text = answer.read().decode()
    totals: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
    return totals
