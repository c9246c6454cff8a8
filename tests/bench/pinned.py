"""One measured process. It writes a line of JSON to stdout at each milestone; a signal ends it as it ends a worker."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.kafka.brokers import ReaderWatch
from consumer.kafka.c_producer import CProducer
from consumer.kafka.clients import LastClientError
from consumer.kafka.config import live_config, producer_config
from consumer.kafka.readers import make_reader
from consumer.observe.logs import set_up_logs
from consumer.observe.metrics import WorkerMetrics
from consumer.output.dead_letter import Cause, rejected_records
from consumer.runtime.joined import joined
from consumer.runtime.record_columns import header_columns
from consumer.runtime.signals import StopRequest, stop_on_signals
from consumer.settings.model import Settings, load_settings
from consumer.worker.processing import BATCH
from consumer.worker.service import Service

SCHEMA = "schemas/viewer_event.avsc"
ANY_CPU = -1

DEAD_LETTERS_MADE = 1_000
DEAD_LETTERS_PER_TRANSACTION = 50_000


def write_mark(name: str, **stats: object) -> None:
    """Write a milestone: the clocks now, and further values."""
    mark = {
        "mark": name,
        "wall_s": time.perf_counter(),
        "cpu_s": time.process_time(),
        "main_cpu_s": time.thread_time(),
        "peak_mib": _peak_mib(),
    }
    sys.stdout.write(json.dumps(mark | stats) + "\n")
    sys.stdout.flush()


def _peak_mib() -> float:
    """Return the peak memory of this process alone: getrusage starts with the peak of the parent."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def read_and_discard(settings: Settings, events: int) -> None:
    """Run the client library alone, configured as the worker's, without what only a worker needs."""
    config = {**live_config(settings), "auto.offset.reset": "earliest", "enable.partition.eof": False}
    consumer = Consumer(config)
    consumer.assign([TopicPartition(settings.kafka.input_topic, number, 0) for number in _partitions(settings)])
    seen = 0
    while seen < events:
        number = len(consumer.consume(1000, 0.1))
        if number and not seen:
            write_mark("first")
        seen += number
    write_mark("counted", events=seen)
    consumer.close()


def read_into_columns(settings: Settings, events: int) -> None:
    """Run the worker's reader alone."""
    topic = settings.kafka.input_topic
    reader = make_reader(live_config(settings), ReaderWatch(topic, time.monotonic))
    for number in range(len(_partitions(settings))):
        reader.begin((topic, number), 0)
    seen = 0
    while seen < events:
        read = len(reader.poll(BATCH, 0.1))
        if read and not seen:
            write_mark("first")
        seen += read
    write_mark("counted", events=seen)
    reader.close()


def _partitions(settings: Settings) -> Mapping[int, object]:
    topic = settings.kafka.input_topic
    return (
        AdminClient({"bootstrap.servers": settings.kafka.bootstrap_servers})
        .list_topics(topic, 15)
        .topics[topic]
        .partitions
    )


def pass_through(settings: Settings, every: int) -> None:
    """Forward a part of the records as they come, in a transaction every 100 ms, with the client library alone."""
    topic = settings.kafka.input_topic
    consumer = Consumer({**live_config(settings), "enable.partition.eof": False})
    consumer.assign([TopicPartition(topic, number, 0) for number in _partitions(settings)])
    producer = Producer(producer_config(settings, "bench"))
    producer.init_transactions(60)
    write_mark("restored")
    positions: dict[int, int] = {}
    due_s = time.monotonic()
    with stop_on_signals() as stop:
        while not stop.is_set():
            for message in consumer.consume(1000, 0.02):
                offset, number = message.offset() or 0, message.partition() or 0
                if not positions:
                    producer.begin_transaction()
                positions[number] = offset + 1
                if offset % every == 0:
                    place = json.dumps({"partition": number, "offset": offset})
                    producer.produce(settings.kafka.output_topic, place, message.key())
            if positions and time.monotonic() >= due_s:
                due_s = time.monotonic() + settings.commit.interval_ms / 1000
                offsets = [TopicPartition(topic, number, offset) for number, offset in positions.items()]
                producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 60)
                producer.commit_transaction(60)
                positions.clear()
    consumer.close()
    write_mark("stopped")


