"""SIGTERM at any moment: exit code 0 in bounded time, and one line that says what is left to others."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from consumer.worker.warm_up import warm_up
from tests.cli.command import command, environment
from tests.end_to_end.events import encoded
from tests.end_to_end.stage import Stage
from tests.reference.events_counting import Event, Rules
from tests.support.broker import KafkaBroker, NoBrokerError, free_ports, kafka_jars
from tests.support.waiting import until

RULES = Rules(window_duration_ms=5_000, bucket_ms=1_000, grace_ms=500, stream_idle_ms=3_000)
STOP_LIMIT_S = 25.0
"""Platforms kill after 30 s."""
START_TIMEOUT_S = 120.0


@pytest.fixture
def broker() -> Iterator[KafkaBroker]:
    """One of its own, that may be stopped and killed."""
    warm_up()
    with contextlib.ExitStack() as stack:
        try:
            yield stack.enter_context(KafkaBroker(kafka_jars()))
        except NoBrokerError as reason:
            if os.environ.get("CI", "").lower() in {"1", "true"}:
                pytest.fail(f"CI needs a real broker: {reason}")
            pytest.skip(f"no real broker: {reason}")


@contextlib.contextmanager
def events(kafka: Stage) -> Iterator[None]:
    """Events that keep coming while a broker takes them; nobody waits for them."""
    producer, end = Producer({"bootstrap.servers": kafka.kafka.bootstrap_servers, "log_level": 0}), threading.Event()

    def write() -> None:
        time_ms = 0
        while not end.wait(0.02):
            time_ms += 100
            for number in range(20):
                with contextlib.suppress(BufferError):
                    value = encoded(Event(f"stream {number}", "J", time_ms, number))
                    producer.produce(kafka.kafka.input_topic, value, f"stream {number}".encode())
            producer.poll(0)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
        producer.purge()
        producer.flush(1)


class Worker:
    """`viewer-consumer run` in a process of its own."""

    def __init__(self, arguments: list[str], log: Path, **extra: str) -> None:
        self._log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(command("run", *arguments), stderr=stderr, env=environment(**extra))

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def holds_signals(self) -> bool:
        """Whether SIGTERM waits, or is handled."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        masks = [int(mask, 16) for mask in re.findall(r"Sig(?:Blk|Cgt):\s+(\w+)", status)]
        return any(mask >> (signal.SIGTERM - 1) & 1 for mask in masks)

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged."""
        return [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]

    def stop(self, within_s: float = STOP_LIMIT_S) -> dict[str, Any]:
        """Tell it to stop; return the line that says so."""
        began_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(within_s + 30)
        took_s = time.monotonic() - began_s
        text = self._log.read_text()
        print(f"ended in {took_s:.1f} s with {code}")  # noqa: T201  # on demand
        assert code == 0, text
        assert took_s < within_s, text
        assert "Traceback" not in text
        (stopped,) = [line for line in self.lines() if line["event"] == "stopped"]
        return stopped


@contextlib.contextmanager
def at_work(broker: KafkaBroker, tmp_path: Path) -> Iterator[Worker]:
    """A worker that commits."""
    kafka = Stage(broker.bootstrap_servers, 2, RULES)
    with events(kafka), Worker(kafka.flags(), tmp_path / "log") as worker:
        until(
            lambda: worker.process.poll() is not None or sum(kafka.committed_so_far().values()) > 1000,
            "it commits",
            120,
        )
        kafka.leave()
        yield worker


@pytest.mark.slow
@pytest.mark.parametrize("away_s", [0.0, 4.0, 12.0])
@pytest.mark.parametrize("leave", [KafkaBroker.freeze, KafkaBroker.kill], ids=["frozen", "killed"])
def test_a_worker_stops_in_time_whatever_its_broker_does(
    broker: KafkaBroker, tmp_path: Path, leave: Callable[[KafkaBroker], None], away_s: float
) -> None:
    with at_work(broker, tmp_path) as worker:
        leave(broker)
        time.sleep(away_s)  # at these moments it is in different calls
        assert worker.stop()["left"]


def test_a_worker_whose_broker_answers_leaves_nothing(broker: KafkaBroker, tmp_path: Path) -> None:
    with at_work(broker, tmp_path) as worker:
        assert "left" not in worker.stop()


@pytest.mark.slow
def test_a_worker_that_restores_stops_while_its_broker_is_frozen(broker: KafkaBroker, tmp_path: Path) -> None:
    kafka = Stage(broker.bootstrap_servers, 2, RULES)
    kafka.leave()
    with Worker(kafka.flags(), tmp_path / "log") as worker:
        until(lambda: any(line["event"] == "partitions assigned" for line in worker.lines()), "it restores", 120)
        broker.freeze()
        worker.stop()


def test_a_worker_is_stopped_while_it_starts_without_a_broker(broker: KafkaBroker, tmp_path: Path) -> None:
    broker.freeze()
    flags = ["--set", f"kafka.bootstrap_servers={broker.bootstrap_servers}", "--set", "http.port=0"]
    with Worker(flags, tmp_path / "log") as worker:
        until(lambda: any(line["event"] == "metrics" for line in worker.lines()), "it answers", START_TIMEOUT_S)
        assert worker.stop(5.0)["while_doing"] == "checking the topics"


def test_a_worker_is_stopped_in_its_first_instant(tmp_path: Path) -> None:
    """Before its handlers are installed, and before the client library is loaded."""
    flags = ["--set", "kafka.bootstrap_servers=localhost:1", "--set", "http.port=0"]
    with Worker(flags, tmp_path / "log") as worker:
        until(worker.holds_signals, "its signals wait", START_TIMEOUT_S)
        assert worker.stop()["while_doing"]


def test_a_worker_that_compiles_is_alive_says_how_far_it_is_and_can_be_stopped(
    bootstrap_servers: str, tmp_path: Path
) -> None:
    kafka, (port,) = Stage(bootstrap_servers, 1, RULES), free_ports(1)
    flags = [*kafka.flags(), "--set", f"http.port={port}"]
    with Worker(flags, tmp_path / "log", NUMBA_CACHE_DIR=str(tmp_path / "cache")) as worker:
        until(lambda: "compiling" in get(port, "/startupz")[1], "it compiles", START_TIMEOUT_S)
        status, text = get(port, "/startupz")
        assert status == 503
        assert re.fullmatch(r"compiling \d+ of [1-9]\d, once for this machine\n", text)
        assert get(port, "/healthz") == (200, "ok\n")
        status, text = get(port, "/readyz")
        assert status == 503
        assert "reason: compiling" in text
        assert worker.stop()["while_doing"].startswith("compiling ")
    kafka.close()


def get(port: int, path: str) -> tuple[int, str]:
    """Status and body; 0 while nobody listens."""
    connection = http.client.HTTPConnection("localhost", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except ConnectionError:
        return 0, ""
    finally:
        connection.close()
