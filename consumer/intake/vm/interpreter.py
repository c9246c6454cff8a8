"""Runs programs over many records in one buffer, straight into the columns."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from consumer.intake.compiler.mapping import (
    BITRATE_BPS,
    DURATION_MS,
    IGNORE_KIND,
    KAFKA_TIMESTAMP,
    STREAM_ID,
    TIMESTAMP_MS,
    TYPE,
    UNKNOWN_KIND,
    VIEWER_ID,
)
from consumer.intake.rejects import IGNORED, Reject
from consumer.intake.vm.frames import NO_KEY
from consumer.intake.vm.ids import KEY_FAULT, UNCHANGED, make_id
from consumer.intake.vm.instructions import (
    BAD_KEY,
    BLOCK,
    CLEAR_FIELD,
    CLEAR_SLOTS,
    DECIMAL,
    DIVISOR,
    DOUBLE,
    EMPTY,
    END,
    EXACT,
    FLOAT,
    GO,
    HELD,
    HIGH,
    HOLD,
    IF_KEY,
    INDEX,
    KEY,
    KIND,
    KIND_OF_BOOLEAN,
    KIND_OF_INDEX,
    KIND_OF_NUMBER,
    KIND_OF_TEXT,
    LAST_WITH_NUMBER,
    LITERAL,
    LOW,
    MAKE_ID,
    MAX_LOOP_DEPTH,
    NEXT_ITEM,
    OP,
    PICK,
    PLAIN_TEXT,
    SCALED_INTEGER,
    SKIP_SIZED,
    SLOTS,
    STORE_ID,
    STORE_NUMBER,
    STORE_PART,
    STORE_TIME,
    TEXT,
    TIMES,
    UNION,
    A,
    B,
)
from consumer.intake.vm.iso_time import read_time
from consumer.intake.vm.wire import MAX_ID_BYTES, id_fault, is_named, kind_of_text, read_bits, read_number
from consumer.runtime.jit import called, compiled, inlined, with_constants
from consumer.windows.events import BITRATE, BUFFER, MAX_ABS_TIMESTAMP_MS, SKIPPED_SHIFT

Ints = npt.NDArray[np.int64]
ShortInts = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

PAYLOAD_TIME = 0
"""Event time is in the payload; neither clamped nor rejected."""
UNCLAMPED_TIME = 1
"""Event time is in the payload; too far ahead of its record it is rejected. Rules version 1."""
KAFKA_TIME = 2
"""Event time is the Kafka timestamp."""
CLAMPED_TIME = 3
"""As 1, but an event that is ahead of its record is taken at the record's Kafka timestamp."""

NO_KAFKA_TIMESTAMP = -1

_TRUNCATED = int(Reject.TRUNCATED)
_TRAILING_BYTES = int(Reject.TRAILING_BYTES)
_BAD_LENGTH = int(Reject.BAD_LENGTH)
_UNKNOWN_BRANCH = int(Reject.UNKNOWN_BRANCH)
_MISSING_VALUE = int(Reject.MISSING_VALUE)
_UNKNOWN_EVENT_TYPE = int(Reject.UNKNOWN_EVENT_TYPE)
_OUT_OF_RANGE = int(Reject.OUT_OF_RANGE)
_NOT_FINITE = int(Reject.NOT_FINITE)
_TIMESTAMP_OUT_OF_RANGE = int(Reject.TIMESTAMP_OUT_OF_RANGE)
_FUTURE = int(Reject.FUTURE)
_BAD_TEXT = int(Reject.BAD_TEXT)
_EMPTY_ID = int(Reject.EMPTY_ID)
_ID_TOO_LONG = int(Reject.ID_TOO_LONG)
_BAD_KEY = int(Reject.BAD_KEY)
_BAD_TIME = int(Reject.BAD_TIME)
_TIME_WITHOUT_OFFSET = int(Reject.TIME_WITHOUT_OFFSET)
_TOO_SMALL = -1
_NO_SAMPLE = -1
_TOO_LARGE = -2


NO_ROOM = -2
"""Instead of a position: there is no room for the ids of a row."""

ROW, POSITION, SCRATCH = range(3)
"""Entries of `Workspace.progress`."""


