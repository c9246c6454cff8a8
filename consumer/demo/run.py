"""`run --embedded` and `run --demo`: a simulated audience, the worker at it, and a picture of it all.

The worker runs in the main thread exactly as `run` has it and reaches the broker over TCP; embedded, the broker is in
this process. The audience is one thread, the picture another; one event ends them all, which signals set.
"""

import os
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple, TextIO, cast

import structlog
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.file_proxy import FileProxy
from rich.live import Live

from consumer.demo.view import Screen, Totals, closing_line, log_fields, picture
from consumer.kafka.admin.input_topic import ensure_input_topic
from consumer.kafka.embedded import EmbeddedBroker
from consumer.observe import catalogue
from consumer.observe.logs import set_up_logs
from consumer.settings.model import (
    EventNameSettings,
    FieldSettings,
    HttpSettings,
    KafkaSettings,
    OutputSettings,
    Settings,
)
from consumer.simulate.noise import NoiseRules
from consumer.simulate.options import SimulateOptions
from consumer.simulate.programme import Cast
from consumer.simulate.run import WallClock, simulate
from consumer.worker.service import Service

PREFIX = "demo-"
"""Of topics and group on a broker that is not the demo's own: no simulated viewer may get among real ones."""

REFRESH_S = 0.33
LOG_EVERY_S = 3.0
RATE_OVER_S = 5.0
JOIN_WITHIN_S = 10.0

AUDIENCE = SimulateOptions(
    cast=Cast(streams=300, viewers=12_000),
    noise=NoiseRules(leave_loss=0.005, disorder=0.05, max_delay_ms=2_000, max_skew_ms=250),
    history_ms=120_000,
    speed=1.0,
)
"""Begins two minutes ago and catches up at once, so that buckets close from the first second on."""

_log = structlog.get_logger(__name__)


def run_demo(
    settings: Settings,
    stop: threading.Event,
    console: Console,
    duration_s: float | None = None,
    *,
    embedded: bool = True,
) -> None:
    """Run all of it until `stop` is set or the time is up, then say what was done.

    Args:
        settings: those in force; what concerns the cluster and the framing of the input is the demo's own.
        stop: set by signals; set here when a part fails or the time is up.
        console: stderr; a picture is drawn there where it is a terminal, else there are log lines.
        duration_s: how long after the worker is ready; None is until stopped.
        embedded: with a broker in this process; else on that of the settings, in topics and a group of the demo's own.

    Raises:
        ViewerConsumerError: a part failed, as a port that is not available.
    """
    began_s, over = time.monotonic(), threading.Event()
    with _terminal_for_the_picture(console), _broker(settings.kafka, embedded=embedded) as kafka:
        aimed = demo_settings(settings, kafka)
        service = Service(aimed)
        stage = _Stage(
            service, "in-process broker" if embedded else kafka.bootstrap_servers, console, began_s, duration_s
        )
        audience = _Background("audience", partial(simulate, AUDIENCE, aimed, WallClock(stop)), stop)
        show = _Background("picture", partial(_show, stage, stop, over), stop)
        try:
            service.run(stop)
        finally:
            stop.set()
            audience.wait()
            over.set()
            show.wait()
        show.raise_failure()
        audience.raise_failure()
    totals = read_totals(service.metrics.registry)
    _close(console, totals, time.monotonic() - began_s)


@contextmanager
def _broker(kafka: KafkaSettings, *, embedded: bool) -> Iterator[KafkaSettings]:
    """The settings of a broker that has the input topic."""
    if embedded:
        topics = (kafka.input_topic, kafka.output_topic, kafka.dead_letter_topic, kafka.state_topic)
        with EmbeddedBroker(topics) as broker:
            yield kafka.model_copy(update={"bootstrap_servers": broker.bootstrap_servers, "client": {}})
        return
    names = ("group_id", "input_topic", "output_topic", "state_topic", "dead_letter_topic")
    own = kafka.model_copy(update={name: PREFIX + getattr(kafka, name) for name in names})
    ensure_input_topic(own)
    yield own


def demo_settings(settings: Settings, kafka: KafkaSettings) -> Settings:
    """The settings in force, turned to the demo's broker and to events as the audience writes them.

    The port of the metrics stays as it was set; the default gives way to any free one where it is taken.
    """
    return settings.model_copy(
        update={
            "kafka": kafka,
            "input": settings.input.model_copy(
                update={
                    "format": "confluent",
                    "schema_registry_url": "",
                    "schemas": (),
                    "ids": {},
                    "fields": FieldSettings(),
                    "events": EventNameSettings(),
                }
            ),
            "output": OutputSettings(),
            "http": _free_http(settings.http),
        }
    )


