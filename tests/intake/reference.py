"""The judge of the columns: what a payload means, decoded one record at a time by fastavro and plain Python."""

import copy
import io
import math
from fractions import Fraction
from typing import Any, NamedTuple
from uuid import UUID

import fastavro

from consumer.intake.rejects import Reject
from consumer.settings.model import FieldPath, InputSettings
from consumer.windows.events import BITRATE, BUFFER, KINDS, EventColumns

Schema = Any

TICKS_PER_MS = {"millis": 1, "micros": 1_000, "nanos": 1_000_000}
BUILTIN_NAMES = {
    "ViewerJoin": 0,
    "join": 0,
    "ViewerLeave": 1,
    "leave": 1,
    "BitrateReport": 2,
    "bitrate": 2,
    "BufferEvent": 3,
    "buffer": 3,
}


class Event(NamedTuple):
    """One event, or why there is none: the label of a reject, or `ignored`."""

    stream_id: str = ""
    viewer_id: str = ""
    timestamp_ms: int = 0
    kind: int = 0
    value: int = 0
    reject: str = ""


class _NoValueError(Exception):
    def __init__(self, reason: Reject) -> None:
        self.reason = reason


def without_logical_types(schema: Schema) -> Schema:
    """Return the schema without logical types; the bytes on the wire are the same."""
    if isinstance(schema, list):
        return [without_logical_types(one) for one in schema]
    if isinstance(schema, dict):
        return {key: without_logical_types(one) for key, one in schema.items() if key != "logicalType"}
    return schema


def encode(schema: Schema, value: Any) -> bytes:
    """Return a payload."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(without_logical_types(copy.deepcopy(schema))), value)
    return out.getvalue()


class Judge:
    """Reads payloads of one writer schema as the settings say."""

    def __init__(self, schema: Schema, source: InputSettings) -> None:
        self._parsed: Any = fastavro.parse_schema(without_logical_types(copy.deepcopy(schema)))
        self._schema = schema
        self._source = source

    def read(self, payload: bytes) -> Event | None:
        """Return the event; None if fastavro cannot read the whole payload."""
        data = io.BytesIO(payload)
        try:
            value = fastavro.schemaless_reader(
                data, self._parsed, None, return_record_name=True, handle_unicode_errors="surrogateescape"
            )
        except Exception:  # noqa: BLE001  # whatever fastavro raises, it does not read the payload
            return None
        if data.tell() != len(payload):
            return None
        try:
            return self._event(value)
        except _NoValueError as error:
            return Event(reject=error.reason.label)

    def _event(self, value: Any) -> Event:
        kind = self._kind(value)
        if kind == "ignored":
            return Event(reject="ignored")
        ids = [self._raw_id(value, "stream_id"), self._raw_id(value, "viewer_id")]
        timestamp_ms = self._number(value, "timestamp_ms", -(2**52), 2**52)
        amount = 0
        if kind == BITRATE:
            amount = self._number(value, "bitrate_bps", 0, 2**41)
        elif kind == BUFFER:
            amount = self._number(value, "duration_ms", 0, 2**32 - 1)
        stream_id, viewer_id = (_text(one) for one in ids)
        return Event(stream_id, viewer_id, timestamp_ms, int(kind), amount)

    def _kind(self, value: Any) -> int | str:
        name = follow(value, self._path("type"))
        if isinstance(name, tuple):
            name = name[0]
        if not isinstance(name, str):
            raise _NoValueError(Reject.MISSING_VALUE)
        events = self._source.events
        if name in events.ignore or name.rsplit(".", 1)[-1] in events.ignore:
            return "ignored"
        for one in (name, name.rsplit(".", 1)[-1]):
            for kind, ours in enumerate(KINDS):
                chosen = getattr(events, ours)
                if one in chosen or (not chosen and BUILTIN_NAMES.get(one) == kind):
                    return kind
        raise _NoValueError(Reject.UNKNOWN_EVENT_TYPE)

    def _raw_id(self, value: Any, field: str) -> str | bytes:
        path = self._path(field)
        found = follow(value, path)
        if not isinstance(found, str | bytes):
            raise _NoValueError(Reject.MISSING_VALUE)
        if "uuid" in logical_types(self._schema, path) and isinstance(found, bytes) and len(found) == 16:
            return str(UUID(bytes=found))
        return found

    def _number(self, value: Any, field: str, low: int, high: int) -> int:
        path = self._path(field)
        found = follow(value, path)
        if not isinstance(found, int | float) or isinstance(found, bool):
            raise _NoValueError(Reject.MISSING_VALUE)
        number = self._converted(found, field, logical_types(self._schema, path))
        if not low <= number <= high:
            raise _NoValueError(Reject.TIMESTAMP_OUT_OF_RANGE if field == "timestamp_ms" else Reject.OUT_OF_RANGE)
        return number

    def _converted(self, found: float, field: str, logical: set[str]) -> int:
        chosen: FieldPath | None = getattr(self._source.fields, field)
        scale = 1 if chosen is None else chosen.scale
        unit = next((one.rsplit("-", 1)[-1] for one in logical if "timestamp-" in one), "millis")
        if isinstance(found, int) and isinstance(scale, int):
            return math.floor(Fraction(found * scale, TICKS_PER_MS[unit]))
        scaled = float(found) * scale
        if not math.isfinite(scaled):
            raise _NoValueError(Reject.NOT_FINITE)
        return round(scaled)

    def _path(self, field: str) -> list[str]:
        chosen: FieldPath | None = getattr(self._source.fields, field)
        if chosen is not None:
            return chosen.path.split(".")
        defaults = {"bitrate_bps": "event.bitrate_bps", "duration_ms": "event.duration_ms", "type": "event"}
        path = defaults.get(field, field).split(".")
        return path if logical_types(self._schema, path, exists=True) else [{"type": "type"}.get(field, field)]


def follow(value: Any, path: list[str]) -> Any:
    """Return the value at the end of a path; None if there is none."""
    for step in path:
        if isinstance(value, tuple):
            value = value[1]
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value


def logical_types(schema: Schema, path: list[str], *, exists: bool = False) -> set[str]:
    """Return the logical types at the end of a path, for a schema without named references."""
    found = [schema]
    for step in [*path, None]:
        found = [one for part in found for one in (part if isinstance(part, list) else [part])]
        if step is not None:
            records = [one for one in found if isinstance(one, dict) and one["type"] == "record"]
            found = [field["type"] for one in records for field in one["fields"] if field["name"] == step]
    if exists:
        return {"found"} if found else set()
    return {str(one["logicalType"]) for one in found if isinstance(one, dict) and "logicalType" in one}


def row(events: EventColumns, i: int) -> Event:
    """Return one row of the columns, to compare with the judge's event."""
    if events.reject[i]:
        code = int(events.reject[i])
        return Event(reject="ignored" if code == 255 else Reject(code).label)
    text = events.text.tobytes()
    ids = [
        text[start[i] : start[i] + size[i]].decode()
        for start, size in ((events.stream_start, events.stream_size), (events.viewer_start, events.viewer_size))
    ]
    return Event(ids[0], ids[1], int(events.timestamp_ms[i]), int(events.kind[i]), int(events.value[i]))


def _text(raw: str | bytes) -> str:
    data = raw.encode(errors="surrogateescape") if isinstance(raw, str) else raw
    if not data:
        raise _NoValueError(Reject.EMPTY_ID)
    if len(data) > 1024:
        raise _NoValueError(Reject.ID_TOO_LONG)
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _NoValueError(Reject.BAD_TEXT) from None
