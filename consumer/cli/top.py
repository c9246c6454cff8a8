"""`viewer-consumer top`: workers and their streams as a live table."""

# ruff: noqa: PLC0415  # what the command needs is imported inside it, so that `--help` answers at once

import sys
from typing import Annotated

import typer

from consumer.cli.options import INTERRUPTED

DEFAULT_URL = "http://localhost:9464"

Urls = Annotated[
    list[str] | None,
    typer.Option("--url", metavar="URL", help="A worker's address; may be repeated.", show_default=DEFAULT_URL),
]
Every = Annotated[str, typer.Option("--every", metavar="SPAN", help="How often to ask each worker.")]


def top(urls: Urls = None, every: Every = "1s") -> None:
    """Show workers and their busiest streams as a live table; without a terminal print it once."""
    from rich.console import Console

    from consumer.runtime.durations import parse_span_ms
    from consumer.runtime.signals import stop_on_signals
    from consumer.top.keys import single_keys
    from consumer.top.run import show_workers
    from consumer.top.workers import WorkerPoller

    pollers = [WorkerPoller(url, parse_span_ms("--every", every) / 1000) for url in urls or [DEFAULT_URL]]
    with stop_on_signals() as stop, single_keys(sys.stdin.fileno()) as keys:
        answered = show_workers(pollers, Console(), keys, stop.is_set)
    if stop.is_set():
        raise typer.Exit(INTERRUPTED)
    if not answered:
        raise typer.Exit(1)