def write_dead_letters(settings: Settings, dead_letters: int) -> None:
    """Write prepared dead letters in transactions with the client library's C functions alone."""
    producer = CProducer(producer_config(settings, "bench"), LastClientError(), lambda _error, _message: None)
    producer.init_transactions(60)
    cause = Cause(settings.kafka.input_topic, 0, settings.kafka.group_id, "truncated", "it ends", "id 1").headers()
    rejected = rejected_records(
        offsets=np.arange(10**6, 10**6 + DEAD_LETTERS_MADE),
        timestamps_ms=np.full(DEAD_LETTERS_MADE, 1_700_000_000_000),
        keys=joined([b"channel/stream-%07d" % number for number in range(DEAD_LETTERS_MADE)]),
        values=joined([b"\0\0\0\0\1\xff\xff"] * DEAD_LETTERS_MADE),
        headers=header_columns([()] * DEAD_LETTERS_MADE),
        causes=[cause],
        kinds=np.zeros(DEAD_LETTERS_MADE, np.int64),
    )
    write_mark("first")
    for _ in range(dead_letters // DEAD_LETTERS_PER_TRANSACTION):
        producer.begin_transaction()
        for _ in range(DEAD_LETTERS_PER_TRANSACTION // DEAD_LETTERS_MADE):
            producer.pending(settings.kafka.dead_letter_topic, rejected.columns).put(DEAD_LETTERS_MADE)
            producer.poll(0)
        producer.commit_transaction(60)
    write_mark("counted", events=dead_letters)


class _Milestones(StopRequest):
    """Stop condition that the loop checks once a turn; it looks for the next milestone, which costs next to nothing."""

    def __init__(self, stop: StopRequest, metrics: WorkerMetrics, events: int) -> None:
        super().__init__()
        self._stop = stop
        self._metrics = metrics
        self._to_come: Iterator[tuple[str, Callable[[], bool]]] = iter(
            (
                ("assigned", lambda: metrics._rebalances["assigned"]._value.get() > 0),
                ("restored", lambda: metrics._restore_duration._sum.get() > 0),
                ("first", lambda: self._counted() > 0),
                ("counted", lambda: self._counted() >= events),
                ("never", lambda: False),
            )
        )
        self._next = next(self._to_come)

    def is_set(self) -> bool:
        while self._next[1]():
            write_mark(
                self._next[0],
                events=self._counted(),
                restore_s=self._metrics._restore_duration._sum.get(),
                rows=int(self._metrics._restored_rows._value.get()),
                replayed=int(self._metrics._replayed_records._value.get()),
            )
            self._next = next(self._to_come)
        return self._stop.is_set()

    def left_s(self) -> float:
        return self._stop.left_s()

    def _counted(self) -> int:
        return sum(int(child._value.get()) for child in self._metrics._events)


def whole_path(settings: Settings, events: int) -> None:
    """Run the worker as it is deployed, until a signal stops it."""
    with stop_on_signals() as stop:
        service = Service(settings)
        write_mark("made", address=service.address)
        service.run(_Milestones(stop, service.metrics, events))
        write_mark("stopped")


MEASURED: dict[str, Callable[[Settings, int], None]] = {
    "read": read_and_discard,
    "columns": read_into_columns,
    "pass_through": pass_through,
    "dead_letters": write_dead_letters,
    "worker": whole_path,
}


def main(kind: str, cpu: str, events: str, *flags: str) -> None:
    """Run one measured process; `flags` are settings."""
    if int(cpu) != ANY_CPU:
        os.sched_setaffinity(0, {int(cpu)})
    set_up_logs("warning", sys.stderr, os.environ)
    MEASURED[kind](load_settings(None, list(flags), {}), int(events))


if __name__ == "__main__":
    main(*sys.argv[1:])
