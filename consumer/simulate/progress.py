"""The progress of a simulation, on stderr, for people at a terminal."""

from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from consumer.simulate.feed import End, Sent
from consumer.windows.events import EVENT_TYPES


def watch(slices: Iterable[Sent], start_ms: int, end: End, console: Console | None) -> Sent:
    """Run a feed to its end, with a progress bar if the console is a terminal; return what it has sent."""
    last = Sent(0, (0,) * len(EVENT_TYPES), start_ms)
    columns = (TextColumn("simulating"), BarColumn(), TextColumn("{task.fields[said]}"), TimeElapsedColumn())
    hidden = console is None or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task("", total=1.0 if end != End() else None, said="")
        for last in slices:  # the last one is the result
            progress.update(task, completed=_share(last, start_ms, end), said=f"{last.events:,} events")
    return last


def _share(sent: Sent, start_ms: int, end: End) -> float:
    """Return the share that is done, from 0 to 1, by the limit that ends the run first."""
    by_time = 0.0 if end.at_ms is None else (sent.to_ms - start_ms) / (end.at_ms - start_ms)
    by_events = 0.0 if end.events is None else sent.events / end.events
    return max(by_time, by_events)
