"""Show a worker that runs in this process: a live dashboard on a terminal, lines of text elsewhere."""

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple, TextIO, cast

from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.file_proxy import FileProxy
from rich.live import Live

from consumer.demo.view import Screen, Totals, closing_line, dashboard, text_line
from consumer.kafka.timeouts import Timeouts
from consumer.observe import catalogue
from consumer.observe.logs import set_up_logs
from consumer.runtime.signals import StopRequest
from consumer.settings.model import Settings
from consumer.worker.service import Service

REFRESH_S = 0.33
LINE_EVERY_S = 3.0
RATE_OVER_S = 5.0
JOIN_TIMEOUT_S = 10.0


def run_shown(settings: Settings, stop: StopRequest, console: Console, timeouts: Timeouts) -> None:
    """Run a worker as `run` does, and show it until `stop` is set; then print the totals.

    Args:
        settings: of the worker.
        stop: set by signals.
        console: stderr.
        timeouts: of calls to Kafka.

    Raises:
        ViewerConsumerError: as the worker does.
    """
    what = f"{settings.kafka.bootstrap_servers}, group {settings.kafka.group_id}"
    with logs_for_people(console):
        service = Service(settings, timeouts=timeouts)
        sources = DisplaySources(service, what, console, time.monotonic())
        with shown(sources, stop):
            service.run(stop)
    print_totals(sources)


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


class Background:
    """A thread whose failure sets `stop` and is raised once all has ended."""

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


class DisplaySources(NamedTuple):
    """What is shown, and where."""

    service: Service
    what: str
    """The brokers, and what comes from them."""
    console: Console
    began_s: float
    duration_s: float | None = None
    """End so long after the worker is ready."""


@contextmanager
def shown(sources: DisplaySources, stop: StopRequest) -> Iterator[None]:
    """Show the dashboard, or lines of text, until the end, at which `stop` is set.

    Raises:
        Exception: nothing else failed, and the display did.
    """
    over = threading.Event()
    show = Background("dashboard", partial(_show, sources, stop, over), stop)
    try:
        yield
    finally:
        stop.set()
        over.set()
        show.wait()
    show.raise_failure()


def print_totals(sources: DisplaySources) -> None:
    """Print the closing line."""
    totals = read_totals(sources.service.metrics.registry)
    _print(sources.console, closing_line(totals, time.monotonic() - sources.began_s))


def _show(sources: DisplaySources, stop: StopRequest, over: threading.Event) -> None:
    if sources.console.is_terminal:
        _draw(sources, stop, over)
    else:
        _print_lines(sources, stop)


def _draw(sources: DisplaySources, stop: StopRequest, over: threading.Event) -> None:
    """Draw the dashboard; it stays until the end, so that log lines appear above it."""
    console = sources.console
    with Live(console=console, auto_refresh=False, transient=False, redirect_stdout=False) as live:
        for screen in _screens(sources, stop, REFRESH_S):
            live.update(dashboard(screen, console.width, console.height), refresh=True)
        over.wait()


def _print_lines(sources: DisplaySources, stop: StopRequest) -> None:
    """Print the address, then a line at the first streams and at intervals."""
    seen, due_s = False, 0.0
    page = f"page {sources.service.page_url}, " if sources.service.page_url else ""
    _print(sources.console, f"{sources.what}; {page}metrics {sources.service.address}/metrics")
    for screen in _screens(sources, stop, REFRESH_S):
        first = bool(screen.snapshot.streams) and not seen
        if first or screen.run_s >= due_s:
            _print(sources.console, text_line(screen))
            seen, due_s = seen or first, screen.run_s + LINE_EVERY_S


def _screens(sources: DisplaySources, stop: StopRequest, every_s: float) -> Iterator[Screen]:
    """Yield screens at intervals until the end; set `stop` when the time is up.

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
            what=sources.what,
            metrics_url=f"{sources.service.address}/metrics",
            page_url=sources.service.page_url,
        )
        ready_s = now_s if ready_s is None and snapshot.health.ready else ready_s
        if sources.duration_s is not None and ready_s is not None and now_s - ready_s >= sources.duration_s:
            stop.set()


@contextmanager
def logs_for_people(console: Console) -> Iterator[None]:
    """Log only warnings, as text; above the dashboard while it is drawn."""
    above = cast("TextIO", FileProxy(console, console.file)) if console.is_terminal else console.file
    set_up_logs("warning", cast("TextIO", above), os.environ, as_text=True)  # the same object for all users of logging
    try:
        yield
    finally:
        set_up_logs("info", sys.stderr, os.environ)


def _print(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
