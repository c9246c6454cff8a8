import io
from typing import Any

import fastavro
import pytest

from consumer.intake.files.containers import ContainerError, read_container
from consumer.intake.files.json_lines import Fault
from consumer.intake.rejects import Reject
from consumer.intake.schemas.builtin import load_builtin_schema
from consumer.settings.model import InputSettings
from tests.intake.files.test_json_lines import Row, rows_of

OURS = load_builtin_schema("viewer_event")
DEFAULT = InputSettings()

THEIRS = {
    "type": "record",
    "name": "Beacon",
    "fields": [
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["Started", "Beat", "Rate", "Ad"]}},
        {"name": "tags", "type": {"type": "map", "values": "string"}},
        {
            "name": "content",
            "type": {"type": "record", "name": "Content", "fields": [{"name": "id", "type": "string"}]},
        },
        {"name": "viewer", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "kbps", "type": ["null", "int"]},
    ],
}


def ours(timestamp_ms: int, kind: str = "ViewerJoin", stream_id: str = "s", **value: int) -> dict[str, Any]:
    return {
        "stream_id": stream_id,
        "viewer_id": "v",
        "timestamp_ms": timestamp_ms,
        "event": (f"viewer_consumer.{kind}", value),
    }


def container(schema: Any, records: list[dict[str, Any]], codec: str = "null") -> bytes:
    """Return a container with small blocks, so that there are several."""
    file = io.BytesIO()
    fastavro.writer(file, schema, records, codec=codec, sync_interval=100)
    return file.getvalue()


def read(data: bytes, source: InputSettings = DEFAULT) -> tuple[list[Row], list[Fault]]:
    batches = list(read_container(io.BufferedReader(io.BytesIO(data)), "a.avro", source))
    return [row for batch in batches for row in rows_of(batch)], [fault for batch in batches for fault in batch.faults]


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz"])
def test_records_are_read_from_every_block_and_common_codec(codec: str) -> None:
    records = [
        ours(-5),
        ours(7, "ViewerLeave"),
        ours(8, "BitrateReport", bitrate_bps=2**41),
        ours(9, "BufferEvent", duration_ms=2**32 - 1),
        ours(10, "ViewerHeartbeat"),
        ours(11, "PlaybackReport", bitrate_bps=0, duration_ms=1),
    ]
    rows, faults = read(container(OURS, records * 50, codec))
    assert faults == []
    assert (
        rows
        == [
            Row("s", "v", -5, "join"),
            Row("s", "v", 7, "leave"),
            Row("s", "v", 8, "bitrate", 2**41),
            Row("s", "v", 9, "buffer", None, 2**32 - 1),
            Row("s", "v", 10, "heartbeat"),
            Row("s", "v", 11, "bitrate buffer", 0, 1),
        ]
        * 50
    )


def test_the_settings_map_the_fields_of_a_foreign_schema() -> None:
    source = InputSettings.model_validate(
        {
            "fields": {
                "stream_id": "content.id",
                "viewer_id": "viewer",
                "timestamp_ms": "at",
                "type": "kind",
                "bitrate_bps": {"path": "kbps", "scale": 1000},
            },
            "events": {"join": ["Started", "Beat"], "bitrate": "Rate", "ignore": "Ad"},
        }
    )
    records = [
        {"kind": kind, "tags": {"a": "b"}, "content": {"id": "s"}, "viewer": "v", "at": 5_999, "kbps": kbps}
        for kind, kbps in (("Started", None), ("Beat", None), ("Rate", 3), ("Ad", None), ("Rate", None))
    ]
    rows, faults = read(container(THEIRS, records), source)
    assert rows == [
        Row("s", "v", 5, "join"),
        Row("s", "v", 5, "join"),
        Row("s", "v", 5, "bitrate", 3_000),
        Row("s", "v", 5, "heartbeat (bitrate)"),
    ]
    assert faults == []


def test_invalid_records_are_faults_with_their_number_in_the_file() -> None:
    records = [ours(i) for i in range(40)]
    records[9] = ours(9, stream_id="")
    records[33] = ours(2**52 + 1)
    rows, faults = read(container(OURS, records))
    assert [(fault.number, fault.reason, fault.detail) for fault in faults] == [
        (10, Reject.EMPTY_ID, "stream_id is empty"),
        (34, Reject.TIMESTAMP_OUT_OF_RANGE, Reject.TIMESTAMP_OUT_OF_RANGE.sentence),
    ]
    assert [row.timestamp_ms for row in rows] == [i for i in range(40) if i not in {9, 33}]
    assert {row.kinds for row in rows} == {"join"}


def test_a_container_without_records_gives_no_events() -> None:
    assert read(container(OURS, [])) == ([], [])


def test_every_truncation_is_an_error_except_between_blocks() -> None:
    data = container(OURS, [ours(i) for i in range(60)])
    between = {len(container(OURS, [])), len(data)}
    for block in fastavro.block_reader(io.BytesIO(data)):
        between.add(block.offset + block.size)
    assert len(between) > 3
    for size in range(4, len(data) + 1):
        if size in between:
            read(data[:size])
        else:
            with pytest.raises(ContainerError, match=r"^a\.avro: "):
                read(data[:size])


def test_a_schema_that_cannot_be_mapped_is_an_error_with_the_field() -> None:
    with pytest.raises(ContainerError, match=r'^a\.avro: schema "Beacon": stream_id: there is no field "stream_id"'):
        read(container(THEIRS, []))


def test_a_block_that_claims_more_records_than_it_has_bytes_is_damaged() -> None:
    data = container(OURS, [])
    sync = data[-16:]
    for count in (b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x01"):  # the largest number, and -1
        with pytest.raises(ContainerError, match=r"damaged"):
            read(data + count + b"\x02\x00" + sync)


def test_a_block_with_bytes_after_its_last_record_is_damaged() -> None:
    data = container(OURS, [ours(1)])
    header = len(container(OURS, []))
    record = data[header + 2 : -16]
    longer = data[:header] + b"\x02" + bytes([2 * (len(record) + 1)]) + record + b"\x00" + data[-16:]
    with pytest.raises(ContainerError, match=r"damaged: 1 bytes are left"):
        read(longer)


def test_records_of_a_container_have_no_keys() -> None:
    data = container(OURS, [ours(1)])
    for stream_id in ("@key", ["stream_id", "@key"]):
        source = InputSettings.model_validate({"fields": {"stream_id": stream_id}})
        with pytest.raises(ContainerError, match=r'a.avro: records of a file have no keys, so no id can be "@key"'):
            read(data, source)


def test_ids_of_a_container_may_be_joined_from_block_to_block() -> None:
    source = InputSettings.model_validate({"fields": {"stream_id": ["stream_id", "viewer_id"]}})
    rows, faults = read(container(OURS, [ours(i, stream_id="s" * (i % 900)) for i in range(2_000)]), source)
    assert [fault.reason for fault in faults] == []
    assert [row.stream_id for row in rows] == ["s" * (i % 900) + "|v" for i in range(2_000)]
