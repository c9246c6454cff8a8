"""Compute summaries from files: all records as one partition in file order, without Kafka, clock or future check."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple, TextIO

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from consumer.errors import UsageError, ViewerConsumerError
from consumer.intake.files.json_lines import Fault, FileBatch
from consumer.intake.files.open import check_readable, open_event_file
from consumer.output.summary import Origin, summary_dicts
from consumer.output.summary_text import OutputFormat, write_summaries
from consumer.runtime.files import check_overwrite
from consumer.runtime.secret import new_hash_key
from consumer.settings.model import InputSettings, Settings
from consumer.settings.window_rules import window_rules
from consumer.windows.closing import CLOSE_REASONS
from consumer.windows.events import SAMPLES, count_facts
from consumer.windows.layout import CLOSED
from consumer.windows.partition import ClosedBuckets, PartitionWindows
from consumer.windows.process import ACCEPTED, LATE, LATE_IDLE, REJECTED, STATUSES, STREAM_LIMIT
from consumer.windows.view import WindowView

STDOUT = Path("-")

FAULTS_NAMED = 5
"""Number of faults reported one by one; the others are counted by reason."""

_AT_ONCE = 1_000

_KNOWN_AT_CLOSE = (
    "peak_concurrent_viewers",
    "joins",
    "leaves",
    "timeouts",
    "unique_viewers",
    "avg_concurrent_viewers",
    "viewer_ms",
    "viewers_at_end",
)
"""With sessions counting, these are null in an open bucket."""


class _Summaries:
    """All buckets closed so far."""

    def __init__(self) -> None:
        self._ids: list[bytes] = []
        self._rows: list[Any] = [np.empty(0, CLOSED)]

    def add(self, closed: ClosedBuckets) -> None:
        self._ids += closed.stream_ids
        self._rows.append(closed.rows)

    def __len__(self) -> int:
        return len(self._ids)

    def in_order(self) -> Iterator[ClosedBuckets]:
        """By stream, then by bucket, some at a time."""
        rows = np.concatenate(self._rows)
        starts = rows["bucket"]["start_ms"].tolist()
        order = sorted(range(len(rows)), key=lambda i: (self._ids[i], starts[i]))
        for begin in range(0, len(order), _AT_ONCE):
            some = order[begin : begin + _AT_ONCE]
            yield ClosedBuckets([self._ids[i] for i in some], rows[some])

    def streams(self) -> set[bytes]:
        return set(self._ids)

    def reasons(self) -> dict[tuple[bytes, int], str]:
        """The close reason by stream and start."""
        rows = np.concatenate(self._rows)
        starts, codes = rows["bucket"]["start_ms"].tolist(), rows["reason"].tolist()
        return {(i, start): CLOSE_REASONS[code] for i, start, code in zip(self._ids, starts, codes, strict=True)}


class _Counts:
    """Numbers of accepted records, and of rejected and late ones by reason."""

    def __init__(self) -> None:
        self.accepted = 0
        self.late: Counter[bytes] = Counter()
        self.past_limit: Counter[bytes] = Counter()
        self.faults: Counter[str] = Counter()
        self.skipped = np.zeros(len(SAMPLES), np.int64)
        """Samples that are no numbers, of events that count."""

    def add(self, batch: FileBatch, status: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
        events = batch.events
        self.accepted += int(np.count_nonzero(status == ACCEPTED))
        for i in np.flatnonzero((status != ACCEPTED) & (status != REJECTED)).tolist():
            start, size = int(events.stream_start[i]), int(events.stream_size[i])
            stream_id = events.text[start : start + size].tobytes()
            counters = self.late if status[i] in {LATE, LATE_IDLE} else self.past_limit
            counters[stream_id] += 1
        self.faults.update(fault.reason.label for fault in batch.faults)
        self.skipped += count_facts(events.facts[status == ACCEPTED]).skipped

    def named(self, file_name: str, faults: Sequence[Fault]) -> list[str]:
        """The first faults of the run, as lines; call before `add`."""
        left = max(FAULTS_NAMED - self.faults.total(), 0)
        return [f"{file_name}:{fault.number}: {fault.reason.label}: {fault.detail}" for fault in faults[:left]]

    def closing(self, streams: int, summaries: int, seconds: float) -> str:
        """The line that ends a run."""
        rejected = self.faults + Counter({STATUSES[STREAM_LIMIT]: self.past_limit.total()})
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in rejected.most_common())
        fields = ", ".join(f"{name} {n:,}" for name, n in zip(SAMPLES, self.skipped.tolist(), strict=True) if n)
        parts = [
            f"{self.accepted:,} events of {streams:,} streams",
            f"{summaries:,} summaries",
            f"{rejected.total():,} rejected{f' ({reasons})' if reasons else ''}",
            f"{self.late.total():,} late",
            *([f"{self.skipped.sum():,} samples skipped that are no numbers ({fields})"] if fields else []),
            f"{seconds:.1f} s",
        ]
        return ", ".join(parts)


class _Run(NamedTuple):
    origin: Origin
    windows: PartitionWindows
    summaries: _Summaries
    counts: _Counts


def aggregate_files(
    settings: Settings,
    names: Sequence[str],
    *,
    view_path: Path | None = None,
    force: bool = False,
    close_at_end: bool = True,
    out: TextIO | None = None,
    output_format: OutputFormat = OutputFormat.JSONL,
) -> bool:
    """Read the files in order and write their summaries, by stream, then bucket; a closing line goes to stderr.

    Returns whether any event was accepted.

    Args:
        settings: the settings.
        names: the files; `-` is stdin.
        view_path: where to write every stream's final window; `STDOUT` is stdout, in place of the summaries.
        force: overwrite that file if it exists.
        close_at_end: close the buckets that are open at the end.
        out: where summaries go; by default stdout.
        output_format: of the summaries.

    Raises:
        UsageError: the settings do not apply to files.
        ViewerConsumerError: a file cannot be read, or is not a file of events.
    """
    if settings.input.time == "kafka":
        raise UsageError('input.time: must be "event" to aggregate files, which have no Kafka timestamps')
    began_s = monotonic()
    check_readable(names)
    with ExitStack() as stack:
        view_file = None if view_path is None else stack.enter_context(_writable(view_path, force=force))
        windows = PartitionWindows(window_rules(settings.windows), new_hash_key())
        run = _Run(Origin(settings.windows.bucket_ms, settings.windows.counting), windows, _Summaries(), _Counts())
        _read_all(names, settings.input, run)
        if view_path is not None and view_file is not None:
            _write_view(run, view_path, view_file)
    streams = run.summaries.streams() | {view.stream_id.encode() for view in run.windows.views()}
    if close_at_end:
        run.windows.close_all()
        run.summaries.add(run.windows.pop_closed())
    if view_path != STDOUT:
        write_summaries(run.summaries.in_order(), run.origin, output_format, out or sys.stdout)
    _say(run.counts.closing(len(streams), len(run.summaries), monotonic() - began_s))
    return run.counts.accepted > 0


def _say(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201  # for the person who started this


def _writable(path: Path, *, force: bool) -> AbstractContextManager[TextIO]:
    if path == STDOUT:
        return nullcontext(sys.stdout)
    check_overwrite(path, force=force)
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise _cannot_be_written(path, error) from None


def _cannot_be_written(path: Path, error: OSError) -> ViewerConsumerError:
    return ViewerConsumerError(f"{path}: cannot be written: {error.strerror}")


def _write_view(run: "_Run", path: Path, file: TextIO) -> None:
    try:
        with nullcontext() if path == STDOUT else file:  # closing it may fail, too
            json.dump(_view(run), file, ensure_ascii=False)
            file.write("\n")
    except OSError as error:
        raise _cannot_be_written(path, error) from None


def _read_all(names: Sequence[str], source: InputSettings, run: _Run) -> None:
    """Process every record of every file."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[events]:,} events"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        for name in names:
            with open_event_file(name, source) as file:
                task = progress.add_task(file.name, total=file.size, events=0)
                for batch in file.batches():
                    for line in run.counts.named(file.name, batch.faults):
                        progress.console.print(line, markup=False, highlight=False, soft_wrap=True)
                    _process(batch, run)
                    progress.update(task, completed=file.position(), events=run.counts.accepted)
                if file.is_empty:
                    progress.console.print(f"{file.name}: is empty", markup=False, highlight=False, soft_wrap=True)


