"""The columns equal what fastavro reads, for any writer schema."""

import copy
import json
import random

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from consumer.intake.compiler.mapping import mapping_from
from consumer.intake.compiler.program import compile_program
from consumer.intake.compiler.schema_json import parse_schema_json
from consumer.intake.vm.columns import decode_block
from tests.intake.reference import Event, Judge, encode, row
from tests.intake.writers import Writer, WriterMaker

UNREADABLE = {"truncated", "trailing_bytes", "bad_number", "bad_length", "unknown_branch"}
LOWEST = b"\xff" * 9 + b"\x01"


def read_by_fastavro_alone(data: bytes, reject: str) -> bool:
    """Whether only fastavro reads it: numbers may overflow, index -1 is the last branch, -2^63 items are none."""
    return reject in {"bad_number", "unknown_branch"} or (reject == "bad_length" and LOWEST in data)


def decoded(writer: Writer, payloads: list[bytes]) -> list[Event]:
    """Decode each payload as its own block; a ValueError says that bytes are left after it."""
    program = compile_program(parse_schema_json(copy.deepcopy(writer.schema)), mapping_from(writer.source))
    found = []
    for payload in payloads:
        try:
            found.append(row(decode_block(program, payload, 1), 0))
        except ValueError:
            found.append(Event(reject="trailing_bytes"))
    return found


@settings(max_examples=250)
@given(seed=st.integers(0, 2**64))
def test_columns_equal_what_fastavro_reads(seed: int) -> None:
    maker = WriterMaker(random.Random(seed))
    writer = maker.writer()
    note(json.dumps(writer.schema))
    note(str(writer.source))
    payloads = [encode(writer.schema, maker.value(writer.schema)) for _ in range(12)]
    judge = Judge(writer.schema, writer.source)
    assert decoded(writer, payloads) == [judge.read(payload) for payload in payloads]


@settings(max_examples=60)
@given(seed=st.integers(0, 2**64))
def test_columns_of_records_back_to_back_equal_what_fastavro_reads(seed: int) -> None:
    maker = WriterMaker(random.Random(seed))
    writer = maker.writer()
    note(json.dumps(writer.schema))
    payloads = [encode(writer.schema, maker.value(writer.schema)) for _ in range(20)]
    program = compile_program(parse_schema_json(copy.deepcopy(writer.schema)), mapping_from(writer.source))
    events = decode_block(program, b"".join(payloads), len(payloads))
    judge = Judge(writer.schema, writer.source)
    assert [row(events, i) for i in range(len(payloads))] == [judge.read(payload) for payload in payloads]


@settings(max_examples=150)
@given(seed=st.integers(0, 2**64))
def test_damaged_payloads_are_read_as_fastavro_reads_them_or_rejected(seed: int) -> None:
    rng = random.Random(seed)
    maker = WriterMaker(rng)
    writer = maker.writer()
    note(json.dumps(writer.schema))
    judge = Judge(writer.schema, writer.source)
    payload = encode(writer.schema, maker.value(writer.schema))
    broken = [_broken(payload, rng) for _ in range(25)]
    for data, event in zip(broken, decoded(writer, broken), strict=True):
        judged = judge.read(data)
        if event.reject in UNREADABLE:
            assert judged is None or read_by_fastavro_alone(data, event.reject), (event, judged, data.hex())
        else:
            assert event == judged, data.hex()


@settings(max_examples=40)
@given(seed=st.integers(0, 2**64))
def test_a_truncated_payload_is_never_an_event(seed: int) -> None:
    maker = WriterMaker(random.Random(seed))
    writer = maker.writer()
    payload = encode(writer.schema, maker.value(writer.schema))
    cuts = [payload[:size] for size in range(min(len(payload), 60))]
    assert {event.reject for event in decoded(writer, cuts)} <= {"truncated", "bad_length"}


def _broken(payload: bytes, rng: random.Random) -> bytes:
    data = bytearray(payload)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(4):
            case 0 if at < len(data):
                data[at] = rng.randrange(256)
            case 1:
                data.insert(at, rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)]))
            case 2 if at < len(data):
                del data[at]
            case _ if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
    return bytes(data)


def test_bytes_after_the_last_record_of_a_block_are_an_error() -> None:
    maker = WriterMaker(random.Random(3))
    writer = maker.writer()
    payload = encode(writer.schema, maker.value(writer.schema))
    program = compile_program(parse_schema_json(copy.deepcopy(writer.schema)), mapping_from(writer.source))
    with pytest.raises(ValueError, match="1 bytes are left behind the last of 1 records"):
        decode_block(program, payload + b"\0", 1)


def test_records_after_an_unreadable_one_share_its_reason() -> None:
    maker = WriterMaker(random.Random(3))
    writer = maker.writer()
    payload = encode(writer.schema, maker.value(writer.schema))
    program = compile_program(parse_schema_json(copy.deepcopy(writer.schema)), mapping_from(writer.source))
    events = decode_block(program, payload + payload[:-1], 4)
    assert np.count_nonzero(events.reject[1:]) == 3
    assert len(set(events.reject[1:].tolist())) == 1
