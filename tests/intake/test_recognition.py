"""Rejected records of other framings: what they look like, and what to set."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.intake.intake import Intake
from consumer.intake.recognition import Looks, looks_like, recognize
from consumer.intake.rejects import Reject
from consumer.intake.schemas.cache import SchemaCache
from consumer.runtime.joined import joined
from consumer.settings.model import InputSettings
from tests.intake.payloads import NO_CLOCK_MS, confluent, join
from tests.intake.reference import Event, row

GLUE_UUID = bytes(range(16))
GUID = b"3fa85f6457174562b3fc2c963f66afa6"
AZURE = b"\0\0\0\0" + GUID + join()
APICURIO = b"\0" + (7).to_bytes(8, "big") + join()
RECORDS = {
    "confluent": confluent(join(), 7),
    "apicurio": APICURIO,
    "single-object": b"\xc3\x01" + bytes(8) + join(),
    "glue": b"\3\0" + GLUE_UUID + join(),
    "glue, compressed": b"\3\5" + GLUE_UUID + join(),
    "azure": AZURE,
    "container": b"Obj\x01\x04\x16avro.schema",
    "json": b'{"stream_id": "s"}',
}
SAYS = {
    "confluent": 'four-byte id of a schema registry; set input.format = "confluent"',
    "apicurio": 'eight-byte id of Apicurio; set input.format = "apicurio"',
    "single-object": 'single-object encoding; set input.format = "single-object"',
    "glue": "AWS Glue Schema Registry (header bytes 3 and 0, or 3 and 5), which is not read; let the producers",
    "glue, compressed": "AWS Glue Schema Registry",
    "azure": "Azure Schema Registry (four 0 bytes and a GUID as text), which is not read; with its newer serializers",
    "container": "whole Avro container file",
    "json": "JSON; on Kafka only Avro is read",
}


def explained(values: Sequence[bytes | None], **source: Any) -> list[tuple[Reject, str]]:
    chosen = InputSettings.model_validate(source)
    decoded = Intake(chosen, SchemaCache(chosen)).decode(joined(values), np.full(len(values), -1), NO_CLOCK_MS)
    one_of_each, kinds = decoded.kinds(decoded.rejects)
    assert len(decoded.rejects) == len(values)
    details = [decoded.explain(int(each)) for each in one_of_each[kinds]]
    assert details == [decoded.explain(each) for each in range(len(values))]
    return [(detail.reason, detail.message) for detail in details]


def test_each_kind_of_record_is_named_in_its_own_dead_letter() -> None:
    kinds = [kind for kind in RECORDS if kind != "confluent"]
    found = explained([RECORDS[kind] for kind in kinds] * 2)
    for kind, (reason, message) in zip(kinds * 2, found, strict=True):
        assert message.startswith(f"{reason.sentence}; it looks like ")
        assert SAYS[kind] in message, kind
    assert {reason for reason, _ in found} == {Reject.BAD_FRAMING, Reject.UNKNOWN_SCHEMA}


@pytest.mark.parametrize("form", ["apicurio", "single-object", "raw"])
@pytest.mark.parametrize("kind", RECORDS)
def test_other_formats_are_told_too_but_never_to_set_what_is_set(form: str, kind: str) -> None:
    ((reason, message),) = explained([RECORDS[kind]], format=form)
    if kind == form or (form == "raw" and kind in {"confluent", "apicurio"}):
        assert message == reason.sentence, "with raw, leading 0 bytes mean nothing"
    else:
        assert SAYS[kind] in message


def test_with_one_schema_for_every_id_the_payload_betrays_the_format() -> None:
    """The built-in schema as the one file: every id means it."""
    for kind in ("apicurio", "azure"):
        ((reason, message),) = explained([RECORDS[kind]], schemas="schemas/viewer_event.avsc")
        assert reason not in {Reject.BAD_FRAMING, Reject.UNKNOWN_SCHEMA}
        assert SAYS[kind] in message


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\0",
        b"\0\0\0\0\0",
        b"\3\0",
        b"\3\1" + GLUE_UUID + join(),
        b"Obj\2xxxxxxx",
        b"{",
        b"{x",
        b"\0\0\0\0" + GUID[:-1],
        b"\1" + AZURE[1:],
    ],
)
def test_what_only_begins_alike_is_not_guessed_at(value: bytes) -> None:
    ((reason, message),) = explained([value], format="confluent")
    assert message == reason.sentence


def test_rejects_for_what_an_event_says_have_nothing_to_do_with_framing() -> None:
    looks = recognize(joined([APICURIO]), np.array([Reject.OUT_OF_RANGE], np.uint8), np.array([0]), 0)
    assert looks.tolist() == [0]


def test_every_look_has_a_sentence_of_one_line() -> None:
    for looks in Looks:
        assert looks_like(looks).startswith("it looks like ")
        assert "\n" not in looks_like(looks)
    assert looks_like(0) == ""


@settings(max_examples=200)
@given(st.lists(st.one_of(st.none(), st.binary(max_size=50), st.sampled_from(list(RECORDS.values()))), max_size=20))
def test_no_bytes_stop_it_and_the_columns_agree_with_one_at_a_time(values: list[bytes | None]) -> None:
    reject = np.full(len(values), Reject.BAD_FRAMING, np.uint8)
    all_rows = np.arange(len(values))
    at_once = recognize(joined(values), reject, all_rows, 3).tolist()
    alone = [recognize(joined([value]), reject[:1], np.array([0]), 3).tolist()[0] for value in values]
    assert at_once == alone


def test_ids_of_eight_bytes_are_read_and_larger_ones_than_a_registry_gives_are_not() -> None:
    source = InputSettings.model_validate({"format": "apicurio", "ids": {2**31 - 1: "schemas/viewer_event.avsc"}})
    values = [
        b"\0" + number.to_bytes(8, "big") + join() for number in (2**31 - 1, 2**31, 2**63 + 1, 2**32 - 1, 2**32, 6)
    ] + [b"\0" + bytes(7), b"\1" + bytes(20)]
    decoded = Intake(source, SchemaCache(source)).decode(joined(values), np.full(len(values), -1), NO_CLOCK_MS)
    assert [row(decoded.events, i) for i in range(len(values))] == [
        Event("s", "v", 1_000),
        *[Event(reject="bad_framing")] * 4,
        Event(reject="unknown_schema"),
        *[Event(reject="bad_framing")] * 2,
    ]
    assert decoded.explain(5).schema == "id 6"
