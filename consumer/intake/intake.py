"""Decode values of Kafka records to columns of events, without a Python object per event."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from consumer.intake.ahead import compare_with_clock
from consumer.intake.compiler.mapping import FIELDS_AT_FAULT
from consumer.intake.framing import CONFLUENT, FORMATS, RAW_PAYLOAD, find_programs, header_reference, read_frames
from consumer.intake.keys import KEY_FORMATS, read_keys
from consumer.intake.recognition import looks_like, recognize
from consumer.intake.rejects import IGNORED, WAITING, Reject
from consumer.intake.schemas.cache import SchemaCache
from consumer.intake.vm.columns import Bytes, Columns, TimeRules
from consumer.intake.vm.frames import NO_KEY, Frames, Ints
from consumer.intake.vm.instructions import SCRATCH_BYTES
from consumer.intake.vm.interpreter import CLAMPED_TIME, KAFKA_TIME, UNCLAMPED_TIME
from consumer.intake.vm.iso_time import time_of
from consumer.runtime.joined import NULL_SIZE, Joined, joined
from consumer.settings.field_sources import FieldSettings
from consumer.settings.model import InputSettings
from consumer.windows.events import EventColumns

_NO_SCHEMA = frozenset({Reject.NULL_VALUE, Reject.OVERSIZED, Reject.BAD_FRAMING})


class RejectDetail(NamedTuple):
    """Details of a reject, for its dead letter."""

    reason: Reject
    message: str
    schema: str
    """`id 7`, `guid …` or `fingerprint …`; empty if no schema was named."""


class Decoded(NamedTuple):
    """A decoded batch. Its columns are reused by the next batch of the same intake."""

    events: EventColumns
    waiting: int
    """The first record whose schema is not available, or the number of records. Rows with WAITING in `events.reject`
    must be decoded again later; all others are final."""
    ignored: int
    """Number of records of an ignored type; they have IGNORED in `events.reject`."""
    rejects: npt.NDArray[np.int64]
    """Indexes of rejects, in order."""
    clock: Bytes
    """Of each record: whether it is ahead of the wall clock, as `compare_with_clock` has it."""
    ahead: int
    """Number of records that are."""
    wall_clock_ms: int
    """What they were compared with."""
    references: Ints
    schemas: SchemaCache
    values: Joined
    framing: int

    @property
    def named(self) -> bool:
        """Whether records name their schemas."""
        return self.framing != RAW_PAYLOAD

    def with_future(self, rows: npt.NDArray[np.int64]) -> "Decoded":
        """Reject the events among these rows, which were found to be ahead of the wall clock."""
        reject = self.events.reject
        reject[rows[reject[rows] == 0]] = Reject.FUTURE
        return self._replace(rejects=_rejects(reject))

    def explain(self, row: int) -> RejectDetail:
        """The details of a reject; valid until the next batch."""
        reason = Reject(int(self.events.reject[row]))
        reference = int(self.references[row])
        schema = self.schemas.describe(reference) if self.named and reason not in _NO_SCHEMA else ""
        refused = self.schemas.refusal(reference) if reason is Reject.SCHEMA_REFUSED else ""
        looks = looks_like(int(self._looks(np.array([row]))[0]))
        sentence = reason.sentence_about(field_at_fault(self.events, row))
        return RejectDetail(reason, "; ".join(filter(None, [refused or sentence, looks])), schema)

    def waiting_reason(self, row: int) -> str:
        """Why a record waits, for messages; empty while its look-up is only beginning."""
        return self.schemas.waiting_reason(int(self.references[row]))

    def kinds(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Group rejects by what `explain` says: one row per group, and the group of each reject."""
        reasons = np.int64(256) * self.events.reject_field[rows] + self.events.reject[rows]
        references, looks = self.references[rows], self._looks(rows)
        order = np.lexsort((looks, reasons, references))
        changes = np.flatnonzero(np.diff(looks[order]) | np.diff(reasons[order]) | np.diff(references[order])) + 1
        kinds = np.zeros(len(rows), np.int64)
        kinds[order[changes]] = 1
        kinds[order] = np.cumsum(kinds[order])
        return rows[order[np.append(0, changes)]], kinds

    def _looks(self, rows: npt.NDArray[np.int64]) -> Bytes:
        return recognize(self.values, self.events.reject, rows, self.framing)


def field_at_fault(events: EventColumns, row: int) -> str:
    """The field that a reject is about, for messages; empty if it is about none."""
    number = int(events.reject_field[row])
    return FIELDS_AT_FAULT[number - 1] if number else ""


def reads_headers(source: InputSettings) -> bool:
    """Whether headers can name a schema; most inputs do not need them."""
    return source.format == "confluent" and bool(source.schema_registry_url)


def reads_keys(source: InputSettings) -> bool:
    """Whether an id is, or may be, the key of a record; most inputs do not need keys."""
    return source.fields.need_keys()


