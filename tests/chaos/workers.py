"""Workers as processes: started, told to stop, killed, frozen, and asked how they ended."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.chaos.faulty_worker import GAVE_UP
from tests.chaos.judge import Stop
from tests.chaos.points import Order
from tests.cli.command import environment
from tests.support.waiting import comes_true

STOP_TIMEOUT_S = 40.0
"""More than a producer may take to get its place, which is not interrupted."""

_STACKS_WITHIN_S = 2.0

_LAST_LINES = 120
"""Of a log: what happened, and the stacks of all threads."""

HOW = {
    0: "stopped",
    GAVE_UP: "gave up",
    -signal.SIGKILL: "killed",
    -signal.SIGTERM: "told to end before it outcomes",
}


class Ending(NamedTuple):
    """How one process of a worker ended."""

    worker: str
    code: int
    words: str
    """The last line of its log."""

    @property
    def how(self) -> str:
        """In a word; "broke" is a bug."""
        return HOW.get(self.code, "broke")


class WorkerProcess:
    """One place in the group, taken by one process after another.

    Args:
        name: of the worker, and of its log.
        overrides: settings, as `section.key=value`.
        logs: a directory.
    """

    def __init__(self, name: str, overrides: Sequence[str], logs: Path) -> None:
        self.name = name
        self.log = logs / f"{name}.log"
        self.endings: list[Ending] = []
        self.reserved = threading.RLock()
        """Held by the one that does something to it."""
        self._clock = logs / f"{name}.clock"
        self._overrides = overrides
        self._log_begin = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._told_to_stop: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """There is a process, perhaps a frozen one."""
        return self._process is not None and not self._collect()

    @property
    def frozen(self) -> bool:
        """It is stopped by a signal."""
        return self._process is not None and _state(self._process.pid) == "T"

    def start(self, point: Order | None = None) -> None:
        """Start a process; with a point at which it kills or stops itself."""
        assert not self.running, f"{self.name} runs already"
        command = [sys.executable, "-m", "tests.chaos.faulty_worker", "--clock", str(self._clock)]
        if point is not None:
            command += ["--point", str(point)]
        for override in self._overrides:
            command += ["--set", override]
        with self.log.open("ab") as log:
            self._log_begin = log.tell()
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log, env=environment())

    def kill(self) -> None:
        """End it without a word; frozen or not."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._collect()

    def ask_to_stop(self) -> None:
        """Tell it to commit, leave the group and end, without waiting; a frozen one continues.

        It is told once: a second signal would end it at once.
        """
        if self._told_to_stop is not self._process:
            self._told_to_stop = self._process
            self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Have it commit, leave the group and end; one that takes too long is killed."""
        if self._process is not None and self.running:
            self.ask_to_stop()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.kill()
            self._collect()

    def set_clock(self, shift_s: float) -> None:
        """Set its wall clock, and that of the processes after it, this far ahead of the machine's."""
        new = self._clock.with_suffix(".new")
        new.write_text(str(shift_s), encoding="ascii")
        new.replace(self._clock)

    def stops(self, since: int = 0) -> Iterator[Stop]:
        """The partitions that it has stopped, by its log from that place on."""
        with self.log.open("rb") if self.log.exists() else io.BytesIO() as log:
            log.seek(since)
            for line in log:
                if b'"partition stopped"' in line:
                    said = json.loads(line)
                    yield Stop(said["partition"], said["reason"])

    @property
    def log_size(self) -> int:
        """How much it has logged."""
        return self.log.stat().st_size if self.log.exists() else 0

    def freeze(self) -> None:
        """Stop it where it is."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def say_where_it_is(self) -> None:
        """Have it write the stacks of its threads into its log, for one that does not get on."""
        before = self.log_size
        self._signal(signal.SIGUSR1)
        comes_true(lambda: self.log_size > before, _STACKS_WITHIN_S)

    def last_lines(self) -> str:
        """The end of its log, for one that does not get on."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-_LAST_LINES:])

    def wakes_within(self, within_s: float) -> bool:
        """Wait until it has said something, or has ended: from then on it listens to signals."""
        return comes_true(lambda: not self.running or self.log.stat().st_size > self._log_begin, within_s)

    def ends_within(self, within_s: float) -> bool:
        """Wait until its process has ended, by its own hand or another's."""
        return comes_true(lambda: not self.running, within_s)

    def freezes_within(self, within_s: float) -> bool:
        """Wait until it has stopped itself."""
        return comes_true(lambda: self.frozen, within_s)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self.running:
            os.kill(self._process.pid, number)

    def _collect(self) -> bool:
        """Whether it has ended; how is written down once."""
        if self._process is None:
            return True
        code = self._process.poll()
        if code is None:
            return False
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process = None
        self.endings.append(Ending(self.name, code, self._last_words()))
        return True

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return lines[-1] if lines else ""


def _state(pid: int) -> str:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return ""
    return status.rpartition(")")[2].split()[0]
