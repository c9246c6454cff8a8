"""Every reason for a reject, reached from bytes; and values just inside the limits."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.intake.ahead import AHEAD, IN_TIME, UNDECIDED
from consumer.intake.compiler.mapping import mapping_from
from consumer.intake.compiler.program import compile_program
from consumer.intake.compiler.schema_json import parse_schema_text
from consumer.intake.intake import Decoded, Intake
from consumer.intake.rejects import Reject
from consumer.intake.schemas.builtin import builtin_schema_text
from consumer.intake.schemas.cache import SchemaCache
from consumer.intake.vm.columns import decode_block
from consumer.runtime.joined import joined
from consumer.settings.model import InputSettings
from consumer.windows.events import BITRATE, BUFFER, HEARTBEAT, JOIN, LEAVE
from tests.intake.payloads import (
    NO_CLOCK_MS,
    bitrate,
    buffer,
    confluent,
    double,
    heartbeat,
    join,
    leave,
    number,
    text,
)
from tests.intake.reference import SKIPPED_BITRATE, SKIPPED_STALL, Event, row

FLAT = {
    "type": "record",
    "name": "Flat",
    "fields": [
        {"name": "stream_id", "type": ["null", "string"]},
        {"name": "viewer_id", "type": "bytes"},
        {"name": "timestamp_ms", "type": ["null", "long"]},
        {"name": "type", "type": ["null", "string"]},
        {"name": "bitrate_bps", "type": ["null", "double"]},
        {"name": "duration_ms", "type": "float"},
    ],
}
NULL = number(0)
SOME = number(1)
ALIVE = Event("s", "v", 1, SKIPPED_BITRATE)
"""Its sample was skipped."""

FlatIntake = Callable[..., Intake]


def intake(**settings: Any) -> Intake:
    source = InputSettings.model_validate(settings)
    return Intake(source, SchemaCache(source))


@pytest.fixture
def flat(tmp_path: Path) -> FlatIntake:
    """Return an intake for raw records of the flat schema."""

    def make(**settings: Any) -> Intake:
        path = tmp_path / "flat.avsc"
        path.write_text(json.dumps(FLAT))
        return intake(format="raw", schemas=str(path), **settings)

    return make


def flat_record(kind: bytes, timestamp: bytes, bits: bytes) -> bytes:
    return SOME + text("s") + text("v") + timestamp + kind + bits + b"\0\0\0\0"


def only(decoded: Decoded) -> Event:
    assert len(decoded.events.reject) == 1
    assert decoded.waiting == 1
    return row(decoded.events, 0)


def decode(one: bytes | None, *, kafka_ms: int = -1, clock_ms: int = NO_CLOCK_MS, **settings: Any) -> Event:
    return only(intake(**settings).decode(joined([one]), [kafka_ms], clock_ms))


def test_events_of_every_kind_are_accepted() -> None:
    values = [
        confluent(one)
        for one in (join("Zürich", "v1"), leave(), bitrate(0), bitrate(2**41), buffer(0), buffer(2**32 - 1))
    ]
    decoded = intake().decode(joined(values), np.full(6, -1), NO_CLOCK_MS)
    assert decoded.waiting == 6
    assert len(decoded.rejects) == decoded.ignored == 0
    assert [row(decoded.events, i) for i in range(6)] == [
        Event("Zürich", "v1", 1_000, JOIN, 0),
        Event("s", "v", 1_000, LEAVE, 0),
        Event("s", "v", 1_000, BITRATE, 0),
        Event("s", "v", 1_000, BITRATE, 2**41),
        Event("s", "v", 1_000, BUFFER, 0),
        Event("s", "v", 1_000, BUFFER, 2**32 - 1),
    ]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (None, Reject.NULL_VALUE),
        (b"", Reject.BAD_FRAMING),
        (b"\0\0\0\1", Reject.BAD_FRAMING),
        (b"\1" + confluent(join())[1:], Reject.BAD_FRAMING),
        (b"\0\0\0\0\1", Reject.TRUNCATED),
        (confluent(join()[:-1]), Reject.TRUNCATED),
        (confluent(text("s") + number(2**40)), Reject.TRUNCATED),
        (confluent(b"\x80" * 9), Reject.TRUNCATED),
        (confluent(join() + b"\0"), Reject.TRAILING_BYTES),
        (confluent(b"\x80" * 11 + join()), Reject.BAD_NUMBER),
        (confluent(text("s") + text("v") + b"\xff" * 9 + b"\2" + NULL), Reject.BAD_NUMBER),
        (confluent(number(-1) + join()), Reject.BAD_LENGTH),
        (confluent(number(-(2**63)) + join()), Reject.BAD_LENGTH),
        (confluent(join()[:-1] + number(6)), Reject.UNKNOWN_BRANCH),
        (confluent(join()[:-1] + number(-1)), Reject.UNKNOWN_BRANCH),
        (confluent(join(b"\xff")), Reject.BAD_TEXT),
        (confluent(join("s", b"\xed\xa0\x80")), Reject.BAD_TEXT),
        (confluent(join("s", b"a\xc3")), Reject.BAD_TEXT),
        (confluent(join("")), Reject.EMPTY_ID),
        (confluent(join("s", "")), Reject.EMPTY_ID),
        (confluent(join("s" * 1025)), Reject.ID_TOO_LONG),
        (confluent(join("s", "v" * 1025)), Reject.ID_TOO_LONG),
        (confluent(bitrate(2**41 + 1)), Reject.OUT_OF_RANGE),
        (confluent(bitrate(2**63 - 1)), Reject.OUT_OF_RANGE),
        (confluent(buffer(2**32)), Reject.OUT_OF_RANGE),
        (confluent(join(timestamp_ms=2**52 + 1)), Reject.TIMESTAMP_OUT_OF_RANGE),
        (confluent(join(timestamp_ms=-(2**52) - 1)), Reject.TIMESTAMP_OUT_OF_RANGE),
        (confluent(join(timestamp_ms=-(2**63))), Reject.TIMESTAMP_OUT_OF_RANGE),
        (confluent(join(), schema_id=2), Reject.UNKNOWN_SCHEMA),
    ],
)
def test_the_built_in_schema_reaches_each_reason(record: bytes | None, reason: Reject) -> None:
    assert decode(record) == Event(reject=reason.label)


def test_ids_and_timestamps_at_their_limits_are_accepted() -> None:
    longest = confluent(join("s" * 1024, "é" * 512, 2**52))
    assert decode(longest) == Event("s" * 1024, "é" * 512, 2**52)
    assert decode(confluent(join(timestamp_ms=-(2**52)))).timestamp_ms == -(2**52)


def test_oversized_is_judged_by_the_whole_record() -> None:
    record = confluent(join())
    assert decode(record, max_payload_bytes=len(record)).reject == ""
    assert decode(record, max_payload_bytes=len(record) - 1).reject == "oversized"


def test_too_far_ahead_of_its_record_is_the_future() -> None:
    record = confluent(join(timestamp_ms=70_000))
    assert decode(record, kafka_ms=10_000).reject == ""
    assert decode(record, kafka_ms=9_999).reject == "future"
    assert decode(record, kafka_ms=69_999, max_future_ms=0).reject == "future"


def test_ahead_of_its_record_it_is_taken_at_the_records_time() -> None:
    record = confluent(join(timestamp_ms=70_000))
    assert decode(record, kafka_ms=70_000).timestamp_ms == 70_000
    assert decode(record, kafka_ms=69_999).timestamp_ms == 69_999
    assert decode(record, kafka_ms=10_000).timestamp_ms == 10_000
    assert decode(record, kafka_ms=80_000).timestamp_ms == 70_000
    assert decode(record, kafka_ms=-1, clock_ms=0).timestamp_ms == 70_000, "no record to hold it against"


def test_the_clock_of_this_machine_changes_no_column() -> None:
    record = confluent(join(timestamp_ms=70_000))
    for clock_ms in (0, 9_999, 70_000, NO_CLOCK_MS):
        assert decode(record, clock_ms=clock_ms) == Event("s", "v", 70_000)


@pytest.mark.parametrize(
    ("kafka_ms", "clock_ms", "code"),
    [
        (100_000, 39_999, AHEAD),
        (100_000, 40_000, UNDECIDED),
        (100_000, 69_999, UNDECIDED),
        (100_000, 70_000, IN_TIME),
        (-1, 9_999, AHEAD),  # by the event's time
        (-1, 10_000, UNDECIDED),
        (-1, 40_000, IN_TIME),
        (2**63 - 1, NO_CLOCK_MS, AHEAD),
        (-(2**63), 0, IN_TIME),
    ],
)
def test_records_are_compared_with_the_clock_by_their_kafka_timestamp_else_by_their_event(
    kafka_ms: int, clock_ms: int, code: int
) -> None:
    decoded = intake().decode(joined([confluent(join(timestamp_ms=70_000))]), [kafka_ms], clock_ms)
    assert (decoded.clock.tolist(), decoded.ahead) == ([code], int(code == AHEAD))


def test_a_record_without_any_time_says_nothing_about_the_clock() -> None:
    assert intake().decode(joined([b"", b""]), [-1, 10**12], 0).clock.tolist() == [UNDECIDED, AHEAD]


def test_without_clamping_an_event_keeps_its_time() -> None:
    record = confluent(join(timestamp_ms=70_000))
    for kafka_ms, reject in ((69_999, ""), (10_000, ""), (9_999, "future")):
        decoded = intake().decode(joined([record]), [kafka_ms], NO_CLOCK_MS, clamps=False)
        assert only(decoded) == (Event(reject=reject) if reject else Event("s", "v", 70_000))
        assert reject or decoded.events.clamped_ms[0] == 0


def test_files_are_neither_clamped_nor_rejected() -> None:
    far_ms = 2**52
    program = compile_program(parse_schema_text(builtin_schema_text("viewer_event")), mapping_from(InputSettings()))
    events = decode_block(program, join(timestamp_ms=far_ms), 1)
    assert (row(events, 0), events.clamped_ms[0]) == (Event("s", "v", far_ms), 0)


def test_with_kafka_time_the_records_timestamp_is_used() -> None:
    record = confluent(join(timestamp_ms=2**60))
    assert decode(record, kafka_ms=5, time="kafka") == Event("s", "v", 5)
    assert decode(record, kafka_ms=-1, time="kafka").reject == "missing_value"
    assert decode(record, kafka_ms=2**52 + 1, time="kafka").reject == "timestamp_out_of_range"
    assert decode(record, kafka_ms=60_001, clock_ms=0, time="kafka").timestamp_ms == 60_001, "the worker waits"


def test_extreme_kafka_timestamps_are_compared_without_overflow() -> None:
    record = confluent(join(timestamp_ms=5))
    assert decode(record, kafka_ms=2**63 - 1).reject == ""
    assert decode(record, kafka_ms=-(2**63)).reject == "future"
    earliest = confluent(join(timestamp_ms=-(2**52)))
    assert decode(earliest, kafka_ms=-(2**52) - 1).reject == "timestamp_out_of_range", "where it would be clamped to"
    for wild in (2**63 - 1, -(2**63), 2**52 + 1, -(2**52) - 1):
        assert decode(record, kafka_ms=wild, time="kafka").reject == "timestamp_out_of_range"


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (flat_record(SOME + text("join"), SOME + number(1), NULL), Event("s", "v", 1, JOIN)),
        (flat_record(SOME + text("bitrate"), SOME + number(1), SOME + double(2.5)), Event("s", "v", 1, BITRATE, 2)),
        (flat_record(SOME + text("bitrate"), SOME + number(1), SOME + double(3.5)), Event("s", "v", 1, BITRATE, 4)),
        (flat_record(SOME + text("bitrate"), SOME + number(1), SOME + double(-0.5)), ALIVE),
        (flat_record(SOME + text("bitrate"), SOME + number(1), SOME + double(-0.0)), Event("s", "v", 1, BITRATE, 0)),
        (flat_record(SOME + text("heartbeat"), SOME + number(1), NULL), Event("s", "v", 1, HEARTBEAT)),
        (flat_record(SOME + text("join"), SOME + number(1), SOME + double(float("nan"))), Event("s", "v", 1, JOIN)),
        (flat_record(SOME + text("bitrate"), SOME + number(1), NULL), ALIVE),
        (flat_record(SOME + text("bitrate"), SOME + number(1), SOME + double(-1.0)), ALIVE),
        (flat_record(SOME + text("bitrate"), SOME + number(1), SOME + double(-1e300)), ALIVE),
        (flat_record(SOME + text("bitrate"), SOME + number(1), SOME + double(1e300)), Event(reject="out_of_range")),
        (flat_record(SOME + text("bitrate"), SOME + number(1), SOME + double(float("nan"))), ALIVE),
        (flat_record(SOME + text("bitrate"), SOME + number(1), SOME + double(float("inf"))), ALIVE),
        (flat_record(SOME + text("bitrate"), SOME + number(1), SOME + double(float("-inf"))), ALIVE),
        (flat_record(NULL, SOME + number(1), NULL), Event(reject="missing_value")),
        (flat_record(SOME + text("join"), NULL, NULL), Event(reject="missing_value")),
        (NULL + flat_record(SOME + text("join"), SOME + number(1), NULL)[3:], Event(reject="missing_value")),
        (flat_record(SOME + text("dance"), SOME + number(1), NULL), Event(reject="unknown_event_type")),
        (flat_record(SOME + text("joi"), SOME + number(1), NULL), Event(reject="unknown_event_type")),
        (flat_record(SOME + text(""), SOME + number(1), NULL), Event(reject="unknown_event_type")),
    ],
)
def test_a_flat_schema_reaches_each_reason(flat: FlatIntake, record: bytes, expected: Event) -> None:
    assert only(flat().decode(joined([record]), [-1], NO_CLOCK_MS)) == expected


@pytest.mark.parametrize(
    ("payload", "facts"),
    [
        (bitrate(-1), SKIPPED_BITRATE),
        (bitrate(-(2**63)), SKIPPED_BITRATE),
        (buffer(-1), SKIPPED_STALL),
        (buffer(-(2**63)), SKIPPED_STALL),
        (heartbeat(), HEARTBEAT),
    ],
)
def test_an_event_whose_sample_is_no_number_is_a_sign_of_life(payload: bytes, facts: int) -> None:
    assert decode(confluent(payload)) == Event("s", "v", 1_000, facts)


@pytest.mark.parametrize(
    ("bits", "length", "facts", "samples"),
    [
        (double(5.0), 7.0, BITRATE | BUFFER, (5, 7)),
        (double(float("nan")), 7.0, SKIPPED_BITRATE | BUFFER, (7, 0)),
        (double(5.0), -0.25, BITRATE | SKIPPED_STALL, (5, 0)),
        (double(-1.0), float("inf"), SKIPPED_BITRATE | SKIPPED_STALL, (0, 0)),
    ],
)
def test_one_record_says_several_things(
    flat: FlatIntake, bits: bytes, length: float, facts: int, samples: tuple[int, int]
) -> None:
    names = {"bitrate": ["beat", "end"], "buffer": ["beat", "end"], "leave": "end", "heartbeat": "beat"}
    for kind, more in (("beat", 0), ("end", LEAVE)):
        record = flat_record(SOME + text(kind), SOME + number(1), SOME + bits)[:-4] + struct.pack("<f", length)
        found = only(flat(events=names).decode(joined([record]), [-1], NO_CLOCK_MS))
        assert found == Event("s", "v", 1, facts | more, *samples)


def test_a_sample_that_is_too_large_rejects_whatever_the_other_one_is(flat: FlatIntake) -> None:
    names = {"bitrate": "beat", "buffer": "beat"}
    record = flat_record(SOME + text("beat"), SOME + number(1), NULL)[:-4] + struct.pack("<f", 1e30)
    decoded = flat(events=names).decode(joined([record]), [-1], NO_CLOCK_MS)
    assert only(decoded) == Event(reject="out_of_range")
    assert decoded.explain(0).message.startswith("duration_ms is above its limit")


@pytest.mark.parametrize(("bits", "skipped", "before"), [(-0.4, True, 0), (-0.0, False, 0), (-400.0, True, None)])
def test_a_sample_is_judged_before_it_is_scaled_and_before_rules_version_3_behind_that(
    flat: FlatIntake, bits: float, skipped: bool, before: int | None
) -> None:
    fields = {"bitrate_bps": {"path": "bitrate_bps", "scale": 0.5}}
    record = flat_record(SOME + text("bitrate"), SOME + number(1), SOME + double(bits))
    now = flat(fields=fields).decode(joined([record]), [-1], NO_CLOCK_MS)
    assert only(now) == (ALIVE if skipped else Event("s", "v", 1, BITRATE, 0))
    earlier = flat(fields=fields).decode(joined([record]), [-1], NO_CLOCK_MS, skips_negative=False)
    assert only(earlier) == (ALIVE if before is None else Event("s", "v", 1, BITRATE, before))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (flat_record(NULL, SOME + number(1), NULL), "type is null or missing"),
        (flat_record(SOME + text("join"), NULL, NULL), "timestamp_ms is null or missing"),
        (NULL + flat_record(SOME + text("join"), SOME + number(1), NULL)[3:], "stream_id is null or missing"),
        (SOME + text("") + flat_record(SOME + text("join"), SOME + number(1), NULL)[3:], "stream_id is empty"),
        (
            SOME + text("s") + text(b"\xff") + flat_record(SOME + text("join"), SOME + number(1), NULL)[5:],
            "viewer_id is n",
        ),
        (flat_record(SOME + text("bitrate"), SOME + number(1), SOME + double(1e30)), "bitrate_bps is above its limit"),
    ],
)
def test_the_message_of_a_reject_names_the_field(flat: FlatIntake, record: bytes, message: str) -> None:
    decoded = flat().decode(joined([record]), [-1], NO_CLOCK_MS)
    assert decoded.explain(0).message.startswith(message)


def test_a_record_without_the_kafka_timestamp_that_is_its_time_says_so() -> None:
    decoded = intake(time="kafka").decode(joined([confluent(join())]), [-1], 0)
    assert decoded.explain(0).message == "the Kafka timestamp is null or missing"


def test_an_ignored_event_type_is_counted_and_not_rejected(flat: FlatIntake) -> None:
    values = [
        flat_record(SOME + text("ping"), NULL, NULL),
        flat_record(SOME + text("dance"), NULL, NULL),
        flat_record(SOME + text("join"), SOME + number(1), NULL),
    ]
    decoded = flat(events={"ignore": "ping"}).decode(joined(values), [-1] * 3, NO_CLOCK_MS)
    assert decoded.ignored == 1
    assert decoded.rejects.tolist() == [1]
    assert [row(decoded.events, i).reject for i in range(3)] == ["ignored", "unknown_event_type", ""]


def test_a_record_of_an_ignored_type_must_still_be_complete(flat: FlatIntake) -> None:
    record = flat_record(SOME + text("ping"), NULL, NULL)
    ignoring = flat(events={"ignore": "ping"})
    assert only(ignoring.decode(joined([record[:-1]]), [-1], 0)).reject == "truncated"
    assert only(ignoring.decode(joined([record + b"\0"]), [-1], 0)).reject == "trailing_bytes"


def test_a_reject_has_an_explanation() -> None:
    decoded = intake().decode(
        joined([confluent(join()), None, confluent(join(), 7), confluent(join(""))]), [-1] * 4, 10**6
    )
    assert decoded.rejects.tolist() == [1, 2, 3]
    details = [decoded.explain(i) for i in decoded.rejects.tolist()]
    assert [one.reason for one in details] == [Reject.NULL_VALUE, Reject.UNKNOWN_SCHEMA, Reject.EMPTY_ID]
    assert [one.schema for one in details] == ["", "id 7", "id 1"]
    assert details[2].message == "stream_id is empty"


REJECTS = (None, b"\1", confluent(join(), 7), confluent(join(), 8), confluent(join(""), 1), confluent(join()[:-1], 1))


@given(st.lists(st.sampled_from(REJECTS), min_size=1))
def test_rejects_of_one_kind_share_one_explanation(values: list[bytes | None]) -> None:
    decoded = intake().decode(joined(values), [-1] * len(values), 10**6)
    explained = [decoded.explain(row) for row in range(len(values))]
    one_of_each, kinds = decoded.kinds(decoded.rejects)
    assert [decoded.explain(row) for row in one_of_each[kinds].tolist()] == explained
    # Rejects that name no schema are of one kind too, whatever their columns held before.
    assert len(one_of_each) == len(set(values))


def test_an_empty_batch_is_accepted() -> None:
    decoded = intake().decode(joined([]), [], 0)
    assert decoded.waiting == decoded.ignored == len(decoded.rejects) == len(decoded.events.reject) == 0


def test_batches_of_any_size_reuse_the_same_columns() -> None:
    one = intake()
    for size in (1, 5_000, 3, 20_000, 0, 7):
        decoded = one.decode(
            joined([confluent(join(timestamp_ms=i)) for i in range(size)]), np.full(size, -1), NO_CLOCK_MS
        )
        assert decoded.events.timestamp_ms.tolist() == list(range(size))
        assert not decoded.events.reject.any()


def test_text_of_binary_uuids_is_stored_after_the_batch(tmp_path: Path) -> None:
    uuid = {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}
    schema = {
        "type": "record",
        "name": "E",
        "fields": [
            {"name": "viewer_id", "type": uuid},
            {"name": "timestamp_ms", "type": "long"},
            {"name": "stream_id", "type": "string"},
            {"name": "type", "type": "string"},
        ],
    }
    (tmp_path / "uuid.avsc").write_text(json.dumps(schema))
    one = intake(format="raw", schemas=str(tmp_path / "uuid.avsc"))
    for size in (3, 1, 2_000):
        ids = [UUID(int=2**100 * i) for i in range(size)]
        values: list[bytes | None] = [i.bytes + number(7) + text("s") + text("join") for i in ids]
        decoded = one.decode(joined(values), np.full(size, -1), NO_CLOCK_MS)
        assert [row(decoded.events, i) for i in range(size)] == [Event("s", str(i), 7) for i in ids]


def test_every_reason_has_an_explanation() -> None:
    assert all(reason.sentence and reason.label == reason.name.lower() for reason in Reject)
    assert all(0 < reason < 254 for reason in Reject)


@given(
    times=st.lists(
        st.tuples(
            st.integers(-(2**52), 2**52) | st.integers(0, 300_000),
            st.sampled_from([-1, 2**63 - 1, -(2**63)]) | st.integers(-(2**53), 2**53) | st.integers(0, 300_000),
        ),
        min_size=1,
        max_size=50,
    ),
    max_future_ms=st.sampled_from([0, 1, 60_000, 2**40]),
    clamps=st.booleans(),
)
def test_clamping_in_compiled_code_is_that_of_plain_python(
    times: list[tuple[int, int]], max_future_ms: int, clamps: bool
) -> None:
    values = [confluent(join(timestamp_ms=timestamp_ms)) for timestamp_ms, _ in times]
    stamps = [stamp for _, stamp in times]
    decoded = intake(max_future_ms=max_future_ms).decode(joined(values), stamps, 0, clamps=clamps)
    for i, (timestamp_ms, stamp) in enumerate(times):
        taken_ms = timestamp_ms if stamp == -1 or not clamps else min(timestamp_ms, stamp)
        if stamp != -1 and timestamp_ms > stamp + max_future_ms:
            assert row(decoded.events, i).reject == "future"
        elif taken_ms < -(2**52):
            assert row(decoded.events, i).reject == "timestamp_out_of_range"
        else:
            assert row(decoded.events, i) == Event("s", "v", taken_ms)
            assert decoded.events.clamped_ms[i] == timestamp_ms - taken_ms