def read_totals(registry: CollectorRegistry) -> Totals:
    """The worker's own counters, added up over their labels."""
    counters = (catalogue.EVENTS, catalogue.SUMMARIES, catalogue.LATE_EVENTS, catalogue.REJECTS)
    names = [spec.name for spec in counters]
    sums = dict.fromkeys(names, 0.0)
    for family in registry.restricted_registry(names).collect():
        for sample in family.samples:
            sums[sample.name] += sample.value
    return Totals(*(int(sums[name]) for name in names))


class Rate:
    """Events a second over the last few seconds."""

    def __init__(self, over_s: float) -> None:
        self._over_s = over_s
        self._seen: deque[tuple[float, int]] = deque()

    def see(self, at_s: float, events: int) -> float:
        """Take one more reading of a count that only grows, and tell the rate."""
        self._seen.append((at_s, events))
        while len(self._seen) > 2 and self._seen[1][0] <= at_s - self._over_s:
            self._seen.popleft()
        first_s, first = self._seen[0]
        return (events - first) / (at_s - first_s) if at_s > first_s else 0.0


class _Background:
    """A thread whose failure ends the demo and is raised once all has ended."""

    def __init__(self, name: str, work: Callable[[], object], stop: threading.Event) -> None:
        self._work = work
        self._stop = stop
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait for its end, but not for ever: the process ends without it."""
        self._thread.join(JOIN_WITHIN_S)

    def raise_failure(self) -> None:
        """Raise what ended it before its time."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:  # noqa: BLE001  # kept for whoever waits
            self._error = error
            self._stop.set()


class _Stage(NamedTuple):
    service: Service
    broker: str
    console: Console
    began_s: float
    duration_s: float | None


def _show(stage: _Stage, stop: threading.Event, over: threading.Event) -> None:
    """The picture, or log lines, until the end."""
    if stage.console.is_terminal:
        _draw(stage, stop, over)
    else:
        _log_lines(stage, stop)


def _draw(stage: _Stage, stop: threading.Event, over: threading.Event) -> None:
    """The picture; its last state stands until all is over, so that what is logged meanwhile goes above it."""
    console = stage.console
    with Live(console=console, auto_refresh=False, transient=False, redirect_stdout=False) as live:
        for screen in _screens(stage, stop, REFRESH_S):
            live.update(picture(screen, console.width, console.height), refresh=True)
        over.wait()


def _log_lines(stage: _Stage, stop: threading.Event) -> None:
    """A line as soon as there is something to see, then one every so often."""
    seen, due_s = False, LOG_EVERY_S
    for screen in _screens(stage, stop, REFRESH_S):
        first = bool(screen.snapshot.streams) and not seen
        if first or screen.run_s >= due_s:
            _log.info("demo", **log_fields(screen))
            seen, due_s = seen or first, screen.run_s + LOG_EVERY_S


def _screens(stage: _Stage, stop: threading.Event, every_s: float) -> Iterator[Screen]:
    """What is to be seen, every so often until the end; ends the demo itself when its time is up.

    That time runs from when the worker is ready: what a first start compiles is not taken from it.
    """
    rate = Rate(RATE_OVER_S)
    ready_s: float | None = None
    while not stop.wait(every_s):
        now_s = time.monotonic()
        totals = read_totals(stage.service.metrics.registry)
        snapshot = stage.service.board.latest()
        yield Screen(
            snapshot=snapshot,
            totals=totals,
            events_per_s=rate.see(now_s, totals.events),
            run_s=now_s - stage.began_s,
            broker=stage.broker,
            metrics_url=f"{stage.service.address}/metrics",
        )
        ready_s = now_s if ready_s is None and snapshot.health.ready else ready_s
        if stage.duration_s is not None and ready_s is not None and now_s - ready_s >= stage.duration_s:
            stop.set()


@contextmanager
def _terminal_for_the_picture(console: Console) -> Iterator[None]:
    """While a picture is drawn, only warnings are logged, and above it."""
    if not console.is_terminal:
        yield
        return
    above = cast("TextIO", FileProxy(console, console.file))  # it is one in all that logging uses
    set_up_logs("warning", above, os.environ)
    try:
        yield
    finally:
        set_up_logs("info", sys.stderr, os.environ)


def _close(console: Console, totals: Totals, run_s: float) -> None:
    if console.is_terminal:
        console.print(closing_line(totals, run_s), highlight=False)
    else:
        _log.info(closing_line(totals, run_s), run_s=round(run_s, 1), **totals._asdict())


def _free_http(http: HttpSettings) -> HttpSettings:
    if "port" in http.model_fields_set or _is_free(http):
        return http
    _log.warning("the default port is taken, so metrics are on another", taken=http.port)
    return http.model_copy(update={"port": 0})


def _is_free(http: HttpSettings) -> bool:
    """Whether the address can be had right now."""
    try:
        with socket.create_server((http.host, http.port)):
            return True
    except OSError:
        return False
