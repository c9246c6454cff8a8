"""A broker that is killed and comes back, or says nothing for a while, is a few lines in the worker's log."""

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.stage import Stage, stage
from tests.end_to_end.test_process import START_TIMEOUT_S, _events, start
from tests.reference.events_counting import Rules
from tests.support.broker import KafkaBroker, NoBrokerError, kafka_jars
from tests.support.waiting import until

pytestmark = pytest.mark.slow

RULES = Rules(window_duration_ms=5_000, bucket_ms=1_000, grace_ms=500, stream_idle_ms=3_000)
PARTITIONS = 2
WITHIN_S = 120.0
ATTEMPTS = 3
"""Lines that the client library wrote in that time, at the least; `tests/observe` has the line of each minute."""

MOST_LINES = 12
"""Of an outage, from all of the worker's clients."""


@pytest.fixture
def broker() -> Iterator[KafkaBroker]:
    """One that a test may kill."""
    try:
        with KafkaBroker(kafka_jars()) as broker:
            yield broker
    except NoBrokerError as reason:
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail(f"CI needs a real broker: {reason}")
        pytest.skip(f"no real broker: {reason}")


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]


def of_the_client(log: Path) -> list[dict[str, Any]]:
    return [line for line in lines(log) if line["logger"].startswith("librdkafka")]


def seen(log: Path, event: str) -> list[dict[str, Any]]:
    return [line for line in lines(log) if line["event"] == event]


def commit_some(kafka: Stage, time_ms: int) -> None:
    kafka.write(_events(time_ms))
    kafka.wait_until_all_is_committed(WITHIN_S)


def test_a_broker_that_is_killed_and_back_is_a_line_when_it_goes_and_one_when_it_is_back(
    broker: KafkaBroker, tmp_path: Path
) -> None:
    log = tmp_path / "worker.log"
    with stage(broker.bootstrap_servers, PARTITIONS, RULES) as kafka:
        worker = start(kafka, log)
        try:
            until(lambda: bool(seen(log, "partition restored")), "it works", START_TIMEOUT_S)
            commit_some(kafka, 1_000)
            broker.kill()
            until(lambda: bool(seen(log, "broker away")), "its end is logged", WITHIN_S)
            broker.start_again()  # it takes seconds, in which clients try to connect
            until(lambda: bool(seen(log, "broker back")), "its return is logged", WITHIN_S)
            commit_some(kafka, 9_000)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(WITHIN_S) == 0
        finally:
            worker.kill()
            worker.wait()
    found = of_the_client(log)
    (away,), (back,) = seen(log, "broker away"), seen(log, "broker back")
    assert away["level"] == "warning"
    assert back["level"] == "info"
    assert {line["broker"] for line in (away, back)} == {broker.bootstrap_servers}
    assert away["reason"]
    assert back["away_s"] > 0
    assert back["lines_left_out"] > ATTEMPTS
    assert len(found) <= MOST_LINES, Counter(line["event"][:60] for line in found)
