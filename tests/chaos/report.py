"""What a run says: a line for each fault as it happens, and what the judge found at the end."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.judge import Verdict
from tests.chaos.workers import Ending

EXAMPLES = 30


class Report:
    """Lines on stdout, and in a file where one is wanted; from several threads.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._began_s = time.monotonic()
        self._lock = threading.Lock()

    def say(self, line: str) -> None:
        """One line, with the time since the run began."""
        line = f"{time.monotonic() - self._began_s:7.1f} s  {line}\n"
        with self._lock:
            sys.stdout.write(line)
            sys.stdout.flush()
            if self._path is not None:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(line)

    def endings(self, endings: Sequence[Ending]) -> None:
        """How the workers' processes ended; those that ended by themselves with what they said last."""
        counts = Counter(ending.how for ending in endings)
        self.say("processes ended: " + ", ".join(f"{how} {number}" for how, number in sorted(counts.items())))
        for ending in endings:
            if ending.how in {"gave up", "broke"}:
                self.say(f"{ending.worker} {ending.how}: {ending.words}")

    def verdict(self, verdict: Verdict) -> None:
        """The judge's findings, the counts last."""
        for example in verdict.examples[:EXAMPLES]:
            self.say(example)
        self.say(str(verdict))
