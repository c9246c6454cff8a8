"""`run --embedded` and `run --demo`: a simulated audience, the worker, and a live dashboard.

The worker runs in the main thread as in `run` and reaches the broker over TCP; with --embedded the broker is in this
process. The audience and the dashboard are threads; one event, which signals set, stops all.
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

from consumer.demo.view import Screen, Totals, closing_line, dashboard, text_line
from consumer.kafka.admin.input_topic import ensure_input_topic
from consumer.kafka.embedded import EmbeddedBroker
from consumer.observe import catalogue
from consumer.observe.logs import set_up_logs
from consumer.runtime.signals import StopRequest
from consumer.settings.field_sources import FieldSettings
from consumer.settings.model import (
    EventNameSettings,
    HttpSettings,
    KafkaSettings,
    OutputSettings,
    Settings,
)
from consumer.simulate.noise import NoiseRules
from consumer.simulate.options import SimulateOptions
from consumer.simulate.programme import Cast
from consumer.simulate.run import WallClock, simulate
from consumer.worker.compiling import compile_kernels
from consumer.worker.service import Service

PREFIX = "demo-"
"""Prefix of topics and group on a real broker, so that simulated events never mix with real ones."""

REFRESH_S = 0.33
LINE_EVERY_S = 3.0
RATE_OVER_S = 5.0
JOIN_TIMEOUT_S = 10.0

AUDIENCE = SimulateOptions(
    cast=Cast(streams=300, viewers=12_000),
    noise=NoiseRules(leave_loss=0.005, disorder=0.05, max_delay_ms=2_000, max_skew_ms=250),
    history_ms=120_000,
    speed=1.0,
)
"""Starts two minutes ago and catches up, so that buckets close from the first second on."""

_log = structlog.get_logger(__name__)


def run_demo(
    settings: Settings,
    stop: StopRequest,
    console: Console,
    duration_s: float | None = None,
    *,
    embedded: bool = True,
) -> None:
    """Run all parts until `stop` is set or the time is up, then print the totals.

    Args:
        settings: the settings; cluster and framing of the input are replaced.
        stop: set by signals; set here when a part fails or the time is up.
        console: stderr; a dashboard if it is a terminal, else lines of text.
        duration_s: run time after the worker is ready; None is until stopped.
        embedded: use a broker in this process; else that of the settings, with separate topics and group.

    Raises:
        ViewerConsumerError: a part failed, for example a port is not available.
    """
    began_s, over = time.monotonic(), threading.Event()
    if not compile_kernels(console, lambda: not stop.is_set()):
        return
    with _logs_for_people(console), _broker(settings.kafka, embedded=embedded) as kafka:
        aimed = demo_settings(settings, kafka)
        service = Service(aimed)
        sources = _DisplaySources(
            service, "in-process broker" if embedded else kafka.bootstrap_servers, console, began_s, duration_s
        )
        audience = _Background("audience", partial(simulate, AUDIENCE, aimed, WallClock(stop)), stop)
        show = _Background("dashboard", partial(_show, sources, stop, over), stop)
        try:
            service.run(stop)
        finally:
            stop.set()
            audience.wait()
            over.set()
            show.wait()
        show.raise_failure()
        audience.raise_failure()
    _print(console, closing_line(read_totals(service.metrics.registry), time.monotonic() - began_s))


@contextmanager
def _broker(kafka: KafkaSettings, *, embedded: bool) -> Iterator[KafkaSettings]:
    """Provide a broker with the input topic; yield its settings."""
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
    """The settings changed for the demo's broker and the audience's events.

    The metrics port is unchanged, except that a free one is used if the default is taken.
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
    """The worker's counters, summed over labels."""
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
        """Add a reading of a counter; return the rate."""
        self._seen.append((at_s, events))
        while len(self._seen) > 2 and self._seen[1][0] <= at_s - self._over_s:
            self._seen.popleft()
        first_s, first = self._seen[0]
        return (events - first) / (at_s - first_s) if at_s > first_s else 0.0


