"""Text and JSON output of the state commands."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from consumer.runtime.clocks import Clocks
from consumer.runtime.text import time_text
from consumer.state import checkpoint as checkpoints
from consumer.state import journal as journals
from consumer.state.checkpoint import RULES_VERSION
from consumer.state.inspect import FoundStream
from consumer.state.journal import StateError
from consumer.state.report import ConsistencyReport, StoredPartition
from consumer.state.reset import From, ResetPlan

WIDE = 200
"""Width if stdout is not a terminal, so that nothing is cut."""

_STARTS = {"committed": "what the group has committed", "earliest": "the first record", "latest": "the end"}


class ListRow(NamedTuple):
    """A partition in the list; None if missing or unreadable."""

    partition: int
    checkpoint: int | None
    checkpoint_offset: int | None
    checkpoint_age_s: float | None
    journal_offset: int | None
    committed_offset: int | None
    streams: int
    row_bytes: int


def print_list(partitions: Iterable[StoredPartition], *, as_json: bool) -> None:
    """Print one line per partition."""
    rows = (_row_of(stored, Clocks().wall_s()) for stored in partitions)
    if as_json:
        for row in rows:
            _print_json(row._asdict())
        return
    table = _table("partition", "checkpoint", "at offset", "age", "journal to", "committed", "streams", "bytes of rows")
    for row in rows:
        age = None if row.checkpoint_age_s is None else f"{row.checkpoint_age_s:,.0f} s"
        offsets = row.journal_offset, row.committed_offset
        sizes = row.streams, row.row_bytes
        cells = (row.partition, row.checkpoint, row.checkpoint_offset, age, *offsets, *sizes)
        table.add_row(*map(_cell, cells))
    _print(table)


def print_stream(found: FoundStream, *, as_json: bool) -> None:
    """Print a stream with its buckets."""
    stream, checkpoint = found.stream, found.checkpoint
    if as_json:
        about = {"partition": found.partition, "stream_id": found.stream_id}
        of = {"checkpoint": checkpoint.number, "checkpoint_offset": checkpoint.next_offset}
        buckets = [bucket._asdict() for bucket in stream.buckets]
        _print_json(about | of | {"time_ms": stream.time_ms, "viewers": stream.viewers, "buckets": buckets})
        return
    typer.echo(
        f"stream {found.stream_id}: partition {found.partition}, checkpoint {checkpoint.number} at offset "
        f"{checkpoint.next_offset}; its time {time_text(stream.time_ms)}, viewers {stream.viewers}"
    )
    table = _table(
        "bucket",
        "",
        "peak",
        "joins",
        "leaves",
        "samples",
        "avg bit/s",
        "min bit/s",
        "max bit/s",
        "stalls",
        "stalled ms",
    )
    for bucket in stream.buckets:
        viewers = bucket.peak_concurrent_viewers, bucket.joins, bucket.leaves
        bitrates = round(bucket.avg_bitrate_bps), bucket.min_bitrate_bps, bucket.max_bitrate_bps
        stalls = bucket.buffer_event_count, bucket.buffer_stall_ms
        stats = map(_cell, (*viewers, bucket.bitrate_sample_count, *bitrates, *stalls))
        table.add_row(time_text(bucket.bucket_start_ms), "open" if bucket.open else "closed", *stats)
    _print(table)


def print_consistency_report(
    stored: StoredPartition, found: ConsistencyReport, command: Callable[[str], str], *, as_json: bool
) -> None:
    """Print the disagreements of a partition with their solutions, or that there are none."""
    if as_json:
        problems = [{"what": each.what, "advice": each.advice(command)} for each in found.disagreements]
        about = {"partition": stored.partition, "agrees": not problems, "problems": problems}
        _print_json(about | {"changed_settings": found.changed_settings, "rules_version": found.rules_version})
        return
    for each in found.disagreements:
        typer.echo(f"partition {stored.partition}: {each.what}; {each.advice(command)}")
    if not found.disagreements:
        what = "nothing is stored yet" if stored.contents.empty else "rows, checkpoint, journal and offsets agree"
        typer.echo(f"partition {stored.partition}: {what}")
    if found.changed_settings:
        names = ", ".join(found.changed_settings)
        typer.echo(f"partition {stored.partition}: changed since the checkpoint, in effect at the next start: {names}")
    if found.has_older_rules:
        typer.echo(
            f"partition {stored.partition}: counted under rules version {found.rules_version}; version {RULES_VERSION} "
            "takes effect at the next start"
        )


def reset_warning(plans: Sequence[ResetPlan], start: From) -> Iterator[str]:
    """Describe what a reset will do."""
    for plan in plans:
        if plan.kept is not None:
            yield (
                f"partition {plan.partition}: keeps the windows of {plan.streams:,} streams, and continues at offset "
                f"{plan.offset}, the log start; nobody can tell whether the {plan.unknown_offsets:,} offsets before it "
                "were transaction markers or records that were deleted uncounted"
            )
            continue
        yield (
            f"partition {plan.partition}: deletes the state of {plan.streams:,} streams with their open buckets, "
            f"and continues with empty windows at offset {plan.offset} ({_STARTS[start]})"
        )
    if start == "earliest":
        yield "Records from there on that were counted before are counted and published again."
    if start == "latest":
        yield "Records before it that were not counted yet never are."


def reset_result(plan: ResetPlan) -> str:
    """Describe what a reset has done."""
    return f"partition {plan.partition}: reset; continues at offset {plan.offset} with checkpoint {plan.checkpoint}"


def _row_of(stored: StoredPartition, now_s: float) -> ListRow:
    contents = stored.contents
    try:
        checkpoint = None if contents.checkpoint is None else checkpoints.decoded(contents.checkpoint)
        journal = None if contents.journal is None else journals.decoded(contents.journal)
    except StateError:
        checkpoint = journal = None  # `check` says why
    return ListRow(
        partition=stored.partition,
        checkpoint=None if checkpoint is None else checkpoint.number,
        checkpoint_offset=None if checkpoint is None else checkpoint.next_offset,
        checkpoint_age_s=None if checkpoint is None else max(now_s - checkpoint.written_ms / 1000, 0.0),
        journal_offset=None if journal is None else journal.next_offset,
        committed_offset=stored.committed,
        streams=contents.streams,
        row_bytes=contents.row_bytes,
    )


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _print(table: Table) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDE
    console.print(table)


def _print_json(value: dict[str, Any]) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))


def _cell(value: float | str | None) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:,}"
