"""The dashboard of a demo: pure functions from totals and snapshots to rich objects or a line of text."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from consumer.observe.snapshot import Snapshot, StreamStatus
from consumer.runtime.text import clock_text, escaped

MOST_ROWS = 20
_LINES_AROUND = 8
"""Lines of the dashboard that are not streams."""
_BAR_WIDTH = 24


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
    broker: str
    """The broker's address or description."""
    metrics_url: str
    page_url: str = ""
    """Empty where `http.page` is off."""


class _Column(NamedTuple):
    title: str
    needs_width: int
    """The least width of a terminal that shows it."""
    cell: Callable[[StreamStatus, int], Text]
    """Renders a stream; the second argument is the viewers of the largest stream."""
    left: bool = False


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
    """The closing line of a demo."""
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
        f"  {screen.broker}, simulated audience  ",
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
    columns = [column for column in _COLUMNS if width >= column.needs_width]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(
            column.title, justify="left" if column.left else "right", no_wrap=True, overflow="ellipsis", ratio=None
        )
    largest = max(1, snapshot.streams[0].concurrent_viewers)
    for stats in snapshot.streams[: max(1, min(MOST_ROWS, height - _LINES_AROUND))]:
        table.add_row(*(column.cell(stats, largest) for column in columns))
    return table


def _waiting_reason(screen: Screen) -> str:
    return screen.snapshot.health.reason or "waiting for the first events"


def _time(run_s: float) -> str:
    minutes, seconds = divmod(int(run_s), 60)
    return f"{minutes}:{seconds:02d}"


def _footer(screen: Screen) -> Text:
    name, url = ("page", screen.page_url) if screen.page_url else ("metrics", screen.metrics_url)
    text = Text(f"{name} ", "dim", no_wrap=True, overflow="ellipsis")
    return text.append(url, "cyan").append("   Ctrl-C ends it", "dim")


def _stream_id(stats: StreamStatus, _largest: int) -> Text:
    return Text(escaped(stats.stream_id))


def _viewers(stats: StreamStatus, _largest: int) -> Text:
    return Text(f"{stats.concurrent_viewers:,}", "bold")


def _peak(stats: StreamStatus, _largest: int) -> Text:
    return Text(f"{stats.window_peak_concurrent_viewers:,}")


def _bitrate(stats: StreamStatus, _largest: int) -> Text:
    if not stats.window_bitrate_samples:
        return Text("-", "dim")
    return Text(f"{stats.window_bitrate_avg_bps / 1e6:.2f} Mbit/s")


def _stalls(stats: StreamStatus, _largest: int) -> Text:
    return Text(f"{stats.window_buffer_events:,} ({stats.window_stall_ms / 1000:.1f} s)")


def _last_closed(stats: StreamStatus, _largest: int) -> Text:
    start_ms = stats.last_closed_bucket_start_ms
    return Text("-", "dim") if start_ms is None else Text(clock_text(start_ms))


def _bar(stats: StreamStatus, largest: int) -> Text:
    return Text("█" * round(_BAR_WIDTH * max(0, stats.concurrent_viewers) / largest), "blue")


_COLUMNS = (
    _Column("stream", 0, _stream_id, left=True),
    _Column("viewers", 0, _viewers),
    _Column("window peak", 50, _peak),
    _Column("bitrate avg", 50, _bitrate),
    _Column("stalls", 66, _stalls),
    _Column("last closed bucket", 80, _last_closed),
    _Column("", 110, _bar, left=True),
)
