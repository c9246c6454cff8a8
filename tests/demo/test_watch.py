"""`run --watch`: a worker on a real broker that shows what it does."""

import re
import signal
import time
from collections.abc import Iterator

import pytest

from tests.demo.process import END_TIMEOUT_S, RUN, demo_on_a_pipe, demo_on_a_terminal
from tests.end_to_end.events import encoded
from tests.end_to_end.stage import Record, Stage, stage
from tests.reference.events_counting import Event, Rules

RULES = Rules(window_duration_ms=5_000, bucket_ms=1_000, grace_ms=0)


@pytest.fixture
def watched(bootstrap_servers: str) -> Iterator[Stage]:
    begin_ms = time.time_ns() // 1_000_000_000 * 1_000 - 10_000
    with stage(bootstrap_servers, 1, RULES) as kafka:
        kafka.write(Record(b"k", encoded(Event("final", "J", begin_ms + each))) for each in range(0, 3_000, 500))
        yield kafka


def test_on_a_terminal_it_draws_streams_and_ends_cleanly(watched: Stage) -> None:
    with demo_on_a_terminal(120, 40, "--watch", *watched.flags(), command=RUN) as worker:
        worker.wait("the stream is drawn", lambda: re.search(r"final +6 ", worker.text()))
        assert f"{watched.kafka.bootstrap_servers}, group {watched.kafka.group_id}" in worker.text()
        assert "simulated" not in worker.text()
        assert worker.end(signal.SIGTERM) < END_TIMEOUT_S
        assert "6 events read in" in worker.text().splitlines()[-1]


def test_on_a_pipe_it_prints_lines_and_no_json(watched: Stage) -> None:
    with demo_on_a_pipe("--watch", *watched.flags(), command=RUN) as worker:
        worker.wait("the stream is named", lambda: "6 viewers of 1 streams (final 6)" in worker.text())
        assert worker.end(signal.SIGINT) < END_TIMEOUT_S
        assert "{" not in worker.text()