class Intake:
    """Decodes batches by the settings, with the schemas of a cache."""

    def __init__(self, source: InputSettings, schemas: SchemaCache) -> None:
        self._source = source
        self._schemas = schemas
        self._framing = FORMATS[source.format]
        self._columns = Columns()

    @property
    def answered(self) -> int:
        """Number of look-ups of schemas that have ended: when it changes, waiting records are worth another try."""
        return self._schemas.answered

    def is_available(self, reference: int) -> bool:
        """Whether a record that waited for the schema with this reference can be decoded, or rejected, by now."""
        return self._schemas.is_available(reference)

    def waiting_reason(self, reference: int) -> str:
        """Why records with this reference wait, for messages; empty while the look-up is only beginning."""
        return self._schemas.waiting_reason(reference)

    def decode(
        self,
        values: Joined,
        kafka_timestamps_ms: Ints | Sequence[int],
        wall_clock_ms: int,
        schema_headers: Joined | None = None,
        keys: Joined | None = None,
        *,
        clamps: bool = True,
        skips_negative: bool = True,
    ) -> Decoded:
        """Decode the values of records, in order.

        The columns do not depend on the wall clock, so that a replay gets the same ones.

        Args:
            values: the records' values.
            kafka_timestamps_ms: one per record, -1 if it has none.
            wall_clock_ms: now, in milliseconds since 1970.
            schema_headers: the content of each record's `SCHEMA_HEADER`, if headers can name schemas; else None.
            keys: the records' keys, if ids can be keys; else None.
            clamps: whether events ahead of their records are taken at the records' Kafka timestamps.
            skips_negative: whether samples below 0 that are rounded to 0 are skipped, as all others below 0.
        """
        schemas = self._schemas
        schemas.refresh()
        frames, events = self._columns.of_size(values.text, len(values))
        frames.kafka_timestamps_ms[:] = kafka_timestamps_ms
        read_frames(
            values.text,
            values.sizes,
            self._framing,
            self._source.max_payload_bytes,
            frames.begins,
            frames.ends,
            frames.references,
            events.reject,
        )
        if schema_headers is not None and self._framing == CONFLUENT:
            self._read_headers(schema_headers, values.sizes, frames, events.reject)
        waiting = self._find_programs(frames, events.reject)
        scratch_at = len(values.text)
        if schemas.needs_scratch:
            text, scratch_at = self._with_room(values, keys, frames)
            events = events._replace(text=text)
        time = TimeRules(self._time_rule(clamps=clamps), self._source.max_future_ms)
        _, events = self._columns.decode(
            schemas.program_code,
            frames,
            events,
            time,
            scratch_at=scratch_at,
            makes_more=schemas.makes_more,
            skips_negative=skips_negative,
        )
        return self._decoded(values, events, frames, waiting, wall_clock_ms)

    def _with_room(self, values: Joined, keys: Joined | None, frames: Frames) -> tuple[Bytes, int]:
        """The text of the values, behind it that of the keys and room for ids; and where this room begins."""
        frames.key_sizes[:] = NO_KEY
        of_keys = joined([]).text if keys is None else keys.text
        scratch_at = len(values.text) + len(of_keys)
        text = np.empty(scratch_at + len(values) * SCRATCH_BYTES, np.uint8)
        text[: len(values.text)] = values.text
        text[len(values.text) : scratch_at] = of_keys
        if keys is not None:
            key_format = KEY_FORMATS[self._source.key_format]
            read_keys(text, keys.sizes, len(values.text), key_format, frames.key_begins, frames.key_sizes)
        return text, scratch_at

    def _time_rule(self, *, clamps: bool) -> int:
        if self._source.time == "kafka":
            return KAFKA_TIME
        return CLAMPED_TIME if clamps else UNCLAMPED_TIME

    def _find_programs(self, frames: Frames, reject: Bytes) -> int:
        """Assign programs to rows, asking once for new schemas; return the number of waiting rows."""
        schemas = self._schemas
        for is_last in (False, True):
            unresolved = find_programs(
                frames.references, schemas.known, schemas.entries, schemas.fallback, frames.entries, reject
            )
            if unresolved == 0 or is_last:
                break
            schemas.resolve(dict.fromkeys(frames.references[reject == WAITING].tolist()))
        return unresolved

    def _read_headers(self, headers: Joined, sizes: Ints, frames: Frames, reject: Bytes) -> None:
        """Rows whose headers name a schema: the payload is the whole value."""
        named = np.flatnonzero(headers.sizes != NULL_SIZE).tolist()
        for row, header in zip(named, headers.some(named), strict=True):
            if reject[row] in {Reject.NULL_VALUE, Reject.OVERSIZED}:
                continue
            try:
                found = header_reference(header or b"")
            except ValueError:
                reject[row] = Reject.BAD_FRAMING
                continue
            reject[row] = 0
            frames.begins[row] = frames.ends[row] - sizes[row]
            frames.references[row] = found if isinstance(found, int) else self._schemas.guid_reference(found)

    def _decoded(
        self, values: Joined, events: EventColumns, frames: Frames, unresolved: int, wall_clock_ms: int
    ) -> Decoded:
        count = len(events.reject)
        clock = np.empty(count, np.uint8)
        ahead = compare_with_clock(
            frames.kafka_timestamps_ms,
            events.timestamp_ms,
            events.reject,
            wall_clock_ms,
            self._source.max_future_ms,
            clock,
        )
        rejects = np.flatnonzero(events.reject)
        ignored, waiting = 0, count
        if len(rejects):
            reasons = events.reject[rejects]
            ignored = int(np.count_nonzero(reasons == IGNORED))
            if unresolved:
                waiting = int(rejects[reasons == WAITING][0])
            rejects = rejects[reasons < WAITING]
        return Decoded(
            events,
            waiting,
            ignored,
            rejects,
            clock,
            ahead,
            wall_clock_ms,
            frames.references,
            self._schemas,
            values,
            self._framing,
        )


def warm_up() -> None:
    """Compile the decoding kernels, or load them from the cache, before the first batch."""
    values, keys = joined([b"\0\0\0\0\1"]), joined([b""])
    for fields in (FieldSettings(), FieldSettings.model_validate({"stream_id": ["@key", "stream_id"]})):
        source = InputSettings(fields=fields)
        Intake(source, SchemaCache(source)).decode(values, [0], 0, keys=keys)
    time_of(keys.text, 0)


def _rejects(reject: Bytes) -> npt.NDArray[np.int64]:
    rows = np.flatnonzero(reject)
    return rows[reject[rows] < WAITING]
