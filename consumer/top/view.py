"""What `top` draws: pure functions from the workers' figures to rich objects."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from consumer.observe.snapshot import StreamStatus
from consumer.runtime.text import escaped
from consumer.top.stream_table import stream_table
from consumer.top.workers import WorkerFigures

_LINES_AROUND = 6
"""Lines that are neither workers nor streams."""


class Order(NamedTuple):
    """One order of the streams."""

    key: str
    """The key that chooses it."""
    name: str
    field: str
    """Of `StreamStatus`, and of the API."""


ORDERS = (
    Order("v", "viewers", "concurrent_viewers"),
    Order("p", "peak", "window_peak_concurrent_viewers"),
    Order("b", "bitrate", "window_bitrate_avg_bps"),
    Order("s", "stall time", "window_stall_ms"),
    Order("n", "name", "stream_id"),
)


class View(NamedTuple):
    """What the keys have chosen."""

    order: Order = ORDERS[0]
    is_reversed: bool = False

    @property
    def largest_first(self) -> bool:
        """Names begin with the first, figures with the largest, unless the order is reversed."""
        return (self.order.field != "stream_id") != self.is_reversed

    @property
    def sort(self) -> str:
        """As the API takes it."""
        return f"-{self.order.field}" if self.largest_first else self.order.field

    def pressed(self, key: str) -> "View":
        """What a key makes of it."""
        if key == "r":
            return self._replace(is_reversed=not self.is_reversed)
        chosen = next((order for order in ORDERS if order.key == key), self.order)
        return self if chosen is self.order else View(chosen)


def screen(workers: Sequence[WorkerFigures], view: View, width: int, height: int) -> RenderableType:
    """Totals, a line for each worker, and as many streams as there is room for."""
    streams = in_order(workers, view)
    shown = streams[: max(1, height - _LINES_AROUND - len(workers))]
    lines = [_worker_line(one) for one in workers]
    return Group(*_totals(workers), *lines, Text(), stream_table(shown, width), Text(), _footer(view))


def in_order(workers: Sequence[WorkerFigures], view: View) -> list[StreamStatus]:
    """The streams of all workers, sorted."""
    streams = [stream for worker in workers for stream in worker.streams]
    return sorted(streams, key=lambda one: getattr(one, view.order.field), reverse=view.largest_first)


def _totals(workers: Sequence[WorkerFigures]) -> tuple[Text, Text]:
    said = [one.worker for one in workers if not one.problem]
    rates = [one["rates_per_s"] for one in said]
    counts = _line(
        ("viewers", f"{sum(one['viewers'] for one in said):,}"),
        ("streams", f"{sum(one['streams'] for one in said):,}"),
        ("events/s", f"{sum(one.get('events', 0) for one in rates):,.0f}"),
        ("summaries/s", f"{sum(one.get('summaries', 0) for one in rates):,.0f}"),
    )
    problems = _line(
        ("late/s", f"{sum(one.get('late_events', 0) for one in rates):,.1f}"),
        ("rejects/s", f"{sum(one.get('rejects', 0) for one in rates):,.1f}"),
        ("workers ready", f"{sum(one['ready'] for one in said)} of {len(workers)}"),
    )
    return counts, problems


def _worker_line(one: WorkerFigures) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis").append(f"{one.url}  ", "dim")
    if one.problem:
        return line.append(escaped(one.problem), "red")
    worker = one.worker
    lag = worker["lag_records"]
    line.append("ready" if worker["ready"] else "not ready", "green" if worker["ready"] else "yellow")
    line.append(f"  partitions {len(worker['partitions'])}  lag {'?' if lag is None else f'{lag:,}'}")
    return line if worker["ready"] else line.append(f"  {escaped(_reason(worker))}", "yellow")


def _reason(worker: Any) -> str:
    return str(worker["starting"] or worker["reason"] or ", ".join(worker["missing"]))


def _footer(view: View) -> Text:
    line = Text("sort: ", "dim", no_wrap=True, overflow="ellipsis")
    for order in ORDERS:
        line.append(f"{order.key} {order.name}  ", "bold" if order is view.order else "dim")
    return line.append("r reverse  q quit", "dim")


def _line(*parts: tuple[str, str]) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    for name, figure in parts:
        line.append(f"{name} ", "dim").append(figure, "bold").append("  ")
    return line
