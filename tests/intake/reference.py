"""The judge of the columns: what a payload means, decoded one record at a time by fastavro and plain Python."""

import copy
import io
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple
from uuid import UUID

import fastavro

from consumer.intake.rejects import Reject
from consumer.settings.field_sources import KEY, FieldPart, FieldPath, PathAlone
from consumer.settings.model import InputSettings
from consumer.windows.events import BITRATE, BUFFER, JOIN, KINDS, EventColumns
from tests.intake.iso_times import time_of_text

Schema = Any

TICKS_PER_MS = {"millis": 1, "micros": 1_000, "nanos": 1_000_000}
CONNECT_UNITS = {
    "org.apache.kafka.connect.data.Timestamp": "millis",
    "io.debezium.time.Timestamp": "millis",
    "io.debezium.time.MicroTimestamp": "micros",
    "io.debezium.time.NanoTimestamp": "nanos",
}
DEFAULTS = {"bitrate_bps": "event.bitrate_bps", "duration_ms": "event.duration_ms", "type": "event"}
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
        self._key: bytes | None = None
        self._skips_negative = skips_negative
        self._parsed: Any = fastavro.parse_schema(without_logical_types(copy.deepcopy(schema)))
        self._schema = schema
        self._source = source

    def read(self, payload: bytes, key: bytes | None = None) -> Event | None:
        """Return the event; None if fastavro cannot read the whole payload."""
        self._key = key
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
        ids = {field: self._raw_parts(value, field) for field in ("stream_id", "viewer_id")}
        timestamp_ms = self._timestamp_ms(value)
        bitrate_bps = self._sample(value, "bitrate_bps", 2**41) if facts & BITRATE else None
        duration_ms = self._sample(value, "duration_ms", 2**32 - 1) if facts & BUFFER else None
        stream_id, viewer_id = (_text(parts, field) for field, parts in ids.items())
        if facts & BITRATE and bitrate_bps is None:
            facts += SKIPPED_BITRATE - BITRATE
        if facts & BUFFER and duration_ms is None:
            facts += SKIPPED_STALL - BUFFER
        return _event(stream_id, viewer_id, timestamp_ms, facts, bitrate_bps or 0, duration_ms or 0)

    def _facts(self, value: Any) -> int | None:
        """What the event says; None if its type is ignored."""
        _, name = self._first(value, "type")
        if isinstance(name, tuple):
            name = name[0]
        if isinstance(name, bool):
            name = "true" if name else "false"
        if isinstance(name, int):
            name = str(name)
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

    def _raw_parts(self, value: Any, field: str) -> list[bytes]:
        return [self._raw_part(value, field, part) for part in self._place(field).joined]

    def _raw_part(self, value: Any, field: str, part: FieldPart) -> bytes:
        for source in part.alternatives:
            found = self._key_text(field) if source.path == KEY else self._id_text(value, source.path.split("."))
            if found is not None:
                return found
        if part.default is None:
            raise _NoValueError(Reject.MISSING_VALUE, field)
        return part.default.encode()

    def _key_text(self, field: str) -> bytes | None:
        if self._key is None or self._source.key_format == "text":
            return self._key
        head, text = self._key[:5], self._key[5:]
        found = [text[at:] for at in range(1, 11) if _is_size(text[:at], len(text) - at)]
        if head[:1] != b"\0" or not found:
            raise _NoValueError(Reject.BAD_KEY, field)
        return found[0]

    def _id_text(self, value: Any, path: list[str]) -> bytes | None:
        found = follow(value, path)
        if isinstance(found, int) and not isinstance(found, bool):
            return str(found).encode()
        if isinstance(found, str):
            return found.encode(errors="surrogateescape")
        if not isinstance(found, bytes):
            return None
        (leaf,) = (each for each in leaves(self._schema, path) if kind_of(each) in {"fixed", "bytes"})
        if kind_of(leaf) == "bytes":
            return found
        if leaf.get("logicalType") == "uuid" and len(found) == 16:
            return str(UUID(bytes=found)).encode()
        return found if _is_readable(found) else found.hex().encode()

    def _timestamp_ms(self, value: Any) -> int:
        source, found = self._first(value, "timestamp_ms")
        if isinstance(found, str):
            time_ms = time_of_text(found, utc=self._place("timestamp_ms").text_without_offset == "utc")
            if isinstance(time_ms, Reject):
                raise _NoValueError(time_ms, "timestamp_ms")
            return time_ms
        if source is None or not isinstance(found, int | float) or isinstance(found, bool):
            raise _NoValueError(Reject.MISSING_VALUE, "timestamp_ms")
        if not math.isfinite(found):
            raise _NoValueError(Reject.NOT_FINITE, "timestamp_ms")
        number = self._converted(found, "timestamp_ms", source)
        if not -(2**52) <= number <= 2**52:
            raise _NoValueError(Reject.TIMESTAMP_OUT_OF_RANGE, "timestamp_ms")
        return int(number)

    def _sample(self, value: Any, field: str, high: int) -> int | None:
        """Return a sample; None if it is no number, or below 0 before it is scaled and rounded."""
        source, found = self._first(value, field)
        if source is None or not isinstance(found, int | float) or isinstance(found, bool) or not math.isfinite(found):
            return None
        if found < 0 and (self._skips_negative or self._converted(found, field, source) < 0):
            return None
        number = self._converted(found, field, source)
        if number > high:
            raise _NoValueError(Reject.OUT_OF_RANGE, field)
        return int(number)

    def _converted(self, found: float, field: str, source: PathAlone) -> float:
        """Return a whole number, or an infinite one if it is too large for a float."""
        scale = self._place(field).scale_of(source)
        leaf = next(each for each in leaves(self._schema, source.path.split(".")) if kind_of(each) in NUMBERS)
        names = leaf if isinstance(leaf, dict) else {}
        logical = str(names.get("logicalType", ""))
        by_name = CONNECT_UNITS.get(str(names.get("connect.name", "")), "millis") if scale == 1 else "millis"
        unit = logical.rsplit("-", 1)[-1] if "timestamp-" in logical else by_name
        if isinstance(found, int) and isinstance(scale, int):
            return math.floor(Fraction(found * scale, TICKS_PER_MS[unit]))
        scaled = float(found) * scale
        return round(scaled) if math.isfinite(scaled) else scaled

    def _first(self, value: Any, field: str) -> tuple[PathAlone | None, Any]:
        """Return the source of a field that is there, and what it holds."""
        for source in self._place(field).alternatives:
            found = follow(value, source.path.split("."))
            if found is not None:
                return source, found
        return None, None

    def _place(self, field: str) -> FieldPath:
        chosen: FieldPath | None = getattr(self._source.fields, field)
        if chosen is not None:
            return chosen
        path = DEFAULTS.get(field, field)
        return FieldPath(path=path if leaves(self._schema, path.split(".")) else field)


