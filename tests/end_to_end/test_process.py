"""`viewer-consumer run` as a process: SIGTERM loses nothing, and an error at start is one line."""

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.kafka.timeouts import TIMEOUTS
from tests.cli.command import command, environment, run, run_here
from tests.end_to_end.events import assert_same, encoded, judged, summary_of
from tests.end_to_end.stage import Record, Stage, stage
from tests.reference.events_counting import Event, Rules
from tests.support.topics import create_topic, delete_topics
from tests.support.topics import unique as unique_name
from tests.support.waiting import until

RULES = Rules(window_duration_ms=5_000, bucket_ms=1_000, grace_ms=500, stream_idle_ms=3_000)
PARTITIONS = 2
START_TIMEOUT_S = 90.0
"""The first start may have to compile kernels."""
END_TIMEOUT_S = 10.0
JOIN_TIMEOUT_S = 25.0
"""Less than the session timeout: a member that has left is not waited for."""


class Flow:
    """Events that keep coming, from a thread."""

    def __init__(self, kafka: Stage) -> None:
        self._kafka = kafka
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Flow":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        time_ms = 0
        while not self._stop.wait(0.02):
            time_ms += 100
            self._kafka.write(_events(time_ms))


def _events(time_ms: int) -> Iterator[Record]:
    for number in range(60):
        stream_id = f"stream {number}"
        kind = "JBLS"[(time_ms // 100 + number) % 4]
        yield Record(stream_id.encode(), encoded(Event(stream_id, kind, time_ms - number % 7 * 300, number)))


def start(kafka: Stage, log: Path, *flags: str) -> subprocess.Popen[bytes]:
    with log.open("wb") as stderr:
        return subprocess.Popen(command("run", *kafka.flags(), *flags), stderr=stderr, env=environment())


def test_on_sigterm_it_commits_leaves_the_group_and_ends(bootstrap_servers: str, tmp_path: Path) -> None:
    with stage(bootstrap_servers, PARTITIONS, RULES) as kafka:
        with Flow(kafka):
            stopped = start(kafka, tmp_path / "first.log")
            try:
                until(
                    lambda: stopped.poll() is not None or sum(kafka.committed_so_far().values()) > 5_000,
                    "events are committed",
                    START_TIMEOUT_S,
                )
                began_s = time.monotonic()
                stopped.send_signal(signal.SIGTERM)
                assert stopped.wait(END_TIMEOUT_S) == 0, (tmp_path / "first.log").read_text()
                took_s = time.monotonic() - began_s
            finally:
                stopped.kill()
                stopped.wait()
        committed = kafka.committed()
        expected = assert_summaries(kafka, committed)
        print(f"ended in {took_s:.2f} s after {committed}, {expected} summaries")  # noqa: T201  # on demand

        began_s = time.monotonic()
        again = start(kafka, tmp_path / "second.log")
        try:
            kafka.wait_until_all_is_committed(within_s=JOIN_TIMEOUT_S)
            print(f"the next had all in {time.monotonic() - began_s:.2f} s")  # noqa: T201  # on demand
            again.send_signal(signal.SIGINT)
            assert again.wait(END_TIMEOUT_S) == 0
        finally:
            again.kill()
            again.wait()
        assert assert_summaries(kafka, kafka.committed()) > expected


def assert_summaries(kafka: Stage, committed: dict[int, int]) -> int:
    """Compare with the judge's result for all committed records, whichever worker read them; return their number."""
    expected = []
    for partition, records in kafka.records().items():
        closed = judged(records[: committed[partition]], kafka.rules).closed
        expected += [summary_of(each, kafka.rules, kafka.kafka.input_topic, partition) for each in closed]
    number = assert_same(kafka.summaries(), expected)
    assert number > 100
    return number


def fails(*arguments: str, code: int) -> str:
    """Return the one error line; the command must end within a bounded time."""
    began_s = time.monotonic()
    ran = run("run", "--log-level", "error", "--set", "http.host=127.0.0.1", "--set", "http.port=0", *arguments)
    assert ran.code == code, ran.err
    assert time.monotonic() - began_s < 30
    assert ran.err.count("\n") == 1, ran.err
    assert ran.err.startswith("error: ")
    return ran.err.strip()


def test_a_missing_input_topic_is_a_one_line_error(bootstrap_servers: str) -> None:
    line = fails(
        "--set", f"kafka.bootstrap_servers={bootstrap_servers}", "--set", "kafka.input_topic=no-such-topic", code=1
    )
    assert 'input topic "no-such-topic" does not exist' in line


def test_an_address_without_kafka_is_a_one_line_error(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("run", "--log-level", "error", "--set", "http.port=0", "--set", "kafka.bootstrap_servers=localhost:1")
    ran = run_here(capsys, *words, timeouts=TIMEOUTS._replace(cluster_s=0.5))
    assert ran.code == 1
    (line,) = ran.error_lines
    assert line.startswith("error: ")
    assert "localhost:1" in line
    assert "check kafka.bootstrap_servers" in line


def test_an_invalid_setting_is_a_one_line_error() -> None:
    assert "windows.bucket_ms" in fails("--set", "windows.bucket_ms=0", code=2)


def test_a_port_in_use_is_a_one_line_error(bootstrap_servers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = fails("--set", f"kafka.bootstrap_servers={bootstrap_servers}", "--set", f"http.port={port}", code=1)
    assert str(port) in line


@pytest.mark.parametrize("content", [None, "{", '{"type": "record", "name": "E", "fields": []}'])
def test_an_unusable_schema_file_is_a_one_line_error(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "event.avsc"
    if content is not None:
        path.write_text(content)
    assert str(path) in fails("--set", f"input.ids.7={path}", code=2)


def test_a_state_topic_with_another_partition_count_is_a_one_line_error(bootstrap_servers: str) -> None:
    with stage(bootstrap_servers, PARTITIONS, RULES) as kafka:
        name = unique_name("other")
        create_topic(bootstrap_servers, name, PARTITIONS + 1, {"cleanup.policy": "compact"})
        try:
            line = fails(*kafka.flags(), "--set", f"kafka.state_topic={name}", code=1)
        finally:
            delete_topics(bootstrap_servers, [name])
    assert f'state topic "{name}" has {PARTITIONS + 1} partitions' in line
