"""The judge of the columns: what a payload means, decoded one record at a time by fastavro and plain Python."""

import copy
import io
import math
from fractions import Fraction
from typing import Any, NamedTuple
from uuid import UUID

import fastavro

from consumer.intake.rejects import Reject
from consumer.settings.field_sources import FieldPath
from consumer.settings.model import InputSettings
from consumer.windows.events import BITRATE, BUFFER, JOIN, KINDS, EventColumns

Schema = Any

TICKS_PER_MS = {"millis": 1, "micros": 1_000, "nanos": 1_000_000}
BUILTIN_NAMES = {
    "join": {"ViewerJoin", "join"},
    "leave": {"ViewerLeave", "leave"},
    "bitrate": {"BitrateReport", "bitrate", "PlaybackReport"},
    "buffer": {"BufferEvent", "buffer", "PlaybackReport"},
    "heartbeat": {"ViewerHeartbeat", "heartbeat"},
}
SKIPPED_BITRATE, SKIPPED_STALL = 16, 32


class Event(NamedTuple):
    """One event, or why there is none: the label of a reject, or `ignored`."""

    stream_id: str = ""
    viewer_id: str = ""
    timestamp_ms: int = 0
    facts: int = JOIN
    value: int = 0
    """The bitrate; of an event without one, the duration."""
    duration_ms: int = 0
    """Of an event with a bitrate."""
    reject: str = ""


class _NoValueError(Exception):
    def __init__(self, reason: Reject, field: str) -> None:
        self.reason = reason
        self.field = field


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

    def __init__(self, schema: Schema, source: InputSettings, *, skips_negative: bool = True) -> None:
        self.field_at_fault = ""
        """What the last reject is about."""
        self._skips_negative = skips_negative
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
            self.field_at_fault = error.field
            return Event(reject=error.reason.label)

    def _event(self, value: Any) -> Event:
        facts = self._facts(value)
        if facts is None:
            return Event(reject="ignored")
        ids = {field: self._raw_id(value, field) for field in ("stream_id", "viewer_id")}
        timestamp_ms = self._timestamp_ms(value)
        bitrate_bps = self._sample(value, "bitrate_bps", 2**41) if facts & BITRATE else None
        duration_ms = self._sample(value, "duration_ms", 2**32 - 1) if facts & BUFFER else None
        stream_id, viewer_id = (_text(raw, field) for field, raw in ids.items())
        if facts & BITRATE and bitrate_bps is None:
            facts += SKIPPED_BITRATE - BITRATE
        if facts & BUFFER and duration_ms is None:
            facts += SKIPPED_STALL - BUFFER
        return _event(stream_id, viewer_id, timestamp_ms, facts, bitrate_bps or 0, duration_ms or 0)

    def _facts(self, value: Any) -> int | None:
        """What the event says; None if its type is ignored."""
        name = follow(value, self._path("type"))
        if isinstance(name, tuple):
            name = name[0]
        if not isinstance(name, str):
            raise _NoValueError(Reject.MISSING_VALUE, "type")
        events = self._source.events
        if name in events.ignore or name.rsplit(".", 1)[-1] in events.ignore:
            return None
        for one in (name, name.rsplit(".", 1)[-1]):
            is_listed = any(one in getattr(events, kind) for kind in KINDS)
            facts = [
                fact
                for kind, fact in KINDS.items()
                if one in (getattr(events, kind) or (set() if is_listed else BUILTIN_NAMES[kind]))
            ]
            if facts:
                return sum(facts)
        raise _NoValueError(Reject.UNKNOWN_EVENT_TYPE, "")

    def _raw_id(self, value: Any, field: str) -> str | bytes:
        path = self._path(field)
        found = follow(value, path)
        if not isinstance(found, str | bytes):
            raise _NoValueError(Reject.MISSING_VALUE, field)
        if "uuid" in logical_types(self._schema, path) and isinstance(found, bytes) and len(found) == 16:
            return str(UUID(bytes=found))
        return found

    def _timestamp_ms(self, value: Any) -> int:
        found = follow(value, self._path("timestamp_ms"))
        if not isinstance(found, int | float) or isinstance(found, bool):
            raise _NoValueError(Reject.MISSING_VALUE, "timestamp_ms")
        if not math.isfinite(found):
            raise _NoValueError(Reject.NOT_FINITE, "timestamp_ms")
        number = self._converted(found, "timestamp_ms")
        if not -(2**52) <= number <= 2**52:
            raise _NoValueError(Reject.TIMESTAMP_OUT_OF_RANGE, "timestamp_ms")
        return int(number)

    def _sample(self, value: Any, field: str, high: int) -> int | None:
        """Return a sample; None if it is no number, or below 0 before it is scaled and rounded."""
        found = follow(value, self._path(field))
        if not isinstance(found, int | float) or isinstance(found, bool) or not math.isfinite(found):
            return None
        if found < 0 and (self._skips_negative or self._converted(found, field) < 0):
            return None
        number = self._converted(found, field)
        if number > high:
            raise _NoValueError(Reject.OUT_OF_RANGE, field)
        return int(number)

    def _converted(self, found: float, field: str) -> float:
        """Return a whole number, or an infinite one if it is too large for a float."""
        chosen: FieldPath | None = getattr(self._source.fields, field)
        scale = 1 if chosen is None else chosen.scale
        logical = logical_types(self._schema, self._path(field))
        unit = next((one.rsplit("-", 1)[-1] for one in logical if "timestamp-" in one), "millis")
        if isinstance(found, int) and isinstance(scale, int):
            return math.floor(Fraction(found * scale, TICKS_PER_MS[unit]))
        scaled = float(found) * scale
        return round(scaled) if math.isfinite(scaled) else scaled

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
    facts = int(events.facts[i])
    bitrate_bps = int(events.bitrate_bps[i]) if facts & BITRATE else 0
    duration_ms = int(events.duration_ms[i]) if facts & BUFFER else 0
    return _event(ids[0], ids[1], int(events.timestamp_ms[i]), facts, bitrate_bps, duration_ms)


def _event(stream_id: str, viewer_id: str, timestamp_ms: int, facts: int, bitrate_bps: int, duration_ms: int) -> Event:
    if facts & BITRATE:
        return Event(stream_id, viewer_id, timestamp_ms, facts, bitrate_bps, duration_ms)
    return Event(stream_id, viewer_id, timestamp_ms, facts, duration_ms)


def _text(raw: str | bytes, field: str) -> str:
    data = raw.encode(errors="surrogateescape") if isinstance(raw, str) else raw
    if not data:
        raise _NoValueError(Reject.EMPTY_ID, field)
    if len(data) > 1024:
        raise _NoValueError(Reject.ID_TOO_LONG, field)
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _NoValueError(Reject.BAD_TEXT, field) from None
