"""The dashboard of a worker: pure functions from totals and snapshots to rich objects or a line of text."""

from dataclasses import dataclass
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from consumer.observe.snapshot import Snapshot
from consumer.runtime.text import escaped
from consumer.top.stream_table import stream_table

MOST_ROWS = 20
_LINES_AROUND = 8
"""Lines of the dashboard that are not streams."""


class Totals(NamedTuple):
    """What the worker has done since it started."""

    events: int = 0
    summaries: int = 0
    late: int = 0
    rejects: int = 0


@dataclass(frozen=True)
class Screen:
    """The contents of the dashboard."""

    snapshot: Snapshot
    totals: Totals
    events_per_s: float
    run_s: float
    what: str
    """The brokers, and what comes from them."""
    metrics_url: str
    page_url: str = ""
    """Empty where `http.page` is off."""


def dashboard(screen: Screen, width: int, height: int) -> RenderableType:
    """Totals and the busiest streams, for a terminal of this size."""
    return Group(_heading(screen), _totals(screen), Text(), _streams(screen, width, height), Text(), _footer(screen))


def text_line(screen: Screen) -> str:
    """The same totals in one line, where nothing can be drawn."""
    snapshot, totals = screen.snapshot, screen.totals
    behind = lag(snapshot)
    busiest = ", ".join(f"{escaped(one.stream_id)} {one.concurrent_viewers:,}" for one in snapshot.streams[:3])
    viewers, streams = (sum(getattr(one, name) for one in snapshot.partitions) for name in ("viewers", "streams"))
    return (
        f"{_time(screen.run_s)}  {viewers:,} viewers of {streams:,} streams ({busiest or _waiting_reason(screen)})  "
        f"events {totals.events:,} ({screen.events_per_s:,.0f}/s)  summaries {totals.summaries:,}  "
        f"lag {'?' if behind is None else f'{behind:,}'}  late {totals.late:,}  rejects {totals.rejects:,}"
    )


def closing_line(totals: Totals, run_s: float) -> str:
    """The closing line."""
    rate = totals.events / run_s if run_s > 0 else 0.0
    return (
        f"{totals.events:,} events read in {run_s:.1f} s ({rate:,.0f}/s), {totals.summaries:,} summaries published, "
        f"{totals.late:,} late, {totals.rejects:,} rejects"
    )


def lag(snapshot: Snapshot) -> int | None:
    """Records still to read; None until all end offsets are known."""
    known = [one.end_offset - one.next_offset for one in snapshot.partitions if one.end_offset is not None]
    return max(0, sum(known)) if known else None


def _heading(screen: Screen) -> Text:
    ready = screen.snapshot.health.ready
    state = "running" if ready else "starting"
    return Text.assemble(
        ("viewer-consumer", "bold"),
        f"  {screen.what}  ",
        (f"{state} {_time(screen.run_s)}", "green" if ready else "yellow"),
        no_wrap=True,
        overflow="ellipsis",
    )


def _totals(screen: Screen) -> Text:
    snapshot, totals = screen.snapshot, screen.totals
    behind = lag(snapshot)
    parts = (
        ("events", f"{totals.events:,} ({screen.events_per_s:,.0f}/s)"),
        ("summaries", f"{totals.summaries:,}"),
        ("lag", "?" if behind is None else f"{behind:,}"),
        ("viewers", f"{sum(one.viewers for one in snapshot.partitions):,}"),
        ("streams", f"{sum(one.streams for one in snapshot.partitions):,}"),
        ("late", f"{totals.late:,}"),
        ("rejects", f"{totals.rejects:,}"),
    )
    line = Text(no_wrap=True, overflow="ellipsis")
    for name, figure in parts:
        line.append(f"{name} ", "dim").append(figure, "bold").append("  ")
    return line


def _streams(screen: Screen, width: int, height: int) -> RenderableType:
    snapshot = screen.snapshot
    if not snapshot.streams:
        return Text(_waiting_reason(screen), "dim")
    return stream_table(snapshot.streams[: max(1, min(MOST_ROWS, height - _LINES_AROUND))], width)


def _waiting_reason(screen: Screen) -> str:
    return screen.snapshot.health.reason or "waiting for the first events"


def _time(run_s: float) -> str:
    minutes, seconds = divmod(int(run_s), 60)
    return f"{minutes}:{seconds:02d}"


def _footer(screen: Screen) -> Text:
    name, url = ("page", screen.page_url) if screen.page_url else ("metrics", screen.metrics_url)
    text = Text(f"{name} ", "dim", no_wrap=True, overflow="ellipsis")
    return text.append(url, "cyan").append("   Ctrl-C ends it", "dim")
