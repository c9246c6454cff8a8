"""Decode the records of a buffer into columns that are reused from batch to batch."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from consumer.intake.vm.frames import NO_KEY, Frames
from consumer.intake.vm.instructions import SCRATCH_BYTES, Program, ProgramCode
from consumer.intake.vm.interpreter import (
    NO_ROOM,
    PAYLOAD_TIME,
    Workspace,
    decode_any_rows,
    decode_rows,
    workspace,
)
from consumer.windows.events import EventColumns

Bytes = npt.NDArray[np.uint8]


class TimeRules(NamedTuple):
    """The source of event time, and how far it may be ahead of its record."""

    rule: int
    max_future_ms: int


NO_GUARD = TimeRules(PAYLOAD_TIME, 0)
"""Files have neither Kafka timestamps nor a guard against the future."""


_LEAST_ROOM = 1 << 12


class Columns:
    """Buffers for a batch: reused, and grown when a batch is larger."""

    def __init__(self, capacity: int = 1024) -> None:
        self._work: Workspace = workspace()
        self._grow(capacity)

    def _grow(self, capacity: int) -> None:
        self._capacity = capacity
        self._frames = Frames(*(np.zeros(capacity, np.int64) for _ in Frames._fields))
        self._frames.key_sizes[:] = NO_KEY
        no_text = np.zeros(0, np.uint8)
        self._events = EventColumns(
            text=no_text,
            stream_start=np.zeros(capacity, np.int64),
            stream_size=np.zeros(capacity, np.int32),
            viewer_start=np.zeros(capacity, np.int64),
            viewer_size=np.zeros(capacity, np.int32),
            timestamp_ms=np.zeros(capacity, np.int64),
            facts=np.zeros(capacity, np.uint8),
            bitrate_bps=np.zeros(capacity, np.int64),
            duration_ms=np.zeros(capacity, np.int64),
            clamped_ms=np.zeros(capacity, np.int64),
            reject=np.zeros(capacity, np.uint8),
            reject_field=np.zeros(capacity, np.uint8),
        )

    def of_size(self, text: Bytes, count: int) -> tuple[Frames, EventColumns]:
        """Columns of `count` rows over `text`; overwrites the previous batch."""
        if count > self._capacity:
            self._grow(max(count, 2 * self._capacity))
        frames = Frames(*(column[:count] for column in self._frames))
        held = self._events
        held.reject_field[:count] = 0
        return frames, EventColumns(
            text=text,
            stream_start=held.stream_start[:count],
            stream_size=held.stream_size[:count],
            viewer_start=held.viewer_start[:count],
            viewer_size=held.viewer_size[:count],
            timestamp_ms=held.timestamp_ms[:count],
            facts=held.facts[:count],
            bitrate_bps=held.bitrate_bps[:count],
            duration_ms=held.duration_ms[:count],
            clamped_ms=held.clamped_ms[:count],
            reject=held.reject[:count],
            reject_field=held.reject_field[:count],
        )

    def decode(
        self,
        program_code: ProgramCode,
        frames: Frames,
        events: EventColumns,
        time: TimeRules,
        *,
        scratch_at: int,
        makes_more: bool,
        back_to_back: bool = False,
        skips_negative: bool = True,
    ) -> tuple[int, EventColumns]:
        """Run the interpreter over rows whose reject is 0; see `decode_any_rows`.

        Returns its position, and the events: their text is a larger copy if ids needed more room than it had.
        """
        rest: tuple[Any, ...] = (*program_code, *self._work, *time, back_to_back, skips_negative)
        if not makes_more:
            return decode_rows(*frames, *_any(events), *rest), events
        self._work.progress[:] = (0, 0, scratch_at)
        while (end := decode_any_rows(*frames, *_any(events), *rest)) == NO_ROOM:
            more = np.empty(max(len(events.text) // 2, _LEAST_ROOM), np.uint8)
            events = events._replace(text=np.concatenate([events.text, more]))
        self._work.progress[:] = 0
        return end, events


def _any(columns: tuple[Any, ...]) -> tuple[Any, ...]:
    """Columns of several types, to be handed on one by one."""
    return columns


def decode_block(program: Program, buffer: bytes | bytearray | memoryview, count: int) -> EventColumns:
    """Decode `count` records that lie back to back, as in a block of a container file; no guard against the future.

    If a record cannot be decoded to its end, it and all behind it have the reason in `reject`.

    Raises:
        ValueError: bytes are left behind the last record.
    """
    room = count * SCRATCH_BYTES if program.needs_scratch else 0
    text = np.frombuffer(bytearray(buffer) + bytes(room), np.uint8)
    columns = Columns(count)
    frames, events = columns.of_size(text, count)
    frames.ends[:] = len(buffer)
    frames.entries[:] = program.entry
    end, events = columns.decode(
        program.program_code,
        frames,
        events,
        NO_GUARD,
        scratch_at=len(buffer),
        makes_more=program.makes_more,
        back_to_back=True,
    )
    if 0 <= end < len(buffer):
        raise ValueError(f"{len(buffer) - end} bytes are left behind the last of {count} records")
    return events
