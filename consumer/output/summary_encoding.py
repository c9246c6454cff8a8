"""Encode summaries as records to publish: JSON, or Avro in the registry's framing."""

import json
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import Any, TypeAlias

import fastavro
import numpy as np
import numpy.typing as npt

from consumer.output import summary_writing as kernel
from consumer.output.summary import DOUBLES, FIELDS, OF_SESSIONS, Floats, Ints, Origin, long_fields, summary_columns
from consumer.runtime.digits import DIGITS
from consumer.runtime.joined import Joined, joined
from consumer.runtime.record_columns import RecordColumns, records_without_headers
from consumer.windows.closing import CLOSE_REASONS
from consumer.windows.layout import CLOSED
from consumer.windows.partition import ClosedBuckets

Encoder: TypeAlias = Callable[[ClosedBuckets, Ints], RecordColumns]
"""Encodes closed buckets, each with the number of its partition, as records to publish."""

NO_PARTITION = -1
"""Of events from files."""

Step: TypeAlias = tuple[int, int]
"""What the kernel writes, and which of them."""

Bytes: TypeAlias = npt.NDArray[np.uint8]

_STEPS = {"stream_id": kernel.STREAM_ID, "close_reason": kernel.REASON, **dict.fromkeys(DOUBLES, kernel.DOUBLE)}
_OPTIONAL = frozenset({"offset", "partition"})
_NULL_BRANCH, _VALUE_BRANCH = b"\0", b"\2"
"""Of a union of null and one more type."""


def json_encoder(origin: Origin) -> Encoder:
    """Encode as JSON objects in UTF-8. The origin's partition is not read: each bucket has its own."""
    reasons = [_json_text(reason) for reason in CLOSE_REASONS]
    return _SummaryEncoder(_json_parts(origin), reasons, origin, binary=False)


def avro_encoder(schema: dict[str, Any], schema_id: int, origin: Origin) -> Encoder:
    """Encode in Avro behind the schema's id. The origin's partition is not read: each bucket has its own.

    Args:
        schema: `bucket_summary.avsc`.
        schema_id: the registry's.
        origin: what all summaries share.
    """
    reasons = [_avro_text(reason) for reason in CLOSE_REASONS]
    return _SummaryEncoder(_avro_parts(schema, schema_id, origin), reasons, origin, binary=True)


def warm_up() -> None:
    """Compile the kernel, or load it from the cache."""
    json_encoder(Origin(1, "sessions"))(ClosedBuckets([], np.empty(0, CLOSED)), np.empty(0, np.int64))


def _json_parts(origin: Origin) -> Iterator[bytes | Step]:
    for number, name in enumerate(FIELDS):
        yield f'{"," if number else "{"}"{name}":'.encode()
        value = _value(name, origin)
        if isinstance(value, tuple):
            quote = b'"' if value[0] == kernel.STREAM_ID else b""
            yield from (quote, value, quote)
        else:
            yield _json_text(value)
    yield b"}"


def _json_text(value: str | None) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _avro_parts(schema: dict[str, Any], schema_id: int, origin: Origin) -> Iterator[bytes | Step]:
    yield b"\0" + schema_id.to_bytes(4, "big")
    for field in schema["fields"]:
        value = _value(field["name"], origin)
        if value is None:
            yield _NULL_BRANCH
            continue
        if isinstance(field["type"], list) and value[0] != kernel.OPTIONAL_LONG:
            yield _VALUE_BRANCH
        yield _avro_text(value) if isinstance(value, str) else value


def _avro_text(text: str) -> bytes:
    out = BytesIO()
    fastavro.schemaless_writer(out, "string", text)
    return out.getvalue()


def _value(name: str, origin: Origin) -> Step | str | None:
    """How a field is written: by a step, as this text, or as null."""
    if name in ("counting", "topic"):
        text: str | None = getattr(origin, name)
        return text
    if name in OF_SESSIONS and origin.counting != "sessions":
        return None
    if name in _STEPS:
        return _STEPS[name], 0
    return (kernel.OPTIONAL_LONG if name in _OPTIONAL else kernel.LONG), _column(name, origin)


def _column(name: str, origin: Origin) -> int:
    """Of an integer among the rows that the kernel gets, of which the partition is the last."""
    return (*long_fields(origin.counting), "partition").index(name)


class _SummaryEncoder:
    """Calls the kernel with the steps of a format."""

    def __init__(self, parts: Iterable[bytes | Step], reasons: list[bytes], origin: Origin, *, binary: bool) -> None:
        steps, texts = _steps(parts)
        all_texts = joined([*texts, *reasons])
        edges = np.append(0, np.cumsum(all_texts.sizes))
        self._format = binary, np.array(steps, np.int64), all_texts.text, edges, len(texts)
        self._double_bytes = _doubles_in_binary if binary else _doubles_as_text
        self._longest = _longest(steps, texts, reasons)
        self._origin = origin

    def __call__(self, closed: ClosedBuckets, partitions: Ints) -> RecordColumns:
        ids = joined(closed.stream_ids)
        longs, doubles, reasons = summary_columns(closed.rows, self._origin.bucket_ms, self._origin.counting)
        double_bytes = self._double_bytes(doubles)
        room = len(closed) * self._longest + len(ids.text) * kernel.LONGEST_ESCAPE + len(double_bytes)
        out, sizes, digits = np.empty(room, np.uint8), np.empty(len(closed), np.int64), np.empty(DIGITS, np.uint8)
        longs = np.concatenate([longs, partitions[np.newaxis]])
        values = *ids, longs, double_bytes, reasons
        size = kernel.write_summaries(*self._format, *values, digits, out, sizes)
        return records_without_headers(ids, Joined(out[:size], sizes))


def _steps(parts: Iterable[bytes | Step]) -> tuple[list[Step], list[bytes]]:
    """Steps and their texts; texts that follow each other are one."""
    steps: list[Step] = []
    texts: list[bytes] = []
    after_text = False
    for part in parts:
        if isinstance(part, tuple):
            steps.append(part)
        elif after_text:
            texts[-1] += part
        else:
            steps.append((kernel.TEXT, len(texts)))
            texts.append(part)
        after_text = not isinstance(part, tuple)
    return steps, texts


def _longest(steps: list[Step], texts: list[bytes], reasons: list[bytes]) -> int:
    """Bytes of the longest summary, without its floats and its stream's id but for that id's size."""
    integers = sum(what in {kernel.LONG, kernel.OPTIONAL_LONG} for what, _ in steps)
    numbers = integers * kernel.LONGEST_DECIMAL + kernel.LONGEST_VARINT
    return sum(map(len, texts)) + max(map(len, reasons)) + numbers


def _doubles_in_binary(doubles: Floats) -> Bytes:
    return np.ascontiguousarray(doubles.T, "<f8").view(np.uint8).ravel()


def _doubles_as_text(doubles: Floats) -> Bytes:
    """As JSON writes them, each with one byte behind it."""
    text = json.dumps(doubles.T.ravel().tolist(), separators=(",", ":"))
    return np.frombuffer(bytearray(text[1:], "ascii"), np.uint8)
