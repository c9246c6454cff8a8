"""A measured process as seen from the one that started it."""

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
    """A milestone; what it doesn't tell is 0."""

    mark: str
    wall_s: float
    """Of a clock that all processes of a machine share."""
    cpu_s: float
    peak_mib: float
    events: int = 0
    restore_s: float = 0.0
    """On the worker's own clock, from the assignment to where it is live."""
    rows: int = 0
    replayed: int = 0
    address: str = ""


class Measured:
    """A process of `tests.bench.pinned`."""

    def __init__(self, process: "subprocess.Popen[str]", errors: IO[bytes]) -> None:
        self._process = process
        self._errors = errors
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True, name="marks").start()

    def mark(self, name: str, within_s: float = MARK_TIMEOUT_S) -> Mark:
        """Wait for the milestone of that name; those before it are passed over."""
        while True:
            line = self._line(within_s)
            if line == "":
                raise SystemExit(f"the process ended before it was {name}:\n{self._last_words()}")
            mark = Mark(**json.loads(line))
            if mark.mark == name:
                return mark

    def stop(self) -> None:
        """As an orchestrator does it: SIGTERM, and wait."""
        self._process.terminate()
        if self._process.wait(STOP_TIMEOUT_S) != 0:
            raise SystemExit(f"the process failed:\n{self._last_words()}")

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()

    def resident_mib(self) -> float:
        """Memory in use now."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def _line(self, within_s: float) -> str:
        try:
            return self._lines.get(timeout=within_s)
        except queue.Empty:
            raise SystemExit(f"the process said nothing for {within_s:.0f} s:\n{self._last_words()}") from None

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
    """A process that is measured; killed at the end, if it hasn't ended by then."""
    command = [sys.executable, "-m", "tests.bench.pinned", kind, str(cpu), str(events), *flags]
    with TemporaryFile() as errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as made:
        try:
            yield Measured(made, errors)
        finally:
            made.kill()


def scraped(address: str) -> dict[str, float]:
    """The metrics of a worker, those with labels added up over them."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=10) as answer:  # noqa: S310  # the address is one of ours
        text = answer.read().decode()
    totals: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
    return totals
