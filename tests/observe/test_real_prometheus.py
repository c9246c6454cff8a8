"""A real Prometheus scrapes the server and answers queries: the only judge of what a scrape may contain."""

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

import numpy as np
import pytest

from consumer.observe.labels import label_of
from consumer.observe.routes import Routes
from consumer.observe.server import StatusServer
from consumer.observe.snapshot import SnapshotBoard
from consumer.windows.events import BITRATE, BUFFER, JOIN, LEAVE, count_facts
from tests.observe.samples import partition, snapshot, stream, worker_metrics
from tests.observe.tools import require_tool

DEADLINE_S = 30.0
IDS = [
    "live/1",
    'quoted "id"',
    "back\\slash",
    "new\nline",
    "ünïcødé 直播 🎬",
    "nul\0nul",
    "half \ud83c",
    "x" * 5000,
    "\x01\x7f",
]


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
def running_prometheus(home: Path, target: str) -> Iterator[Prometheus]:
    program = require_tool("prometheus", package="prometheus")
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
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


def test_a_real_prometheus_scrapes_every_stream_whatever_its_id(tmp_path: Path) -> None:
    board = SnapshotBoard(time.monotonic())
    board.publish(
        snapshot(
            *(stream(one, number + 1) for number, one in enumerate(IDS)),
            partitions=(partition(0, next_offset=5, end_offset=9),),
        )
    )
    metrics = worker_metrics(board)
    metrics.count_events(count_facts(np.array([JOIN, LEAVE, LEAVE, *[BITRATE] * 3, *[BUFFER] * 4], np.uint8)))
    server = StatusServer("127.0.0.1", 0, Routes(metrics.registry, board, time.monotonic), time.monotonic)
    server.start()
    try:
        with running_prometheus(tmp_path, f"127.0.0.1:{server.port}") as prometheus:
            found = prometheus.wait_for("viewer_stream_concurrent_viewers")
            shown = {one["metric"]["stream_id"]: float(one["value"][1]) for one in found}
            assert shown == {label_of(one): number + 1 for number, one in enumerate(IDS)}
            assert [one["value"][1] for one in prometheus.query("viewer_consumer_lag_records")] == ["4"]
            assert [one["value"][1] for one in prometheus.query("sum(viewer_consumer_events_total)")] == ["10"]
            assert [one["value"][1] for one in prometheus.query('up{job="worker"}')] == ["1"]
    finally:
        server.close()
