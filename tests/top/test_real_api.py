"""`top` reads the API that workers have."""

from consumer.top.workers import WorkerPoller
from tests.page.stage import Stage


def test_it_understands_a_workers_answers() -> None:
    stage = Stage([f"channel-{number}" for number in range(5)])
    try:
        stage.close_buckets(3)
        poller = WorkerPoller(stage.server.address, 1.0)
        figures = poller.ask()
    finally:
        stage.server.close()
    assert figures.problem == ""
    assert tuple(figures.streams) == stage.snapshot().streams
    assert figures.worker["lag_records"] == 42
    assert figures.worker["rates_per_s"]["events"] == 51_234.4
