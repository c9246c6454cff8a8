"""Streams that are the keys of records, read from a real broker by every reader."""

import time
from collections import Counter

import pytest

from consumer.settings.field_sources import FieldSettings
from tests.end_to_end.events import encoded
from tests.end_to_end.stage import INPUT, Record, counted, running, stage
from tests.intake.payloads import framed_key
from tests.reference.events_counting import Event, Rules

RULES = Rules(window_duration_ms=5_000, bucket_ms=1_000, grace_ms=0)
JOINS = {"one": 3, "two|2": 5}


@pytest.mark.parametrize("key_format", ["text", "confluent"])
def test_streams_are_the_keys_of_their_records(bootstrap_servers: str, key_format: str) -> None:
    begin_ms = time.time_ns() // 1_000_000_000 * 1_000 - 10_000
    keys = {name: name.encode() if key_format == "text" else framed_key(name) for name in JOINS}
    fields = FieldSettings.model_validate({"stream_id": "@key"})
    source = INPUT.model_copy(update={"fields": fields, "key_format": key_format})
    with stage(bootstrap_servers, 2, RULES) as kafka:
        for name, joins in JOINS.items():
            kafka.write(Record(keys[name], encoded(Event("not this", "J", begin_ms))) for _ in range(joins))
        kafka.write([Record(None, encoded(Event("not this", "J", begin_ms)), partition=0)])
        for end_ms in (begin_ms + 2_000, begin_ms + 4_000):  # by a second worker, too
            kafka.write(Record(key, encoded(Event("not this", "L", end_ms))) for key in keys.values())
            with running(kafka.settings(source)) as service:
                kafka.wait_until_all_is_committed()
                rejected = counted(service, "rejects_total", reason="missing_value")
            assert rejected == (end_ms == begin_ms + 2_000), "the record without a key, once"
        counts: Counter[str] = Counter()
        for summary in kafka.summaries():
            counts[summary["stream_id"]] += summary["joins"]
        (dead_letter,) = kafka.dead_letters()
    assert counts == JOINS
    assert dead_letter.key() is None
