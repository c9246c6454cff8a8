"""A real Prometheus scrapes the server and answers queries: the only judge of what a scrape may contain."""

import time
from pathlib import Path

import numpy as np

from consumer.observe.labels import label_of
from consumer.observe.routes import Routes
from consumer.observe.server import StatusServer
from consumer.observe.snapshot import SnapshotBoard
from consumer.windows.events import BITRATE, BUFFER, JOIN, LEAVE, count_facts
from tests.observe.real_prometheus import running_prometheus
from tests.observe.samples import partition, snapshot, stream, worker_metrics

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