NUMBERS = {"int", "long", "float", "double"}


def kind_of(schema: Schema) -> str:
    """Return the name of a type's kind."""
    return str(schema["type"]) if isinstance(schema, dict) else str(schema)


def follow(value: Any, path: list[str]) -> Any:
    """Return the value at the end of a path; None if there is none."""
    for step in path:
        if isinstance(value, tuple):
            value = value[1]
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value


def leaves(schema: Schema, path: list[str]) -> list[Schema]:
    """Return the types at the end of a path but null, for a schema without named references."""
    found = [schema]
    for step in [*path, None]:
        found = [one for part in found for one in (part if isinstance(part, list) else [part])]
        if step is not None:
            found = [inner for one in found if isinstance(one, dict) for inner in _below(one, step)]
    return [one for one in found if one != "null"]


def _below(schema: dict[str, Any], step: str) -> Iterator[Schema]:
    if schema["type"] == "map":
        yield schema["values"]
    elif schema["type"] == "record":
        yield from (field["type"] for field in schema["fields"] if field["name"] == step)


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


def _is_size(data: bytes, size: int) -> bool:
    """Whether bytes are an Avro long of this value, which may have more bytes than it needs."""
    if not data or size < 0 or any(byte < 0x80 for byte in data[:-1]) or data[-1] >= 0x80:
        return False
    return sum((byte & 0x7F) << 7 * i for i, byte in enumerate(data)) == 2 * size


def _is_readable(data: bytes) -> bool:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return False
    return not any(char < " " or char == "\x7f" for char in text)


def _text(parts: list[bytes], field: str) -> str:
    """Return an id: its only part, or its parts joined with a character that is marked inside parts."""
    data = parts[0]
    if len(parts) > 1:
        data = b"|".join(part.replace(b"\\", b"\\\\").replace(b"|", b"\\|") for part in parts)
    if not any(parts):
        raise _NoValueError(Reject.EMPTY_ID, field)
    if len(data) > 1024:
        raise _NoValueError(Reject.ID_TOO_LONG, field)
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _NoValueError(Reject.BAD_TEXT, field) from None
