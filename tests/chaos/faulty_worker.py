"""A worker as it is deployed, in a process that may have to kill or stop itself at a named point.

`python -m tests.chaos.faulty_worker --clock FILE --point after_commit:3 --set kafka.group_id=g …`; it ends with whoever
holds its stdin. SIGUSR1 makes it say where its threads are. Its wall clock is ahead of the machine's by the seconds in
the file.
"""

import argparse
import faulthandler
import os
import signal
import sys
import threading
import time
from pathlib import Path

from consumer.errors import ViewerConsumerError
from consumer.observe.logs import set_up_logs
from consumer.runtime.clocks import Clocks
from consumer.runtime.signals import stop_on_signals
from consumer.settings.model import load_settings
from consumer.worker import backpressure, restoring
from consumer.worker.service import Service
from tests.chaos.points import Order, arm, order
from tests.support.reader import use_chosen_reader

PIECE = 3
"""Buckets that close at once: nearly every jump of time is cut."""

PENDING_BYTES = 2_000
"""Pending output at which reading stops."""

GAVE_UP = 3
"""Exit code where the worker said itself why it can't go on; a traceback has 1."""


def main() -> int:
    """Run until told to stop, or until the point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--point", type=order, default=None)
    parser.add_argument("--clock", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    point: Order | None = options.point
    faulthandler.register(signal.SIGUSR1)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    set_up_logs("info", sys.stderr, {"NO_COLOR": "1"})
    use_chosen_reader()
    if point is not None:
        arm(point)
    restoring.CLOSED_AT_ONCE = PIECE
    backpressure.HIGH_BYTES, backpressure.LOW_BYTES = PENDING_BYTES, PENDING_BYTES // 4
    settings = load_settings(None, options.set)
    with stop_on_signals() as stop:
        try:
            Service(settings, Clocks(wall_s=lambda: time.time() + shift_s(options.clock))).run(stop)
        except ViewerConsumerError as error:
            sys.stderr.write(f"error: {error}\n")
            return GAVE_UP
    return 0


def shift_s(file: Path) -> float:
    """By how much the wall clock is ahead; 0 without a file."""
    try:
        return float(file.read_text(encoding="ascii"))
    except FileNotFoundError:
        return 0.0


def _end_with_the_parent() -> None:
    # Not by the buffered stream: an interpreter that ends while another thread is in it aborts.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