def _process(batch: FileBatch, run: _Run) -> None:
    count = len(batch.events.facts)
    status = run.windows.apply(batch.events, 0, count, np.full(count, -1, np.int64))
    run.summaries.add(run.windows.pop_closed())
    run.counts.add(batch, status)


def _view(run: _Run) -> dict[str, Any]:
    """The window view of every stream seen, by name."""
    reasons = run.summaries.reasons()
    held = {view.stream_id.encode(): _entry(run, view, reasons) for view in run.windows.views()}
    # A stream that is not held was forgotten, or had only late events; its time is the idle watermark.
    gone = {*run.summaries.streams(), *run.counts.late, *run.counts.past_limit} - held.keys()
    idle_watermark_ms = run.windows.stats().idle_watermark_ms
    entries = held | {stream_id: _entry_of_none(run, stream_id, idle_watermark_ms) for stream_id in gone}
    return {stream_id.decode(): entries[stream_id] for stream_id in sorted(entries)}


def _entry(run: _Run, view: WindowView, reasons: dict[tuple[bytes, int], str]) -> dict[str, Any]:
    stream_id = view.stream_id.encode()
    return {
        "concurrent_viewers": view.concurrent_viewers,
        "window_bitrate_stats": [view.bitrate_avg_bps, view.bitrate_min_bps, view.bitrate_max_bps],
        "window_buffer_events": view.buffer_events,
        "window_peak_concurrent": view.peak_concurrent_viewers,
        "buckets": _window_rows(run, stream_id, reasons),
        "late": run.counts.late[stream_id],
        "time": view.time_ms,
    }


def _entry_of_none(run: _Run, stream_id: bytes, idle_watermark_ms: int | None) -> dict[str, Any]:
    return {
        "concurrent_viewers": 0,
        "window_bitrate_stats": [0.0, 0, 0],
        "window_buffer_events": 0,
        "window_peak_concurrent": 0,
        "buckets": [],
        "late": run.counts.late[stream_id],
        "time": idle_watermark_ms,
    }


def _window_rows(run: _Run, stream_id: bytes, reasons: dict[tuple[bytes, int], str]) -> list[dict[str, Any]]:
    """The buckets in a stream's window as summaries, without a reason while they are open."""
    rows = run.windows.window_rows_of(stream_id)
    summaries = summary_dicts(ClosedBuckets([stream_id] * len(rows), rows), run.origin)
    for summary in summaries:
        summary["close_reason"] = reasons.get((stream_id, summary["bucket_start_ms"]))
        if summary["close_reason"] is None and run.origin.counting == "sessions":
            summary.update(dict.fromkeys(_KNOWN_AT_CLOSE))
    return summaries
