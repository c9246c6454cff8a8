"""A worker whose streams are the keys of records: live, held back, and replayed."""

import pytest

from consumer.settings.field_sources import FieldSettings
from tests.intake.payloads import confluent, framed_key, join
from tests.worker.rig import BUCKET_MS, INTERVAL_S, Rig


def rig_by_key(key_format: str = "text") -> Rig:
    rig = Rig(fields=FieldSettings.model_validate({"stream_id": ["@key", "stream_id"]}))
    source = rig.settings.input.model_copy(update={"key_format": key_format})
    rig.settings = rig.settings.model_copy(update={"input": source})
    rig.worker = rig._new_worker()
    return rig.start()


def write(rig: Rig, bucket: int, key: bytes | None) -> None:
    value = confluent(join("s", timestamp_ms=bucket * BUCKET_MS + 1))
    rig.cluster.write(0, value, rig.clock.now_ms(), key)


def streams(rig: Rig) -> set[str]:
    return {each["stream_id"] for each in rig.summaries()}


@pytest.mark.parametrize("key_format", ["text", "confluent"])
def test_streams_are_keys_and_a_replay_has_the_same(key_format: str) -> None:
    rig = rig_by_key(key_format)
    keys = [b"a", b"b|c"] if key_format == "text" else [framed_key("a"), framed_key("b|c")]
    rig.turn(1.1, times=2)  # a partition's first commit is a checkpoint, behind which nothing is replayed
    start = rig.clock.now_ms() // BUCKET_MS - 9
    for bucket in (start, start + 1):
        for key in keys:
            write(rig, bucket, key)
    rig.turn(INTERVAL_S, times=3)
    rig.kill()
    assert rig.counted("replayed_records_total") == 4
    assert (rig.worker._restoring.reason, rig.board.latest().stopped) == ("", 0)
    for key in keys:
        write(rig, start + 8, key)
    rig.turn(INTERVAL_S, times=3)
    assert streams(rig) == {"a|s", r"b\|c|s"}
    published = [(each["stream_id"], each["bucket_start_ms"]) for each in rig.summaries()]
    assert len(published) == len(set(published)), "none is published twice"


def test_a_record_without_a_key_is_a_dead_letter_that_names_the_field() -> None:
    rig = rig_by_key()
    write(rig, rig.clock.now_ms() // BUCKET_MS, None)
    rig.turn(INTERVAL_S, times=3)
    (letter,) = [each for each in rig.cluster.published if each.topic == rig.settings.kafka.dead_letter_topic]
    headers = dict(letter.headers)
    assert headers["__streams.errors.exception"] == b"missing_value"
    assert headers["__streams.errors.message"] == b"stream_id is null or missing"
