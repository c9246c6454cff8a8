"""One real broker for all processes of a test run.

The first process that needs it starts a keeper, a process that belongs to none of them and starts the broker. Each test
process holds a shared lock on a file for as long as it uses the broker. The keeper waits for the exclusive lock: the
kernel grants it once the last test process has ended, however it ended, and the keeper stops the broker.
"""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.support.broker import DOWNLOAD_TIMEOUT_S, QUICK_START, START_TIMEOUT_S, NoBrokerError, real_broker
from tests.support.waiting import until


def start_keeper(directory: Path) -> None:
    """Start one for the broker of this directory; `broker.log` has what it says."""
    with (directory / "broker.log").open("ab") as log:
        subprocess.run(
            [sys.executable, "-m", __name__, str(directory)],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=True,
        )


@contextlib.contextmanager
def shared_broker(directory: Path, start: Callable[[Path], None] = start_keeper) -> Iterator[str]:
    """Yield the bootstrap servers of the broker that belongs to this directory; it runs at least until the end.

    Raises:
        NoBrokerError: there can be none here.
        RuntimeError: it did not start.
    """
    answer = _answer(directory)
    with _locked(directory / "broker.users", fcntl.LOCK_SH):
        with _locked(directory / "broker.starting", fcntl.LOCK_EX):
            if not answer.exists():
                start(directory)
                until(answer.exists, "the broker's keeper answers", DOWNLOAD_TIMEOUT_S + START_TIMEOUT_S)
        found = json.loads(answer.read_text())
        if reason := found.get("missing"):
            raise NoBrokerError(reason)
        if reason := found.get("failure"):
            raise RuntimeError(reason)
        yield found["servers"]


def keep(directory: Path, broker: Callable[[], contextlib.AbstractContextManager[str]]) -> None:
    """Start a broker, say where it is, and stop it once nobody uses it: what the keeper does."""
    answer = _answer(directory)
    with contextlib.ExitStack() as stack:
        try:
            found = {"servers": stack.enter_context(broker())}
        except NoBrokerError as reason:
            found = {"missing": str(reason)}
        except Exception:  # noqa: BLE001  # whatever it is: those who wait are told
            found = {"failure": traceback.format_exc()}
        unfinished = answer.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(found))
        unfinished.rename(answer)
        stack.enter_context(_locked(directory / "broker.users", fcntl.LOCK_EX))
        answer.unlink()  # who comes now waits for the lock, and has another one started


def _answer(directory: Path) -> Path:
    return directory / "broker.json"


@contextlib.contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, how)
        yield


def _main() -> None:
    if os.fork():
        return  # who started it waits no longer, and is not its parent
    os.setsid()  # Ctrl-C is for the tests; the keeper ends behind them
    keep(Path(sys.argv[1]), partial(real_broker, java=QUICK_START))


if __name__ == "__main__":
    _main()
