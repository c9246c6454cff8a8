import io
import json
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.simulate.batch import EMPTY, EventBatch
from consumer.simulate.encode import EventEncoder, avro_long
from consumer.simulate.schema import confluent_frame, event_schema, single_object_frame
from consumer.windows.events import (
    BITRATE,
    BUFFER,
    HEARTBEAT,
    JOIN,
    LEAVE,
    MAX_ABS_TIMESTAMP_MS,
    MAX_BITRATE_BPS,
    MAX_DURATION_MS,
)
from tests.simulate.audiences import MINUTE_MS, audience, run, steps

NAMES = {
    JOIN: "ViewerJoin",
    LEAVE: "ViewerLeave",
    BITRATE: "BitrateReport",
    BUFFER: "BufferEvent",
    HEARTBEAT: "ViewerHeartbeat",
    BITRATE | BUFFER: "PlaybackReport",
}
Drawn = tuple[int, int, int, int, int, int]
STREAM_IDS = ("channel-0001", "", "é日本の放送", "x" * 63, "x" * 64, "y" * 9_000, 'quote" and \\ and \n')

rows = st.tuples(
    st.integers(-MAX_ABS_TIMESTAMP_MS, MAX_ABS_TIMESTAMP_MS),
    st.integers(0, len(STREAM_IDS) - 1),
    st.integers(0, 2**62),
    st.sampled_from(list(NAMES)),
    st.integers(0, MAX_BITRATE_BPS),
    st.integers(0, MAX_DURATION_MS),
)


def batch(events: list[Drawn]) -> EventBatch:
    at, stream, viewer, facts, bitrate_bps, duration_ms = (
        np.array([one[i] for one in events], np.int64) for i in range(6)
    )
    return EventBatch(at, at, stream.astype(np.int32), viewer, facts.astype(np.uint8), bitrate_bps, duration_ms)


def record(encoder: EventEncoder, one: Drawn) -> dict[str, Any]:
    """Return the event as fastavro takes it; the viewer id is the encoder's own, which another test checks."""
    at, stream, _, facts, bitrate_bps, duration_ms = one
    viewer_id = json.loads(encoder.json_lines(batch([one])))["viewer_id"]
    body = {"bitrate_bps": bitrate_bps} if facts & BITRATE else {}
    body |= {"duration_ms": duration_ms} if facts & BUFFER else {}
    return {"stream_id": STREAM_IDS[stream], "viewer_id": viewer_id, "timestamp_ms": at, "event": (union(facts), body)}


def union(facts: int) -> str:
    schema = event_schema()
    namespace = schema.get("namespace")
    return f"{namespace}.{NAMES[facts]}" if namespace else NAMES[facts]


def written(events: list[dict[str, Any]]) -> list[bytes]:
    schema = fastavro.parse_schema(event_schema())
    out = []
    for event in events:
        file = io.BytesIO()
        fastavro.schemaless_writer(file, schema, event)
        out.append(file.getvalue())
    return out


@settings(max_examples=100)
@given(st.lists(rows, max_size=12))
def test_records_equal_those_of_fastavro(events: list[Drawn]) -> None:
    encoder = EventEncoder(STREAM_IDS, seed=5)
    assert encoder.avro(batch(events)) == written([record(encoder, one) for one in events])


def test_the_records_of_a_whole_audience_are_read_back() -> None:
    people = audience()
    ids = people.programme.stream_ids
    events = run(people, steps(2 * MINUTE_MS, 10_000))
    encoder = EventEncoder(ids, seed=7, frame=confluent_frame(9))
    schema = fastavro.parse_schema(event_schema())
    seen: list[Any] = []
    for message in encoder.avro(events):
        assert message[:5] == b"\x00\x00\x00\x00\x09"
        rest = io.BytesIO(message[5:])
        seen.append(fastavro.schemaless_reader(rest, schema, return_record_name=True))
        assert not rest.read()
    assert [one["stream_id"] for one in seen] == [ids[stream] for stream in events.stream]
    assert [round(one["timestamp_ms"].timestamp() * 1000) for one in seen] == events.timestamp_ms.tolist()
    assert [one["event"][0] for one in seen] == [union(facts) for facts in events.facts.tolist()]
    values = [next(iter(one["event"][1].values()), 0) for one in seen]
    assert values == (events.bitrate_bps + events.duration_ms).tolist()


