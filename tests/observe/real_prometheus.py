"""Run a real Prometheus for these tests."""

import contextlib
import json
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.observe.tools import require_tool

DEADLINE_S = 30.0


class Prometheus:
    """A running Prometheus that scrapes one target every second."""

    def __init__(self, address: str) -> None:
        self._address = address

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Series of an instant query."""
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"http://{self._address}/api/v1/query?{query}", timeout=DEADLINE_S) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return result

    def wait_for(self, expression: str) -> list[dict[str, Any]]:
        """Series of a query, as soon as it has any."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            with contextlib.suppress(urllib.error.URLError):
                if found := self.query(expression):
                    return found
            time.sleep(0.1)
        pytest.fail(f"no series for {expression} within {DEADLINE_S} s; the target: {self._target()}")

    def _target(self) -> object:
        with urllib.request.urlopen(f"http://{self._address}/api/v1/targets", timeout=DEADLINE_S) as answer:
            return [(one["health"], one["lastError"]) for one in json.load(answer)["data"]["activeTargets"]]


@contextlib.contextmanager
def running_prometheus(home: Path, target: str, rules: Path | None = None) -> Iterator[Prometheus]:
    """Run one until the block ends; it evaluates the rules every second."""
    program = require_tool("prometheus", package="prometheus")
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)] if rules else [],
        "scrape_configs": [{"job_name": "worker", "static_configs": [{"targets": [target]}]}],
    }
    config_file = home / "prometheus.yml"
    config_file.write_text(json.dumps(config))
    log_file = home / "log"
    with log_file.open("w") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={config_file}",
                f"--storage.tsdb.path={home / 'data'}",
                "--web.listen-address=127.0.0.1:0",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Prometheus(_listening_address(process, log_file))
    finally:
        process.terminate()
        try:
            process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listening_address(process: "subprocess.Popen[bytes]", log_file: Path) -> str:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r'msg="Listening on" address=(\S+)', log_file.read_text()):
            return found[1]
        time.sleep(0.05)
    pytest.fail(f"Prometheus did not come up:\n{log_file.read_text()[-2000:]}")
