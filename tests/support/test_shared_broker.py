"""The broker of a test run starts once, and is stopped behind its last user."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.broker import NoBrokerError
from tests.support.shared_broker import keep, shared_broker
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
USER = """
import sys, time
from pathlib import Path
from tests.support.shared_broker import shared_broker
with shared_broker(Path(sys.argv[1])) as servers:
    print(servers, flush=True)
    time.sleep(600)
"""


class Broker:
    """Counts how often it was started and stopped; keepers are threads here."""

    def __init__(self) -> None:
        self.started = self.stopped = 0
        self._threads: list[threading.Thread] = []

    def start_keeper(self, directory: Path) -> None:
        self._threads.append(threading.Thread(target=keep, args=(directory, self._run)))
        self._threads[-1].start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60.0)

    @contextlib.contextmanager
    def _run(self) -> Iterator[str]:
        self.started += 1
        yield f"broker:{self.started}"
        self.stopped += 1


@pytest.fixture
def broker() -> Iterator[Broker]:
    made = Broker()
    yield made
    made.join()


def test_all_users_have_the_same_one_and_the_last_to_leave_ends_it(broker: Broker, tmp_path: Path) -> None:
    #  one  ├───────────┤
    #  two      ├───────────┤
    #  three                      ├──┤   another broker
    one, two = (shared_broker(tmp_path, broker.start_keeper) for _ in range(2))
    assert (one.__enter__(), two.__enter__()) == ("broker:1", "broker:1")
    one.__exit__(None, None, None)
    assert (broker.started, broker.stopped) == (1, 0)
    two.__exit__(None, None, None)
    broker.join()
    assert (broker.started, broker.stopped) == (1, 1)
    with shared_broker(tmp_path, broker.start_keeper) as servers:
        assert servers == "broker:2"


def test_where_there_is_none_all_users_are_told_why(tmp_path: Path) -> None:
    def none() -> contextlib.AbstractContextManager[str]:
        raise NoBrokerError("no java")

    def start(directory: Path) -> None:
        threading.Thread(target=keep, args=(directory, none)).start()

    for _ in range(2):
        with pytest.raises(NoBrokerError, match="no java"), shared_broker(tmp_path, start):
            pass


def test_one_that_does_not_start_is_an_error_with_its_reason(tmp_path: Path) -> None:
    def broken() -> contextlib.AbstractContextManager[str]:
        raise RuntimeError("the end of its log")

    def start(directory: Path) -> None:
        threading.Thread(target=keep, args=(directory, broken)).start()

    with pytest.raises(RuntimeError, match="the end of its log"), shared_broker(tmp_path, start):
        pass


def test_test_processes_that_are_killed_leave_no_keeper(bootstrap_servers: str, tmp_path: Path) -> None:
    environment = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers}
    users = [
        subprocess.Popen(
            [sys.executable, "-c", USER, str(tmp_path)], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for user in users:
        assert user.stdout is not None
        assert user.stdout.readline() == f"{bootstrap_servers}\n"
        user.stdout.close()
    users[0].send_signal(signal.SIGKILL)
    users[0].wait()
    with shared_broker(tmp_path) as servers:
        assert servers == bootstrap_servers
    users[1].send_signal(signal.SIGKILL)
    users[1].wait()
    until(lambda: not (tmp_path / "broker.json").exists(), "the keeper ends")
