"""The table of streams that `top` and the demo show; it fits the terminal's width."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from consumer.observe.snapshot import StreamStatus
from consumer.runtime.text import clock_text, escaped

_BAR_WIDTH = 24
_GAP = 2
_LEAST_ID = 6


class _Column(NamedTuple):
    title: str
    needs_width: int
    """The least width of a terminal that shows it."""
    cell: Callable[[StreamStatus, int], Text]
    """Renders a stream; the second argument is the viewers of the largest stream."""
    left: bool = False


def stream_table(streams: Sequence[StreamStatus], width: int) -> Table:
    """The table, one row a stream in the given order, no line of it wider than that many columns.

    Figures are never cut; ids are, where they leave no room for the figures.
    """
    columns = [column for column in _COLUMNS if width >= column.needs_width]
    largest = max(1, max((one.concurrent_viewers for one in streams), default=0))
    figures = [[column.cell(one, largest) for column in columns[1:]] for one in streams]
    widths = [
        max([cell_len(column.title), *(cell_len(row[number].plain) for row in figures)])
        for number, column in enumerate(columns[1:])
    ]
    id_width = max(_LEAST_ID, width - sum(widths) - _GAP * len(widths))
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(column.title, justify="left" if column.left else "right", no_wrap=True, overflow="ellipsis")
    for one, row in zip(streams, figures, strict=True):
        stream_id = _stream_id(one, largest)
        stream_id.truncate(id_width, overflow="ellipsis")
        table.add_row(stream_id, *row)
    return table


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
    _Column("peak", 50, _peak),
    _Column("bitrate", 50, _bitrate),
    _Column("stalls", 66, _stalls),
    _Column("closed", 76, _last_closed),
    _Column("", 110, _bar, left=True),
)
