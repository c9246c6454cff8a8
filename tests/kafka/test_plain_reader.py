"""Without compilation, and with checked indexes, the reader of the C library gives the same records."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from consumer.kafka.brokers import ReaderWatch
from consumer.kafka.column_reader import ColumnReader
from consumer.kafka.config import live_config
from consumer.kafka.embedded import EmbeddedBroker
from consumer.settings.model import KafkaSettings, Settings
from tests.support.raw_records import write_with_header
from tests.support.topics import produce
from tests.support.waiting import until

TOPIC = "t"
RECORDS = 8


def read_all(bootstrap_servers: str) -> list[str]:
    """What the reader says of the records of the test below, with an end and an error."""
    kafka = KafkaSettings(bootstrap_servers=bootstrap_servers, input_topic=TOPIC)
    reader = ColumnReader(live_config(Settings(kafka=kafka)), ReaderWatch(TOPIC, float))
    reader.begin((TOPIC, 0), 0)
    found: list[str] = []

    def all_are_read() -> bool:
        batch = reader.poll(3, 0.1)
        named = batch.header("name").some(range(len(batch)))
        found.extend(map(repr, zip(batch.records(0, len(batch)), named, strict=True)))
        return reader.last_seen_end((TOPIC, 0)) == RECORDS

    until(all_are_read, "all are read, to the end")
    reader.close()
    return found


def main() -> None:
    """Print what is read, for the test below to compare."""
    for line in read_all(sys.argv[1]):
        print(line)  # noqa: T201  # the test below reads it


@pytest.mark.timeout(120)
@pytest.mark.parametrize("mode", ["NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK"])
def test_every_mode_reads_the_same(mode: str, tmp_path: Path) -> None:
    with EmbeddedBroker([TOPIC]) as broker:
        servers = broker.bootstrap_servers
        for name, content in ((b"name", b"content"), (b"", b""), (b"n" * 300, b"c" * 5_000), (b"na\xffme", b"x")):
            write_with_header(servers, TOPIC, b"v" * len(content), name, content)
        produce(servers, TOPIC, [(0, b"key", b"value"), (0, None, None), (0, b"", b""), (0, None, b"v" * 70_000)])
        run = subprocess.run(
            [sys.executable, "-W", "error", "-c", "from tests.kafka.test_plain_reader import main; main()", servers],
            env={**os.environ, mode: "1", "NUMBA_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        expected = read_all(servers)
    assert run.returncode == 0, run.stderr
    assert len(expected) == RECORDS
    assert run.stdout.splitlines() == expected
