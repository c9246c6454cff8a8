"""Decode a few sample records, for people who map a schema: a container, JSON lines, or one binary record."""

import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import fastavro

from consumer.errors import ViewerConsumerError
from consumer.intake.compiler.schema_json import ParsedSchema
from consumer.intake.files.open import open_event_file
from consumer.intake.intake import Intake
from consumer.intake.rejects import IGNORED
from consumer.intake.schemas.cache import SchemaCache
from consumer.intake.schemas.pinned import SchemaFile
from consumer.runtime.joined import joined
from consumer.settings.model import InputSettings
from consumer.windows.events import KINDS, SAMPLES, SKIPPED_SHIFT, EventColumns

MOST_SAMPLES = 10
"""Number of records that are decoded."""

MAX_SAMPLE_BYTES = 2**20
"""Limit of a binary record, and of a line of JSON."""

JSON_ENDINGS = frozenset({".json", ".jsonl", ".ndjson"})


class Sample(NamedTuple):
    """A record as the settings read it."""

    number: int
    problem: str
    """Why it is no event; empty if it is one."""
    stream_id: str = ""
    viewer_id: str = ""
    timestamp_ms: int = 0
    kinds: tuple[str, ...] = ()
    bitrate_bps: int | None = None
    duration_ms: int | None = None
    skipped: tuple[str, ...] = ()
    """Samples that are no numbers."""


class Samples(NamedTuple):
    """The first records of a file."""

    rows: list[Sample]
    framing: str
    """What stood before the payload."""


def schema_of_container(path: Path) -> ParsedSchema | None:
    """The writer schema of an Avro container; None for other files.

    Raises:
        ViewerConsumerError: it cannot be read.
    """
    with open_event_file(str(path), InputSettings()) as file:
        return file.schema()


def read_samples(path: Path, schema: SchemaFile, source: InputSettings) -> Samples:
    """Decode the first records of a file.

    Args:
        path: a container; JSON lines in Avro's JSON encoding, by the name's ending; else one binary record.
        schema: the writer schema; containers have their own.
        source: the settings.

    Raises:
        ViewerConsumerError: the file cannot be read, or its records are not of the schema.
    """
    if schema_of_container(path) is not None:
        return Samples(_of_container(path, source), "in an Avro container")
    only = {"schemas": schema.files, "ids": {}, "schema_registry_url": ""}
    bare = source.model_copy(update={"format": "raw", **only})
    if path.suffix.lower() in JSON_ENDINGS:
        return Samples(_decoded(_encoded(path, schema.parsed), bare), "as JSON lines")
    record = _read(path, MAX_SAMPLE_BYTES + 1)
    if len(record) > MAX_SAMPLE_BYTES:
        raise ViewerConsumerError(f"{path}: is no single record: it has more than {MAX_SAMPLE_BYTES} bytes")
    if source.format != "raw":
        framed = _decoded([record], bare.model_copy(update={"format": source.format}))
        if not framed[0].problem:
            return Samples(framed, f'begins as input.format = "{source.format}" says')
    return Samples(_decoded([record], bare), "without anything before the payload")


def _of_container(path: Path, source: InputSettings) -> list[Sample]:
    found: list[Sample] = []
    with open_event_file(str(path), source) as file:
        for batch in file.batches():
            problems = {
                fault.number - len(found) - 1: f"{fault.reason.label}: {fault.detail}" for fault in batch.faults
            }
            rows = range(min(len(batch.events.reject), MOST_SAMPLES - len(found)))
            start = len(found) + 1
            found += [_sample(batch.events, row, start + row, problems.get(row, "")) for row in rows]
            if len(found) >= MOST_SAMPLES:
                break
    return found


def _encoded(path: Path, parsed: ParsedSchema) -> list[bytes]:
    """The first lines as Avro."""
    payloads, schema = [], fastavro.parse_schema(_without_logical_types(parsed.inlined()))
    for number, line in islice(_lines(path), MOST_SAMPLES):
        out = io.BytesIO()
        try:
            reader = fastavro.json_reader(io.StringIO(line), schema)
            # Else a record of a union may be written as another branch that has the same fields.
            reader.options.update(return_record_name=True, return_named_type=True)
            (record,) = reader
            fastavro.schemaless_writer(out, schema, record)
        except Exception as error:  # noqa: BLE001  # whatever fastavro stumbles over, it is the record's fault
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise ViewerConsumerError(
                f"{path}:{number}: is not a record of this schema in Avro's JSON encoding: {' '.join(what.split())}"
            ) from None
        payloads.append(out.getvalue())
    if not payloads:
        raise ViewerConsumerError(f"{path}: holds no records")
    return payloads


def _without_logical_types(schema: Any) -> Any:
    """What is written is what stands in the text, not what Python has for it."""
    if isinstance(schema, list):
        return [_without_logical_types(part) for part in schema]
    if isinstance(schema, dict):
        return {key: _without_logical_types(part) for key, part in schema.items() if key != "logicalType"}
    return schema


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_SAMPLE_BYTES), ""), 1):
                if line.strip():
                    yield number, line
    except OSError as error:
        raise _unreadable(path, error) from None
    except UnicodeDecodeError:
        raise ViewerConsumerError(f"{path}: is not UTF-8 text") from None


def _decoded(payloads: list[bytes], source: InputSettings) -> list[Sample]:
    intake = Intake(source, SchemaCache(source))
    decoded = intake.decode(joined(payloads), [-1] * len(payloads), 0)
    rejects = set(decoded.rejects.tolist())
    found = []
    for row in range(len(payloads)):
        detail = decoded.explain(row) if row in rejects else None
        problem = "" if detail is None else f"{detail.reason.label}: {detail.message}"
        found.append(_sample(decoded.events, row, row + 1, problem))
    return found


def _sample(events: EventColumns, row: int, number: int, problem: str) -> Sample:
    if problem or events.reject[row] == IGNORED:
        return Sample(number, problem or "ignored")
    facts = int(events.facts[row])
    return Sample(
        number,
        "",
        _id(events, events.stream_start[row], events.stream_size[row]),
        _id(events, events.viewer_start[row], events.viewer_size[row]),
        int(events.timestamp_ms[row]),
        tuple(kind for kind, fact in KINDS.items() if facts & fact) or ("heartbeat",),
        int(events.bitrate_bps[row]) if facts & SAMPLES["bitrate_bps"] else None,
        int(events.duration_ms[row]) if facts & SAMPLES["duration_ms"] else None,
        tuple(name for name, fact in SAMPLES.items() if facts & (fact << SKIPPED_SHIFT)),
    )


def _id(events: EventColumns, start: Any, size: Any) -> str:
    return events.text[start : start + size].tobytes().decode(errors="replace")


def _read(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> ViewerConsumerError:
    return ViewerConsumerError(f"{path}: cannot be read: {error.strerror or error}")