def test_a_block_is_the_concatenated_records() -> None:
    people = audience()
    events = run(people, steps(10_000, 1_000))
    encoder = EventEncoder(people.programme.stream_ids, seed=7)
    data, ends = encoder.avro_block(events)
    assert data == b"".join(encoder.avro(events))
    assert ends[-1] == len(data)


def test_viewer_ids_are_unique_and_stable() -> None:
    encoder = EventEncoder(("a",), seed=1)
    many = batch([(0, 0, viewer, JOIN, 0, 0) for viewer in range(20_000)])
    ids = [json.loads(line)["viewer_id"] for line in encoder.json_lines(many).splitlines()]
    assert len(set(ids)) == 20_000
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in ids)
    assert json.loads(encoder.json_lines(batch([(5, 0, 77, LEAVE, 0, 0)])))["viewer_id"] == ids[77]
    other = EventEncoder(("a",), seed=2).json_lines(batch([(5, 0, 77, LEAVE, 0, 0)]))
    assert json.loads(other)["viewer_id"] != ids[77]


def test_json_lines_hold_exactly_the_fields_of_each_kind() -> None:
    encoder = EventEncoder(STREAM_IDS, seed=1)
    events = batch(
        [
            (1, 6, 1, JOIN, 0, 0),
            (2, 2, 1, LEAVE, 0, 0),
            (-3, 0, 1, BITRATE, 99, 0),
            (4, 1, 1, BUFFER, 0, 7),
            (5, 1, 1, HEARTBEAT, 0, 0),
            (6, 1, 1, BITRATE | BUFFER, 98, 8),
        ]
    )
    lines = [json.loads(line) for line in encoder.json_lines(events).splitlines()]
    viewer_id = lines[0]["viewer_id"]
    assert lines == [
        {"stream_id": STREAM_IDS[6], "viewer_id": viewer_id, "timestamp_ms": 1, "type": "join"},
        {"stream_id": STREAM_IDS[2], "viewer_id": viewer_id, "timestamp_ms": 2, "type": "leave"},
        {"stream_id": STREAM_IDS[0], "viewer_id": viewer_id, "timestamp_ms": -3, "type": "bitrate", "bitrate_bps": 99},
        {"stream_id": STREAM_IDS[1], "viewer_id": viewer_id, "timestamp_ms": 4, "type": "buffer", "duration_ms": 7},
        {"stream_id": STREAM_IDS[1], "viewer_id": viewer_id, "timestamp_ms": 5, "type": "heartbeat"},
        {
            "stream_id": STREAM_IDS[1],
            "viewer_id": viewer_id,
            "timestamp_ms": 6,
            "type": ["bitrate", "buffer"],
            "bitrate_bps": 98,
            "duration_ms": 8,
        },
    ]


def test_an_empty_batch_gives_no_bytes() -> None:
    encoder = EventEncoder(("a",), seed=1)
    assert encoder.avro(EMPTY) == []
    assert encoder.avro_block(EMPTY)[0] == b""
    assert encoder.json_lines(EMPTY) == ""


@pytest.mark.parametrize("number", [0, -1, 1, 63, 64, -64, -65, 2**31, -(2**63), 2**63 - 1])
def test_longs_equal_those_of_fastavro(number: int) -> None:
    file = io.BytesIO()
    fastavro.schemaless_writer(file, {"type": "long"}, number)
    assert avro_long(number) == file.getvalue()


def test_the_single_object_frame_equals_the_example_of_the_specification() -> None:
    # The example that implementations share: the fingerprint of "int" is 0x7275d51a3f395c8f, lowest byte first.
    assert single_object_frame({"type": "int"}) == bytes.fromhex("c301 8f5c393f1ad57572")
    assert confluent_frame(258) == b"\x00\x00\x00\x01\x02"
