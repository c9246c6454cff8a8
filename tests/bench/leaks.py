"""Read and write the same records again and again: memory must not grow behind the first time."""

import contextlib
import multiprocessing
import os
import sys
from argparse import Namespace
from pathlib import Path

from confluent_kafka import KafkaException, Producer, TopicPartition

from consumer.intake.framing import SCHEMA_HEADER
from consumer.kafka.brokers import ReaderWatch
from consumer.kafka.c_producer import CProducer
from consumer.kafka.clients import LastClientError
from consumer.kafka.column_reader import ColumnReader
from consumer.kafka.config import live_config, producer_config
from consumer.runtime.record_columns import RecordColumns, record_columns
from consumer.settings.model import KafkaSettings, Settings
from consumer.worker.processing import BATCH
from tests.bench.report import Goal, report_value, say
from tests.support.topics import create_topic, delete_topics, unique

PASSES = 4
TRANSACTION = 5_000
NOBODY = b"CGMDv2:" + (1).to_bytes(4, sys.byteorder) + b"group\0member\0\1"
"""Metadata of a member that no group has."""
BY_ROW = 5
"""Keys and headers of each such record are taken as Python objects, as those of rejects are."""

HEADERS: list[tuple[str, str | bytes | None]] = [
    ("trace", b"x" * 30),
    ("none", None),
    ("__value_schema_id", b"\1" * 17),
]


def measure_leaks(bootstrap_servers: str, options: Namespace) -> None:
    """Read, then write `--events` records several times in this process; compare its memory behind each time."""
    topic = unique("leaks")
    create_topic(bootstrap_servers, topic, options.partitions)
    # Memory that a producer has freed here would hide a leak.
    filler = multiprocessing.get_context("spawn").Process(target=_fill, args=(bootstrap_servers, topic, options))
    filler.start()
    filler.join()
    if filler.exitcode != 0:
        raise SystemExit("the records could not be written")
    settings = Settings(kafka=KafkaSettings(bootstrap_servers=bootstrap_servers, input_topic=topic))
    reader = ColumnReader(live_config(settings), ReaderWatch(topic, float))
    places = [(topic, partition) for partition in range(options.partitions)]
    resident_mib = []
    for number in range(PASSES):
        rows = _read_all(reader, places, options.events)
        resident_mib.append(_resident_mib())
        say(f"pass {number + 1}: {options.events:,} records, {rows:,} by row, resident {resident_mib[-1]:.1f} MiB")
    reader.close()
    delete_topics(bootstrap_servers, [topic])
    _report("reading", resident_mib, options.events)
    _measure_writing(bootstrap_servers, options)


def _measure_writing(bootstrap_servers: str, options: Namespace) -> None:
    topic = unique("leaks")
    create_topic(bootstrap_servers, topic, options.partitions)
    settings = Settings(kafka=KafkaSettings(bootstrap_servers=bootstrap_servers))
    config = {**producer_config(settings, topic), "queue.buffering.max.messages": TRANSACTION // 2, "log_level": 2}
    producer = CProducer(config, LastClientError(), lambda _error, _message: None)
    producer.init_transactions(60)
    columns = record_columns([(b"key %d" % i, b"value", HEADERS[: i % 4]) for i in range(TRANSACTION)])
    resident_mib = []
    for number in range(PASSES):
        _write_all(producer, topic, columns, options.events)
        resident_mib.append(_resident_mib())
        say(f"pass {number + 1}: {options.events:,} records written, resident {resident_mib[-1]:.1f} MiB")
    delete_topics(bootstrap_servers, [topic])
    _report("writing", resident_mib, options.events)


def _write_all(producer: CProducer, topic: str, columns: RecordColumns, count: int) -> None:
    """Write in transactions; every third has offsets of a member that is unknown, and is aborted."""
    for number in range(count // TRANSACTION):
        producer.begin_transaction()
        pending = producer.pending(topic, columns)
        while pending.left:
            with contextlib.suppress(BufferError):
                pending.put(TRANSACTION)
            producer.poll(0.001)
        if number % 3:
            producer.commit_transaction(-1)
            continue
        with contextlib.suppress(KafkaException):
            producer.send_offsets_to_transaction([TopicPartition(topic, 0, 1)], NOBODY, 30)
        producer.abort_transaction(-1)


def _report(doing: str, resident_mib: list[float], events: int) -> None:
    grown = (resident_mib[-1] - resident_mib[0]) * 2**20 / (events * (PASSES - 1))
    report_value(f"{doing} again: growth of memory in bytes per record", [grown], "", Goal("<", 1))


def _fill(bootstrap_servers: str, topic: str, options: Namespace) -> None:
    client = {"bootstrap.servers": bootstrap_servers, "linger.ms": 20, "compression.type": "lz4"}
    producer = Producer({**client, "queue.buffering.max.messages": 10_000_000})
    for number in range(options.events):
        key = None if number % 3 == 0 else b"key %d" % number
        value = None if number % 11 == 0 else b"value %d" % number
        headers = HEADERS[: number % 4] if number % 2 else None
        producer.produce(topic, value, key, number % options.partitions, headers=headers)
        if number % 10_000 == 0:
            producer.poll(0)
    if producer.flush(60):
        raise SystemExit("not all records were written")


def _read_all(reader: ColumnReader, places: list[tuple[str, int]], count: int) -> int:
    """Read all records; return of how many keys and headers were taken by row."""
    for place in places:
        reader.begin(place, 0)
    read = by_row = 0
    while read < count:
        batch = reader.poll(BATCH, 0.1)
        read += len(batch)
        rows = range(0, len(batch), BY_ROW)
        batch.header(SCHEMA_HEADER)
        batch.values.some(rows)
        batch.originals.keys(rows)
        batch.originals.headers(rows)
        by_row += len(rows)
    return by_row


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
