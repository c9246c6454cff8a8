"""Ids that are the keys of records: as text, and framed as a registry's serializers write them."""

from typing import Any

import numpy as np
import pytest

from consumer.intake.intake import Decoded, Intake, reads_keys
from consumer.intake.rejects import Reject
from consumer.intake.schemas.cache import SchemaCache
from consumer.kafka.batch import batch_of_records
from consumer.kafka.record import Record
from consumer.runtime.joined import joined
from consumer.settings.model import InputSettings
from tests.intake.payloads import NO_CLOCK_MS, confluent, framed_key, join, text
from tests.intake.reference import Event, row


def decode(keys: list[bytes | None] | None, fields: dict[str, Any], **settings: Any) -> Decoded:
    source = InputSettings.model_validate({"fields": fields, **settings})
    count = 1 if keys is None else len(keys)
    values = joined([confluent(join("s", "v", 7))] * count)
    return Intake(source, SchemaCache(source)).decode(
        values, [-1] * count, NO_CLOCK_MS, keys=None if keys is None else joined(keys)
    )


def events(keys: list[bytes | None] | None, fields: dict[str, Any], **settings: Any) -> list[Event]:
    decoded = decode(keys, fields, **settings)
    return [row(decoded.events, i) for i in range(len(decoded.events.reject))]


def test_an_id_may_be_the_key() -> None:
    found = events([b"a", "日本".encode(), b"b" * 200], {"stream_id": "@key"})
    assert [(event.stream_id, event.viewer_id) for event in found] == [("a", "v"), ("日本", "v"), ("b" * 200, "v")]


def test_a_key_may_be_a_part_or_an_alternative() -> None:
    fields: dict[str, Any] = {"stream_id": ["stream_id", "@key"], "viewer_id": {"first": ["@key", "viewer_id"]}}
    found = events([b"k|1", None], fields)
    assert [(event.stream_id, event.viewer_id, event.reject) for event in found] == [
        (r"s|k\|1", "k|1", ""),
        ("", "", "missing_value"),
    ]
    fields["stream_id"] = [{"path": "@key", "default": "none"}, "stream_id"]
    assert [(event.stream_id, event.viewer_id) for event in events([None], fields)] == [("none|s", "v")]


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (None, Reject.MISSING_VALUE),
        (b"", Reject.EMPTY_ID),
        (b"\xff", Reject.BAD_TEXT),
        (b"k" * 1_025, Reject.ID_TOO_LONG),
    ],
)
def test_a_key_that_is_no_id_rejects_and_the_message_names_the_field(key: bytes | None, reason: Reject) -> None:
    for field in ("stream_id", "viewer_id"):
        decoded = decode([key], {field: "@key"})
        assert (decoded.events.reject[0], decoded.explain(0).reason) == (reason, reason)
        assert decoded.explain(0).message.startswith(f"{field} ")


def test_a_framed_key_is_an_avro_string() -> None:
    keys = [framed_key("a"), framed_key("x" * 100, 70_000), framed_key("日本"), framed_key(b"\xff"), framed_key("")]
    found = events([*keys], {"stream_id": "@key"}, key_format="confluent")
    assert [event.stream_id for event in found] == ["a", "x" * 100, "日本", "", ""]
    assert [event.reject for event in found] == ["", "", "", "bad_text", "empty_id"]


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"plain text",
        b"\0\0\0\0\1",
        b"\1" + framed_key("a")[1:],
        framed_key("a")[:-1],
        framed_key("a") + b"x",
        b"\0\0\0\0\1\1",
        b"\0\0\0\0\1" + b"\xff" * 12,
        b"\0\0\0\0\1" + text("a")[:1],
    ],
)
def test_a_key_in_another_format_rejects_with_the_setting(key: bytes) -> None:
    decoded = decode([key, framed_key("a")], {"viewer_id": "@key"}, key_format="confluent")
    assert decoded.events.reject.tolist() == [Reject.BAD_KEY, 0]
    assert decoded.explain(0).message == "viewer_id is the record's key, which is not as input.key_format says"


def test_a_key_that_is_not_needed_may_be_of_any_format() -> None:
    found = events([b"plain"], {"stream_id": {"first": ["stream_id", "@key"]}}, key_format="confluent")
    assert found[0].stream_id == "s"


def test_keys_are_asked_for_only_if_an_id_may_be_one() -> None:
    with_keys: list[Any] = [{"stream_id": "@key"}, {"viewer_id": ["a", {"first": ["b", "@key"]}]}]
    for fields in with_keys:
        assert reads_keys(InputSettings.model_validate({"fields": fields}))
    without: list[Any] = [{}, {"stream_id": ["a", "b"]}]
    for fields in without:
        assert not reads_keys(InputSettings.model_validate({"fields": fields}))


def test_without_keys_such_an_id_is_missing() -> None:
    assert [event.reject for event in events(None, {"stream_id": "@key"})] == ["missing_value"]


def test_the_next_batch_does_not_see_the_keys_of_this_one() -> None:
    source = InputSettings.model_validate({"fields": {"stream_id": "@key"}})
    intake = Intake(source, SchemaCache(source))
    values = joined([confluent(join())] * 2)
    assert intake.decode(values, [-1, -1], NO_CLOCK_MS, keys=joined([b"a", b"b"])).events.reject.tolist() == [0, 0]
    again = intake.decode(values, [-1, -1], NO_CLOCK_MS)
    assert again.events.reject.tolist() == [Reject.MISSING_VALUE] * 2


def test_the_keys_of_a_batch_and_of_its_parts_are_columns() -> None:
    keys = [b"a", None, b"", b"long" * 40]
    batch = batch_of_records([Record(i // 2, i, 0, key, b"v", ()) for i, key in enumerate(keys)])
    assert batch.key_column().all() == keys
    assert [batch.part(run).key_column().all() for run in batch.runs] == [keys[:2], keys[2:]]
    assert batch.key_column().sizes.dtype == np.int64
