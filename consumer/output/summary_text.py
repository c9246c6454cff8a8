"""Write summaries as text: JSON lines, CSV, or a table for people."""

import csv
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import Any, TextIO

import numpy as np

from consumer.output.summary import FIELDS, Origin, summary_dicts
from consumer.output.summary_encoding import NO_PARTITION, json_encoder
from consumer.runtime.text import escaped, time_text
from consumer.windows.partition import ClosedBuckets


class OutputFormat(StrEnum):
    """A format of summaries."""

    JSONL = "jsonl"
    CSV = "csv"
    TABLE = "table"


_COLUMNS = {
    "stream": "stream_id",
    "from (UTC)": "bucket_start_ms",
    "peak": "peak_concurrent_viewers",
    "average": "avg_concurrent_viewers",
    "unique": "unique_viewers",
    "joins": "joins",
    "leaves": "leaves",
    "timeouts": "timeouts",
    "at end": "viewers_at_end",
    "kbit/s": "avg_bitrate_bps",
    "stalls": "buffer_event_count",
    "stalled s": "buffer_stall_ms",
    "closed by": "close_reason",
}
"""Headings of the table, and the fields below them."""

_LONGEST_STREAM = 40


def write_summaries(
    summaries: Iterable[ClosedBuckets], origin: Origin, output_format: OutputFormat, out: TextIO
) -> None:
    """Write all summaries in order."""
    match output_format:
        case OutputFormat.JSONL:
            encode = json_encoder(origin)
            for closed in summaries:
                values = encode(closed, np.full(len(closed), NO_PARTITION)).values
                out.writelines((value or b"").decode() + "\n" for value in values.all())
        case OutputFormat.CSV:
            writer = csv.DictWriter(out, FIELDS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(summary for closed in summaries for summary in summary_dicts(closed, origin))
        case OutputFormat.TABLE:
            rows = [_row(summary) for closed in summaries for summary in summary_dicts(closed, origin)]
            out.writelines(line + "\n" for line in _aligned([tuple(_COLUMNS), *rows]))


def _row(summary: dict[str, Any]) -> tuple[str, ...]:
    return tuple(_cell(field, summary[field]) for field in _COLUMNS.values())


def _cell(field: str, value: Any) -> str:
    """A value for people; `-` for what this way of counting does not have."""
    if value is None:
        return "-"
    if field in _SHOWN:
        return _SHOWN[field](value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _stream(name: str) -> str:
    name = escaped(name)
    return name if len(name) <= _LONGEST_STREAM else name[: _LONGEST_STREAM - 1] + "…"


def _time(time_ms: int) -> str:
    return time_text(time_ms).replace("T", " ").removesuffix("Z").removesuffix(".000")


_SHOWN: dict[str, Callable[[Any], str]] = {
    "stream_id": _stream,
    "bucket_start_ms": _time,
    "avg_bitrate_bps": lambda value: f"{value / 1000:,.0f}",
    "buffer_stall_ms": lambda value: f"{value / 1000:,.1f}",
    "avg_concurrent_viewers": lambda value: f"{value:,.1f}",
}


def _aligned(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """The rows as lines with columns under each other: text to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if heading in {"stream", "from (UTC)", "closed by"} else cell.rjust(width)
            for heading, cell, width in zip(_COLUMNS, row, widths, strict=True)
        ]
        yield "  ".join(cells).rstrip()