class _Background:
    """A thread whose failure ends the demo and is raised once all has ended."""

    def __init__(self, name: str, work: Callable[[], object], stop: StopRequest) -> None:
        self._work = work
        self._stop = stop
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait for its end for a limited time."""
        self._thread.join(JOIN_TIMEOUT_S)

    def raise_failure(self) -> None:
        """Raise the error that ended it."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:  # noqa: BLE001  # kept for whoever waits
            self._error = error
            self._stop.set()


class _DisplaySources(NamedTuple):
    service: Service
    broker: str
    console: Console
    began_s: float
    duration_s: float | None


def _show(sources: _DisplaySources, stop: StopRequest, over: threading.Event) -> None:
    """Show the dashboard, or lines of text, until the end."""
    if sources.console.is_terminal:
        _draw(sources, stop, over)
    else:
        _print_lines(sources, stop)


def _draw(sources: _DisplaySources, stop: StopRequest, over: threading.Event) -> None:
    """Draw the dashboard; it stays until the end, so that log lines appear above it."""
    console = sources.console
    with Live(console=console, auto_refresh=False, transient=False, redirect_stdout=False) as live:
        for screen in _screens(sources, stop, REFRESH_S):
            live.update(dashboard(screen, console.width, console.height), refresh=True)
        over.wait()


def _print_lines(sources: _DisplaySources, stop: StopRequest) -> None:
    """Print the address, then a line at the first streams and at intervals."""
    seen, due_s = False, 0.0
    page = f"page {sources.service.page_url}, " if sources.service.page_url else ""
    _print(sources.console, f"{sources.broker}, simulated audience; {page}metrics {sources.service.address}/metrics")
    for screen in _screens(sources, stop, REFRESH_S):
        first = bool(screen.snapshot.streams) and not seen
        if first or screen.run_s >= due_s:
            _print(sources.console, text_line(screen))
            seen, due_s = seen or first, screen.run_s + LINE_EVERY_S


def _screens(sources: _DisplaySources, stop: StopRequest, every_s: float) -> Iterator[Screen]:
    """Yield screens at intervals until the end; stop the demo when its time is up.

    The time starts when the worker is ready, so that compiling at a first start does not count.
    """
    rate = Rate(RATE_OVER_S)
    ready_s: float | None = None
    while not stop.wait(every_s):
        now_s = time.monotonic()
        totals = read_totals(sources.service.metrics.registry)
        snapshot = sources.service.board.latest()
        yield Screen(
            snapshot=snapshot,
            totals=totals,
            events_per_s=rate.see(now_s, totals.events),
            run_s=now_s - sources.began_s,
            broker=sources.broker,
            metrics_url=f"{sources.service.address}/metrics",
            page_url=sources.service.page_url,
        )
        ready_s = now_s if ready_s is None and snapshot.health.ready else ready_s
        if sources.duration_s is not None and ready_s is not None and now_s - ready_s >= sources.duration_s:
            stop.set()


@contextmanager
def _logs_for_people(console: Console) -> Iterator[None]:
    """Log only warnings, as text; above the dashboard while it is drawn."""
    above = cast("TextIO", FileProxy(console, console.file)) if console.is_terminal else console.file
    set_up_logs("warning", cast("TextIO", above), os.environ, as_text=True)  # the same object for all users of logging
    try:
        yield
    finally:
        set_up_logs("info", sys.stderr, os.environ)


def _print(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _free_http(http: HttpSettings) -> HttpSettings:
    if "port" in http.model_fields_set or _is_free(http):
        return http
    _log.warning("the default port is taken; metrics use another", taken=http.port)
    return http.model_copy(update={"port": 0})


def _is_free(http: HttpSettings) -> bool:
    """Whether the address is free right now."""
    try:
        with socket.create_server((http.host, http.port)):
            return True
    except OSError:
        return False
