"""One measured process: pinned to a processor, reads a topic to its end, prints its figures as JSON."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Consumer

from consumer.kafka.config import consumer_config
from consumer.observe.logs import set_up_logs
from consumer.observe.metrics import WorkerMetrics
from consumer.service import Service
from consumer.settings import Settings, load_settings

SCHEMA = "schemas/viewer_event.avsc"


class Figures(NamedTuple):
    """Of the span from the first event to the last."""

    events: int
    wall_s: float
    cpu_s: float
    peak_mib: float


def settings_for(bootstrap_servers: str, topic: str, group: str, interval_ms: int = 100) -> Settings:
    """Settings of a measured process; output and dead letters have the topic's name in theirs."""
    return load_settings(
        None,
        [
            f"kafka.bootstrap_servers={bootstrap_servers}",
            f"kafka.group_id={group}",
            f"kafka.input_topic={topic}",
            f"kafka.output_topic={topic}-summaries",
            f"kafka.dead_letter_topic={topic}-dead",
            f"kafka.state_topic={group}-state",  # another group's would be refused
            f'input.ids={{1 = "{SCHEMA}"}}',
            f"commit.interval_ms={interval_ms}",
            "http.port=0",
        ],
        {},
    )


class _Span:
    """Time and processor time since the first event."""

    def __init__(self) -> None:
        self._began: tuple[float, float] | None = None

    def begin(self) -> None:
        if self._began is None:
            self._began = (time.perf_counter(), time.process_time())

    def end(self, events: int) -> Figures:
        assert self._began is not None
        wall_s, cpu_s = time.perf_counter() - self._began[0], time.process_time() - self._began[1]
        return Figures(events, wall_s, cpu_s, _peak_mib())


def _peak_mib() -> float:
    """Of this process alone: what getrusage tells begins with the peak of the one that started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def read_and_discard(settings: Settings, events: int) -> Figures:
    """The client library alone, set up as the worker's."""
    consumer = Consumer({**consumer_config(settings), "auto.offset.reset": "earliest"})
    consumer.subscribe([settings.kafka.input_topic])
    span, seen = _Span(), 0
    while seen < events:
        messages = consumer.consume(1000, 0.1)
        if messages:
            span.begin()
        seen += len(messages)
    figures = span.end(seen)
    consumer.close()
    return figures


class _StopAfter(threading.Event):
    """Set once so many events are counted; asked once a turn, so that measuring costs next to nothing."""

    def __init__(self, metrics: WorkerMetrics, events: int) -> None:
        super().__init__()
        self._children = metrics._events
        self._events = events
        self.span = _Span()
        self.figures: Figures | None = None

    def is_set(self) -> bool:
        seen = sum(int(child._value.get()) for child in self._children)
        if seen:
            self.span.begin()
        if seen >= self._events and self.figures is None:
            self.figures = self.span.end(seen)
        return self.figures is not None


def whole_path(settings: Settings, events: int) -> Figures:
    """The worker as it is deployed, until every event is counted."""
    service = Service(settings)
    stop = _StopAfter(service.metrics, events)
    service.run(stop)
    assert stop.figures is not None
    return stop.figures


MEASURED: dict[str, Callable[[Settings, int], Figures]] = {"read": read_and_discard, "worker": whole_path}


def main(kind: str, cpu: str, events: str, *settings: str) -> None:
    """Run one measurement and print its figures."""
    os.sched_setaffinity(0, {int(cpu)})
    set_up_logs("warning", sys.stderr, os.environ)
    bootstrap_servers, topic, group, interval_ms = settings
    aimed = settings_for(bootstrap_servers, topic, group, int(interval_ms))
    sys.stdout.write(json.dumps(MEASURED[kind](aimed, int(events))._asdict()) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
