"""A real Prometheus scrapes a worker's metrics, evaluates the rules, and answers every query of the dashboards."""

import dataclasses
import time
from pathlib import Path

import numpy as np

from consumer.observe.metrics import LATE_REASONS, REBALANCE_KINDS, WorkerMetrics
from consumer.observe.routes import Routes
from consumer.observe.server import StatusServer
from consumer.observe.snapshot import OutputStatus, SnapshotBoard
from consumer.windows.events import BITRATE, BUFFER, JOIN, LEAVE, count_facts
from tests.deploy.files import RULES, dashboard_expressions
from tests.observe.real_prometheus import running_prometheus
from tests.observe.samples import CLOSE_REASONS, REJECT_REASONS, partition, snapshot, stream, worker_metrics

SNAPSHOT = snapshot(
    stream("stalls", 500, window_peak_concurrent_viewers=600, window_stall_ms=3_000_000, window_buffer_events=40),
    stream("plays", 200, window_bitrate_samples=9, window_bitrate_avg_bps=4e6, window_bitrate_max_bps=5_000_000),
    partitions=(partition(0, next_offset=5, end_offset=9, held_records=2, viewers=700),),
)
WITH_OUTPUT = dataclasses.replace(SNAPSHOT, output=OutputStatus(last_commit_s=1.0))


def count_everything(metrics: WorkerMetrics) -> None:
    metrics.count_events(count_facts(np.array([JOIN, LEAVE, BITRATE, BUFFER], np.uint8)))
    metrics.count_late(LATE_REASONS[0], 1, 2_000)
    metrics.count_rejects(REJECT_REASONS[0], 1)
    metrics.count_summaries(CLOSE_REASONS[0], 1)
    metrics.count_rebalance(REBALANCE_KINDS[0])
    metrics.observe_restore(1.0, 10, 10)
    metrics.observe_commit(0.01, np.array([0.2]))
    metrics.count_abort("_FENCED")
    metrics.count_retry("_TIMED_OUT")
    metrics.observe_poll_gap(0.1)


def test_a_real_prometheus_answers_every_query_of_the_dashboards(tmp_path: Path) -> None:
    board = SnapshotBoard(time.monotonic())
    board.publish(WITH_OUTPUT)
    metrics = worker_metrics(board)
    count_everything(metrics)
    server = StatusServer("127.0.0.1", 0, Routes(metrics.registry, board, time.monotonic), time.monotonic)
    server.start()
    try:
        with running_prometheus(tmp_path, f"127.0.0.1:{server.port}", RULES) as prometheus:
            prometheus.wait_for("viewer_consumer_transaction_retries_total > 0")
            # A rate needs a change between two scrapes.
            count_everything(metrics)
            (share,) = prometheus.wait_for('job_stream:viewer_stream_window_stall_seconds:ratio{stream_id="stalls"}')
            assert float(share["value"][1]) == 0.1
            for query in dashboard_expressions():
                # Alerts that fire need minutes.
                assert "ALERTS" in query or prometheus.wait_for(query)
    finally:
        server.close()
