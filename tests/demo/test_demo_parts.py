import contextlib
import socket
from collections.abc import Iterator

import numpy as np
import pytest

from consumer.demo.display import Rate, read_totals
from consumer.demo.run import PREFIX, demo_settings
from consumer.demo.view import Totals
from consumer.observe.metrics import WorkerMetrics
from consumer.settings.model import HttpSettings, InputSettings, KafkaSettings, Settings
from consumer.windows.events import FactCounts

ELSEWHERE = KafkaSettings(bootstrap_servers="127.0.0.1:1")


@pytest.fixture
def default_port_taken() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # if another process listens there, that is as good
            stack.enter_context(socket.create_server(("0.0.0.0", HttpSettings().port)))  # noqa: S104  # as the default
        yield


def test_rates_cover_the_last_seconds_only() -> None:
    rate = Rate(over_s=5.0)
    assert rate.see(0.0, 0) == 0.0
    assert rate.see(1.0, 10_000) == 10_000.0
    for second in range(2, 20):
        last = rate.see(float(second), 10_000 + 100 * second)
    assert last == 100.0


def test_totals_are_the_workers_own_counters() -> None:
    metrics = WorkerMetrics(
        {"version": "1", "librdkafka": "2"}, ["bad_framing", "oversized"], ["WATERMARK", "STREAM_IDLE"]
    )
    assert read_totals(metrics.registry) == Totals()
    metrics.count_events(FactCounts(np.array([10, 20, 30, 40, 0, 0]), np.array([0, 0])))
    metrics.count_summaries("WATERMARK", 5)
    metrics.count_summaries("STREAM_IDLE", 2)
    metrics.count_late("stream_time", 3, 100)
    metrics.count_rejects("oversized", 4)
    assert read_totals(metrics.registry) == Totals(events=100, summaries=7, late=3, rejects=4)


def test_the_demo_reads_the_format_that_its_audience_writes_whatever_is_configured() -> None:
    settings = Settings.model_validate(
        {
            "input": {
                "format": "raw",
                "schemas": ["theirs.avsc"],
                "fields": {"stream_id": "content.id"},
                "events": {"join": "PlaybackStarted"},
                "max_future_ms": 5,
            },
            "windows": {"bucket_ms": 5_000},
            "http": {"port": 0},
        }
    )
    demo = demo_settings(settings, ELSEWHERE)
    assert demo.input == InputSettings(max_future_ms=5)
    assert demo.windows == settings.windows
    assert demo.kafka == ELSEWHERE
    assert demo.http.port == 0


@pytest.mark.usefixtures("default_port_taken")
def test_a_default_port_that_is_in_use_is_replaced_by_a_free_one() -> None:
    assert demo_settings(Settings(), ELSEWHERE).http.port == 0


@pytest.mark.usefixtures("default_port_taken")
def test_a_configured_port_is_kept() -> None:
    port = HttpSettings().port
    assert demo_settings(Settings.model_validate({"http": {"port": port}}), ELSEWHERE).http.port == port


def test_simulated_viewers_never_reach_the_real_topics() -> None:
    assert PREFIX
