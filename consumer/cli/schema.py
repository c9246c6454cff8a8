"""The command `schema`: what the settings find in a writer schema, and a few records as they read them."""

# ruff: noqa: PLC0415  # what the command needs is imported inside it, so that `--help` and `config` answer at once

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli.options import Config, Overrides, read_settings
from consumer.errors import UsageError, ViewerConsumerError

if TYPE_CHECKING:
    from consumer.intake.explain import SchemaReport
    from consumer.intake.samples import Sample, Samples

File = Annotated[Path, typer.Argument(metavar="FILE", help="An Avro schema, or an Avro container with records.")]
Record = Annotated[
    Path | None,
    typer.Option(
        "--record",
        metavar="FILE",
        help="Decode it too: a record as bytes, or lines of JSON (.jsonl), or a container.",
    ),
]

_WIDEST = 60
"""Limit of a cell; longer ids are cut."""


def schema(file: File, config: Config = None, overrides: Overrides = None, record: Record = None) -> None:
    """Show what the settings find in a writer schema, and the first records as they read them."""
    settings = read_settings(config, overrides)
    from consumer.intake.explain import explain_schema
    from consumer.intake.samples import read_samples, schema_of_container
    from consumer.intake.schemas.pinned import SchemaFile, schema_file

    in_container = schema_of_container(file)
    if record is not None and in_container is not None:
        raise UsageError(f"--record: {file} is an Avro container, whose own records are decoded")
    found = SchemaFile(in_container, ()) if in_container else schema_file(file, settings.input)
    report = explain_schema(found.parsed, settings.input)
    _print(_report_lines(report))
    if report.refusal:
        raise ViewerConsumerError(f"{file}: {report.refusal}")
    records = record or (None if in_container is None else file)
    if records is not None:
        _print(_sample_lines(records, read_samples(records, found, settings.input)))


def _print(lines: Iterable[str]) -> None:
    from consumer.runtime.text import escaped

    for line in lines:
        typer.echo(escaped(line))


def _report_lines(report: "SchemaReport") -> Iterator[str]:
    yield f'schema "{report.name}"'
    yield ""
    yield from _table([("field", "path", "read"), *((each.field, each.path, each.read) for each in report.fields)])
    if report.unlisted or report.types:
        yield ""
    if report.unlisted:
        yield (
            f"event types are {report.unlisted}: those that input.events does not name are rejected "
            "(unknown_event_type)"
        )
    elif report.types:
        yield from _table([("event type", "read as"), *report.types])
    if report.skipped:
        yield ""
        yield f"skipped: {', '.join(report.skipped)}"
    if report.unused:
        yield ""
        yield f"not among its event types: {', '.join(report.unused)}"


def _sample_lines(path: Path, samples: "Samples") -> Iterator[str]:
    yield ""
    yield (
        f"the first {len(samples.rows)} of {path}, {samples.framing}"
        if len(samples.rows) > 1
        else (f"{path}, {samples.framing}")
    )
    yield ""
    yield from _table(
        [("", "stream_id", "viewer_id", "time", "read as"), *(_sample_cells(sample) for sample in samples.rows)]
    )


def _sample_cells(sample: "Sample") -> tuple[str, ...]:
    from consumer.runtime.text import time_text

    if sample.problem:
        return str(sample.number), "", "", "", sample.problem
    values = {"bitrate": sample.bitrate_bps, "buffer": sample.duration_ms}
    units = {"bitrate": "bit/s", "buffer": "ms"}
    said = [f"{kind} {values[kind]} {units[kind]}" if values.get(kind) is not None else kind for kind in sample.kinds]
    said += [f"{name} skipped: no number" for name in sample.skipped]
    ids = [each[:_WIDEST] for each in (sample.stream_id, sample.viewer_id)]
    return str(sample.number), *ids, time_text(sample.timestamp_ms), ", ".join(said)


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Rows in columns as wide as their longest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
