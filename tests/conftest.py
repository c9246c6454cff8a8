"""Fixtures for all tests."""

import contextlib
import gc
import logging
import os
import signal
from collections.abc import Iterator

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


@pytest.fixture(autouse=True)
def restored_garbage_collection() -> Iterator[None]:
    """A worker that runs in this process sets the collector for itself, and then hardly anything is ever collected.

    Clients of the library that are garbage would pile up, each with several threads.
    """
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()
    gc.enable()


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