class Workspace(NamedTuple):
    """Scratch space of the interpreter, which allocates nothing."""

    left: Ints
    """Items left, by loop depth."""
    bits: npt.NDArray[np.uint64]
    """The bytes of a float or a double; the next two are views of it."""
    single: npt.NDArray[np.float32]
    double: Floats
    progress: Ints
    """Where to begin: row, position and the first free byte for ids; where there was no room, to go on from there."""
    slot_form: Ints
    """What slots hold; `EMPTY` and so on."""
    slot_at: Ints
    slot_size: Ints
    """A text of the record; or a number, a literal's row, or a value and its fault."""


def workspace() -> Workspace:
    """Allocate scratch space."""
    bits = np.zeros(1, np.uint64)
    slots = (np.zeros(SLOTS, np.int64) for _ in range(3))
    return Workspace(
        np.zeros(MAX_LOOP_DEPTH, np.int64),
        bits,
        bits.view(np.float32),
        bits.view(np.float64),
        np.zeros(3, np.int64),
        *slots,
    )


@inlined
def converted(code: Ints, scales: Floats, pc: int, integer: int, real: float, skips_negative: bool) -> tuple[int, int]:
    """The converted number, and 0 or what is wrong: `_TOO_SMALL`, or the reject reason of other numbers.

    A sample is at least 0, and what is below 0 before it is scaled and rounded is too small: not so under rules
    version 2, where `skips_negative` is false.
    """
    way = code[pc, B]
    low = code[pc, LOW]
    high = code[pc, HIGH]
    if way == EXACT:
        if integer < low or integer > high:
            return 0, (_OUT_OF_RANGE if integer > high else _TOO_SMALL)
        number = integer * code[pc, TIMES]
        divisor = code[pc, DIVISOR]
        return (number if divisor == 1 else number // divisor), 0
    unscaled = float(integer) if way == SCALED_INTEGER else real
    if not np.isfinite(unscaled):
        return 0, _NOT_FINITE
    rounded = np.rint(unscaled * scales[pc])
    if rounded > high:
        return 0, _OUT_OF_RANGE
    if rounded < low or (skips_negative and low == 0 and unscaled < 0):
        return 0, _TOO_SMALL
    return int(rounded), 0


@inlined
def sample_of(number: int, fault: int) -> int:
    """A bitrate or a duration; negative if there is none: `_TOO_LARGE`, which rejects, or `_NO_SAMPLE`."""
    if fault == 0:
        return number
    return _TOO_LARGE if fault == _OUT_OF_RANGE else _NO_SAMPLE


@inlined
def held_against_record(timestamp: int, kafka_timestamp: int, time_rule: int, max_future: int) -> tuple[int, int]:
    """The time at which an event is taken, and 0 or the reject reason."""
    if timestamp <= kafka_timestamp or kafka_timestamp == NO_KAFKA_TIMESTAMP:
        return timestamp, 0
    # Compared by subtraction from the event's, which is in range: a Kafka timestamp can be any 64 bits.
    if timestamp - max_future > kafka_timestamp:
        return timestamp, _FUTURE
    if time_rule == UNCLAMPED_TIME:
        return timestamp, 0
    return kafka_timestamp, (0 if kafka_timestamp >= -MAX_ABS_TIMESTAMP_MS else _TIMESTAMP_OUT_OF_RANGE)


@inlined
def _kafka_time_fault(timestamp: int) -> int:
    """0, or the fault of a Kafka timestamp that is to be an event's time."""
    if timestamp == NO_KAFKA_TIMESTAMP:
        return _MISSING_VALUE
    # No abs: it maps the smallest number to itself.
    if timestamp > MAX_ABS_TIMESTAMP_MS or timestamp < -MAX_ABS_TIMESTAMP_MS:
        return _OUT_OF_RANGE
    return 0


@inlined
def _fault_of_event(facts: int, stream_bytes: int, viewer_bytes: int, time_fault: int) -> int:
    """0, or the reject reason of an event by what it lacks, or by its time."""
    if facts < 0:
        return _MISSING_VALUE
    if facts == UNKNOWN_KIND:
        return _UNKNOWN_EVENT_TYPE
    if stream_bytes < 0 or viewer_bytes < 0:
        return _BAD_KEY if (stream_bytes if stream_bytes < 0 else viewer_bytes) == KEY_FAULT else _MISSING_VALUE
    return _TIMESTAMP_OUT_OF_RANGE if time_fault in (_OUT_OF_RANGE, _TOO_SMALL) else time_fault


@inlined
def _without_samples(facts: int, missing: int, bitrate: int, duration: int) -> tuple[int, int]:
    """Facts with the bits of missing samples moved to those of skipped ones, and 0; or a fault: one is too large."""
    if (missing & BITRATE and bitrate == _TOO_LARGE) or (missing & BUFFER and duration == _TOO_LARGE):
        return facts, _OUT_OF_RANGE
    return facts - missing + (missing << SKIPPED_SHIFT), 0


@inlined
def _fault_of_ids(text: Bytes, stream_at: int, stream_bytes: int, viewer_at: int, viewer_bytes: int) -> int:
    """0, or the reject reason of the first id that is invalid."""
    fault = 0
    for is_viewer in range(2):  # one copy of the check in the machine code
        if fault == 0:
            fault = id_fault(text, viewer_at if is_viewer else stream_at, viewer_bytes if is_viewer else stream_bytes)
    return fault


@called
def _field_at_fault(
    fault: int,
    facts: int,
    text: Bytes,
    stream_at: int,
    stream_bytes: int,
    viewer_bytes: int,
    bitrate: int,
    time_rule: int,
) -> int:
    """The number of the field that a reject is about, from 1; 0 if it is about none."""
    if fault == _MISSING_VALUE:
        return 1 + _missing_field(facts, stream_bytes, viewer_bytes, time_rule)
    if fault == _BAD_KEY:
        return 1 + (STREAM_ID if stream_bytes < 0 else VIEWER_ID)
    if fault in (_BAD_TEXT, _EMPTY_ID, _ID_TOO_LONG):
        return 1 + (VIEWER_ID if id_fault(text, stream_at, stream_bytes) == 0 else STREAM_ID)
    if fault == _OUT_OF_RANGE:
        return 1 + (BITRATE_BPS if facts & BITRATE and bitrate == _TOO_LARGE else DURATION_MS)
    of_time = (_NOT_FINITE, _TIMESTAMP_OUT_OF_RANGE, _BAD_TIME, _TIME_WITHOUT_OFFSET)
    return 1 + TIMESTAMP_MS if fault in of_time else 0


@inlined
def _missing_field(facts: int, stream_bytes: int, viewer_bytes: int, time_rule: int) -> int:
    if facts < 0:
        return TYPE
    if stream_bytes < 0:
        return STREAM_ID
    if viewer_bytes < 0:
        return VIEWER_ID
    return KAFKA_TIMESTAMP if time_rule == KAFKA_TIME else TIMESTAMP_MS


@inlined
def kind_of_number(number: int, kinds: Ints, first: int, count: int) -> int:
    """The facts of the event type with this number."""
    for i in range(count):
        if kinds[first + 2 * i] == number:
            return int(kinds[first + 2 * i + 1])
    return UNKNOWN_KIND


@inlined
def first_held(slot_form: Ints, first: int, count: int) -> int:
    """The first of these slots that holds something, or -1."""
    for slot in range(first, first + count):
        if slot_form[slot] != EMPTY:
            return slot
    return -1


_ANY_OPERATION = True
"""Whether operations above `END` are compiled in. Without them a program that has none takes a fifth less time."""


def _decode_rows(  # noqa: C901, PLR0912, PLR0915  # an interpreter is one loop with a branch an operation
    # where the records are, as in Frames
    begins: Ints,
    ends: Ints,
    references: Ints,  # noqa: ARG001  # all of Frames is given
    entries: Ints,
    kafka_timestamps_ms: Ints,
    key_begins: Ints,
    key_sizes: Ints,
    # the columns, as in EventColumns
    text: Bytes,
    stream_start: Ints,
    stream_size: ShortInts,
    viewer_start: Ints,
    viewer_size: ShortInts,
    timestamp_ms: Ints,
    facts_column: Bytes,
    bitrate_bps: Ints,
    duration_ms: Ints,
    clamped_ms: Ints,
    reject: Bytes,
    reject_field: Bytes,
    # the programs, as in ProgramCode
    code: Ints,
    scales: Floats,
    jumps: Ints,
    kinds: Ints,
    names: Ints,
    name_text: Bytes,
    # scratch space, as in Workspace
    left: Ints,
    bits: npt.NDArray[np.uint64],
    single: npt.NDArray[np.float32],
    double: Floats,
    progress: Ints,
    slot_form: Ints,
    slot_at: Ints,
    slot_size: Ints,
    # rules
    time_rule: int,
    max_future: int,
    back_to_back: bool,
    skips_negative: bool,
) -> int:
    """Decode every row whose reject is 0; return the position behind the last record, or `NO_ROOM`.

    It begins where `progress` says. If there is no room for ids, that says where, to go on with a longer text.
    `back_to_back`: a record begins where the one before it ends, not at `begins`; where one can't be walked to its
    end, it and all behind it get that reason.
    """
    at = int(progress[POSITION]) if _ANY_OPERATION else 0
    free = int(progress[SCRATCH])
    for row in range(progress[ROW] if _ANY_OPERATION else 0, len(reject)):
        if reject[row] != 0:
            continue
        if not back_to_back:
            at = begins[row]
        begin = at
        end = ends[row]
        pc = entries[row]
        fault = 0
        integer = 0
        real = 0.0
        start = 0
        size = 0
        # A missing id or type is negative, a missing time is in time_fault; a sample is missed only by its own
        stream_at, stream_bytes = 0, -1
        viewer_at, viewer_bytes = 0, -1
        timestamp, time_fault = 0, _MISSING_VALUE
        bitrate = _NO_SAMPLE
        duration = _NO_SAMPLE
        facts = -1

        while True:
            op = code[pc, OP]
            if op <= LAST_WITH_NUMBER:
                at, integer = read_number(text, at, end)
                if at < 0:
                    fault = -at
                    break
                if op in (TEXT, SKIP_SIZED):
                    if integer < 0:
                        fault = _BAD_LENGTH
                        break
                    if integer > end - at:
                        fault = _TRUNCATED
                        break
                    start = at
                    size = integer
                    at += integer
                elif op == UNION:
                    if integer < 0 or integer >= code[pc, A]:
                        fault = _UNKNOWN_BRANCH
                        break
                    pc = jumps[code[pc, B] + integer]
                    continue
                elif op == INDEX:
                    if integer < 0 or integer >= code[pc, A]:
                        fault = _UNKNOWN_BRANCH
                        break
                elif op == BLOCK:
                    if integer == 0:
                        pc = code[pc, B]
                        continue
                    if integer > end - at or integer < at - end:
                        fault = _BAD_LENGTH
                        break
                    left[code[pc, A]] = abs(integer)
                    pc += 1 if integer < 0 else 2
                    continue
            elif op == STORE_ID:
                if code[pc, A] == STREAM_ID:
                    stream_at, stream_bytes = start, size
                else:
                    viewer_at, viewer_bytes = start, size
            elif op == STORE_NUMBER:
                number, number_fault = converted(code, scales, pc, integer, real, skips_negative)
                if code[pc, A] == TIMESTAMP_MS:
                    timestamp, time_fault = number, number_fault
                elif code[pc, A] == BITRATE_BPS:
                    bitrate = sample_of(number, number_fault)
                else:
                    duration = sample_of(number, number_fault)
            elif op == KIND:
                facts = code[pc, A]
            elif op == END:
                break
            elif op == GO:
                pc = code[pc, A]
                continue
            elif op == KIND_OF_INDEX:
                facts = kinds[code[pc, A] + integer]
            elif op == KIND_OF_TEXT:
                facts = kind_of_text(text, start, size, names, name_text, code[pc, A], code[pc, B])
                if facts < 0:
                    facts = UNKNOWN_KIND
            elif op == NEXT_ITEM:
                left[code[pc, A]] -= 1
                pc = code[pc, B] if left[code[pc, A]] > 0 else code[pc, B] - 2
                continue
            elif _ANY_OPERATION and op > END:
                arg = code[pc, A]
                if op == STORE_PART:
                    form = code[pc, B]
                    slot_form[arg] = form
                    slot_at[arg] = integer if form == DECIMAL else code[pc, LOW] + integer if form == LITERAL else start
                    slot_size[arg] = size
                elif op == MAKE_ID:
                    if free + MAX_ID_BYTES > len(text):
                        fault = NO_ROOM
                        break
                    made_at, made_bytes = make_id(text, free, code, pc, names, name_text, slot_form, slot_at, slot_size)
                    if made_at == free:
                        free += max(made_bytes, 0)
                    if made_bytes != UNCHANGED:
                        if arg == STREAM_ID:
                            stream_at, stream_bytes = made_at, made_bytes
                        else:
                            viewer_at, viewer_bytes = made_at, made_bytes
                    pc += code[pc, B]
                elif op == CLEAR_SLOTS:
                    for slot in range(arg, arg + code[pc, B]):
                        slot_form[slot] = EMPTY
                elif op == STORE_TIME:
                    timestamp, time_fault = read_time(text, start, size, arg)
                elif op == IF_KEY:
                    if not is_named(text, start, size, names, name_text, arg):
                        pc = code[pc, B]
                        continue
                elif op == KEY:
                    key_bytes = key_sizes[row]
                    slot_form[arg] = EMPTY if key_bytes == NO_KEY else BAD_KEY if key_bytes < 0 else PLAIN_TEXT
                    slot_at[arg] = key_begins[row]
                    slot_size[arg] = key_bytes
                elif op == KIND_OF_BOOLEAN:
                    facts = kinds[arg + (1 if text[start] != 0 else 0)]
                elif op == KIND_OF_NUMBER:
                    facts = kind_of_number(integer, kinds, arg, code[pc, B])
                elif op == HOLD:
                    slot_form[arg] = HELD
                    field = code[pc, B]
                    if field == TIMESTAMP_MS:
                        slot_at[arg], slot_size[arg] = timestamp, time_fault
                        time_fault = _MISSING_VALUE
                    elif field == BITRATE_BPS:
                        slot_at[arg] = bitrate
                        bitrate = _NO_SAMPLE
                    elif field == DURATION_MS:
                        slot_at[arg] = duration
                        duration = _NO_SAMPLE
                    else:
                        slot_at[arg] = facts
                        facts = -1
                elif op == PICK:
                    slot = first_held(slot_form, code[pc, B], code[pc, LOW])
                    if slot >= 0:
                        if arg == TIMESTAMP_MS:
                            timestamp, time_fault = slot_at[slot], slot_size[slot]
                        elif arg == BITRATE_BPS:
                            bitrate = slot_at[slot]
                        elif arg == DURATION_MS:
                            duration = slot_at[slot]
                        else:
                            facts = slot_at[slot]
                elif op == CLEAR_FIELD:
                    if arg == TIMESTAMP_MS:
                        time_fault = _MISSING_VALUE
                    elif arg == BITRATE_BPS:
                        bitrate = _NO_SAMPLE
                    elif arg == DURATION_MS:
                        duration = _NO_SAMPLE
                    else:
                        facts = -1
            else:  # bytes of a number of fixed size
                size = 4 if op == FLOAT else 8 if op == DOUBLE else code[pc, A]
                if size > end - at:
                    fault = _TRUNCATED
                    break
                if op in (FLOAT, DOUBLE):
                    bits[0] = read_bits(text, at, size)
                    real = float(single[0]) if op == FLOAT else double[0]
                start = at
                at += size
            pc += 1

        if _ANY_OPERATION and fault == NO_ROOM:
            progress[ROW] = row
            progress[POSITION] = begin
            progress[SCRATCH] = free
            return NO_ROOM
        if fault == 0 and not back_to_back and at != end:
            fault = _TRAILING_BYTES
        if fault != 0:
            if back_to_back:
                for rest in range(row, len(reject)):
                    reject[rest] = fault
                return -1
            reject[row] = fault
            continue
        if facts == IGNORE_KIND:
            reject[row] = IGNORED
            continue

        if time_rule == KAFKA_TIME:
            timestamp = kafka_timestamps_ms[row]
            time_fault = _kafka_time_fault(timestamp)
        fault = _fault_of_event(facts, stream_bytes, viewer_bytes, time_fault)
        if fault == 0:
            missing = facts & ((BITRATE if bitrate < 0 else 0) | (BUFFER if duration < 0 else 0))
            if missing:
                facts, fault = _without_samples(facts, missing, bitrate, duration)
        if fault == 0:
            fault = _fault_of_ids(text, stream_at, stream_bytes, viewer_at, viewer_bytes)
        taken = timestamp
        if fault == 0 and time_rule in (UNCLAMPED_TIME, CLAMPED_TIME):
            taken, fault = held_against_record(timestamp, kafka_timestamps_ms[row], time_rule, max_future)
        if fault != 0:
            reject[row] = fault
            reject_field[row] = _field_at_fault(
                fault, facts, text, stream_at, stream_bytes, viewer_bytes, bitrate, time_rule
            )
            continue
        stream_start[row] = stream_at
        stream_size[row] = stream_bytes
        viewer_start[row] = viewer_at
        viewer_size[row] = viewer_bytes
        timestamp_ms[row] = taken
        facts_column[row] = facts
        bitrate_bps[row] = bitrate
        duration_ms[row] = duration
        clamped_ms[row] = timestamp - taken
    return at


decode_any_rows = compiled(with_constants(_decode_rows, "decode_any_rows"))
decode_rows = compiled(with_constants(_decode_rows, "decode_rows", _ANY_OPERATION=False))
"""For programs without operations above `END`."""
