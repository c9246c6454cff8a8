"""Fixtures of the page's tests."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.observe.tools import require_tool
from tests.page.browser import DESKTOP, Browser
from tests.page.stage import Stage


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests of a process."""
    programs = require_tool("chromium", "chromium"), require_tool("chromedriver", "chromium-driver")
    log: Path = tmp_path_factory.mktemp("chromedriver") / "log"
    browser = Browser(*programs, str(log))
    try:
        yield browser
    finally:
        browser.close()


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    """The browser with a desktop's window."""
    chromium.resize(DESKTOP)
    return chromium


@pytest.fixture
def serve() -> Iterator[Callable[..., Stage]]:
    """Start a worker's server with these streams."""
    with ExitStack() as stack:

        def started(*streams: str, **more: Any) -> Stage:
            stage = Stage(streams, **more)
            stack.callback(stage.close)
            return stage

        yield started
