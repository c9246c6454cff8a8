"""Fixtures for all tests."""

import contextlib
import gc
import logging
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog

from consumer.observe.client_lines import LOGGER_NAME
from consumer.worker.warm_up import warm_up
from tests.support.broker import NoBrokerError
from tests.support.order import slow_first
from tests.support.reader import use_chosen_reader
from tests.support.shared_broker import shared_broker

hypothesis.settings.register_profile("untimed", deadline=None)  # the first example may have to load compiled code
hypothesis.settings.load_profile("untimed")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Start slow tests first, so that no process is left alone with one at the end; the order is random else."""
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    items[:] = slow_first(items, [item.get_closest_marker("slow") is not None for item in items], processes)


@pytest.fixture(scope="session", autouse=True)
def chosen_reader() -> None:
    """By default the one that is deployed."""
    use_chosen_reader()


@pytest.fixture(scope="session", autouse=True)
def restore_sigint() -> None:
    """A shell that starts the tests in the background makes them, and every process they start, ignore Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """The logging that a command configures in this process would write to a stream that the next test closes."""
    root, client = logging.getLogger(), logging.getLogger(LOGGER_NAME)
    handlers, level, filters = root.handlers, root.level, list(client.filters)
    yield
    root.handlers = handlers
    root.setLevel(level)
    client.filters = filters
    structlog.reset_defaults()


THREADS = Path("/proc/self/task")
MANY_THREADS = 40
"""Of about ten clients of the library."""

LONGEST_COLLECTION_S = 60.0
"""It takes up to two seconds."""


class LeftClients:
    """Collects garbage once many threads have come since the last time.

    A worker or a command that ran in this process leaves clients of the library as garbage, for nearly for ever: full
    collections are rare. Their threads ask the broker for metadata all the time.
    """

    def __init__(self) -> None:
        self._least = 0
        """Of the threads, since the last time."""

    def collect(self) -> None:
        """Collect if there are many."""
        count = _threads()
        self._least = min(self._least, count)
        if count > self._least + MANY_THREADS:
            # Freeing a client waits for its threads: once it did not return for minutes.
            collection = threading.Thread(target=gc.collect, daemon=True, name="collection")
            collection.start()
            collection.join(LONGEST_COLLECTION_S)
            self._least = _threads()  # those of freed clients are about to end


def _threads() -> int:
    return sum(1 for _ in THREADS.iterdir()) if THREADS.is_dir() else 0


@pytest.fixture(scope="session")
def left_clients() -> LeftClients:
    return LeftClients()


@pytest.fixture(autouse=True)
def restored_garbage_collection(left_clients: LeftClients) -> Iterator[None]:
    """A worker that runs in this process sets the collector for itself, and then hardly anything is ever collected."""
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()
    gc.enable()
    left_clients.collect()


@pytest.fixture(scope="session")
def bootstrap_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Kafka, one for all test processes. Without one, tests that need it are skipped, but in CI they fail."""
    directory = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        directory = directory.parent  # each process has a directory of its own in it
    warm_up()  # on a new machine the first worker compiles for longer than tests wait for events
    with contextlib.ExitStack() as stack:
        try:
            servers = stack.enter_context(shared_broker(directory))
        except NoBrokerError as reason:
            if os.environ.get("CI", "").lower() in {"1", "true"}:
                pytest.fail(f"CI needs a real broker: {reason}")
            pytest.skip(f"no real broker: {reason}")
        yield servers
