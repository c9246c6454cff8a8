"""`schema` shows what the settings find in a writer schema, and the first records as they read them."""

import io
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest

from tests.cli.command import Ran, run_here

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "PlayerEvent",
    "fields": [
        {
            "name": "kind",
            "type": {"type": "enum", "name": "Kind", "symbols": ["Started", "Ended", "Rate", "Ad", "Seek"]},
        },
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {
            "name": "content",
            "type": {
                "type": "record",
                "name": "Content",
                "fields": [
                    {"name": "id", "type": ["null", "string"]},
                    {"name": "tags", "type": {"type": "array", "items": "string"}},
                ],
            },
        },
        {"name": "player", "type": "string"},
        {"name": "kbps", "type": ["null", "int"]},
    ],
}
SETTINGS = """
[input.fields]
stream_id = "content.id"
viewer_id = "player"
timestamp_ms = "at"
bitrate_bps = { path = "kbps", scale = 1000 }
type = "kind"
[input.events]
join = "Started"
leave = ["Ended", "Stopped"]
bitrate = "Rate"
ignore = "Ad"
"""
EVENT = {"kind": "Started", "at": 1_790_000_000_000_000, "content": {"id": {"string": "show"}, "tags": []}}
EVENTS = [
    {**EVENT, "player": "p", "kbps": None},
    {**EVENT, "kind": "Rate", "player": "p", "kbps": {"int": 2500}},
    {**EVENT, "kind": "Rate", "player": "p", "kbps": None},
    {**EVENT, "kind": "Ad", "player": "p", "kbps": None},
    {**EVENT, "kind": "Seek", "player": "p", "kbps": None},
    {**EVENT, "player": "", "kbps": None},
]
READ = [
    "   stream_id  viewer_id  time                      read as",
    "1  show       p          2026-09-21T14:13:20.000Z  join",
    "2  show       p          2026-09-21T14:13:20.000Z  bitrate 2500000 bit/s",
    "3  show       p          2026-09-21T14:13:20.000Z  heartbeat, bitrate_bps skipped: no number",
    "4                                                  ignored",
    "5                                                  unknown_event_type: the event type is not in input.events",
    "6                                                  empty_id: viewer_id is empty",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "event.avsc").write_text(json.dumps(SCHEMA), encoding="utf-8")
    (tmp_path / "worker.toml").write_text(SETTINGS, encoding="utf-8")
    (tmp_path / "events.jsonl").write_text("\n".join(map(json.dumps, EVENTS)), encoding="utf-8")
    return tmp_path


def show(capsys: pytest.CaptureFixture[str], folder: Path, *more: str, file: str = "event.avsc") -> Ran:
    return run_here(capsys, "schema", str(folder / file), "--config", str(folder / "worker.toml"), *more)


def records() -> list[Any]:
    reader = fastavro.json_reader(io.StringIO("\n".join(map(json.dumps, EVENTS))), fastavro.parse_schema(SCHEMA))
    return list(reader)


def payload(record: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(SCHEMA), record)
    return out.getvalue()


def test_every_field_and_every_event_type_is_shown(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    ran = show(capsys, folder)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        'schema "PlayerEvent"',
        "",
        "field         path        read",
        "stream_id     content.id  a string, as text; null: rejected (missing_value)",
        "viewer_id     player      a string, as text",
        "timestamp_ms  at          a long (timestamp-micros), divided by 1000",
        "bitrate_bps   kbps        an int, times 1000; null: skipped",
        'duration_ms               missing: there is no field "event.duration_ms" or "duration_ms"',
        "type          kind        an enum, by its symbols",
        "",
        "event type  read as",
        "Started     join",
        "Ended       leave",
        "Rate        bitrate",
        "Ad          ignored",
        "Seek        unknown: its records are rejected (unknown_event_type)",
        "",
        "skipped: content.tags (array)",
        "",
        'not among its event types: input.events.leave: "Stopped"',
    ]


def test_a_schema_that_the_settings_cannot_read_is_shown_as_far_as_it_can_and_the_code_is_1(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    ran = show(capsys, folder, "--set", "input.fields.viewer_id=viewer.id")
    assert ran.code == 1
    assert 'viewer_id                 missing: there is no field "viewer.id"' in ran.out.splitlines()
    assert "skipped: content.tags (array), player (string)" in ran.out.splitlines()
    (line,) = ran.error_lines
    assert line == (
        f'error: {folder}/event.avsc: schema "PlayerEvent": viewer_id: there is no field "viewer.id"; '
        "set input.fields.viewer_id to the path of the field that holds it"
    )


def test_types_that_are_branches_of_a_union_say_which_samples_they_lack(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    def branch(name: str, *fields: dict[str, Any]) -> dict[str, Any]:
        return {"type": "record", "name": name, "namespace": "n", "fields": list(fields)}

    bitrate = {"name": "bitrate_bps", "type": ["long", "string"]}
    schema = {
        **branch("Event"),
        "fields": [
            {"name": "stream_id", "type": "string"},
            {"name": "viewer_id", "type": "bytes"},
            {"name": "timestamp_ms", "type": "double"},
            {"name": "event", "type": [branch("Report", bitrate), branch("Mute"), branch("Quiet")]},
        ],
    }
    (folder / "event.avsc").write_text(json.dumps(schema), encoding="utf-8")
    (folder / "worker.toml").write_text('[input.events]\nbitrate = ["Report", "n.Mute"]\nheartbeat = "Quiet"\n')
    lines = show(capsys, folder).out.splitlines()
    assert "timestamp_ms  timestamp_ms       a double, as it is" in lines
    assert "bitrate_bps   event.bitrate_bps  a long, as it is; a string: skipped" in lines
    assert lines[-3:] == [
        "n.Report    bitrate",
        "n.Mute      bitrate; bitrate_bps is not in it, so it is skipped",
        "n.Quiet     heartbeat",
    ]


def test_an_event_type_as_text_and_the_time_of_kafka(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    schema = {**SCHEMA, "fields": [{"name": "kind", "type": "string"}, *SCHEMA["fields"][2:]]}
    (folder / "event.avsc").write_text(json.dumps(schema), encoding="utf-8")
    lines = show(capsys, folder, "--set", "input.time=kafka").out.splitlines()
    assert 'timestamp_ms              the Kafka timestamp of the record (input.time = "kafka")' in lines
    assert "event types are text: those that input.events does not name are rejected (unknown_event_type)" in lines


def test_lines_of_json_are_decoded_as_a_table(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    lines = show(capsys, folder, "--record", str(folder / "events.jsonl")).out.splitlines()
    assert lines[-9:] == [f"the first 6 of {folder}/events.jsonl, as JSON lines", "", *READ]


@pytest.mark.parametrize("given_as", ["file", "record"])
def test_a_container_is_decoded_with_its_own_schema(
    capsys: pytest.CaptureFixture[str], folder: Path, given_as: str
) -> None:
    with (folder / "events.avro").open("wb") as file:
        fastavro.writer(file, fastavro.parse_schema(SCHEMA), records() * 2, sync_interval=40)
    container = str(folder / "events.avro")
    ran = (
        show(capsys, folder, file="events.avro") if given_as == "file" else show(capsys, folder, "--record", container)
    )
    lines = ran.out.splitlines()
    assert lines[0] == 'schema "PlayerEvent"'
    assert f"the first 10 of {container}, in an Avro container" in lines
    assert [line[2:].split() for line in lines[-10:-4]] == [line[1:].split() for line in READ[1:]]
    assert [line.split()[0] for line in lines[-10:]] == [str(number) for number in range(1, 11)]


def test_a_record_of_a_union_is_of_the_branch_that_its_line_names(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    fields: list[dict[str, Any]] = [{"name": name, "type": "string"} for name in ("stream_id", "viewer_id")]
    fields.append({"name": "timestamp_ms", "type": {"type": "long", "logicalType": "timestamp-millis"}})
    branches = [{"type": "record", "name": name, "fields": fields} for name in ("join", "leave")]
    (folder / "event.avsc").write_text(json.dumps(branches), encoding="utf-8")
    (folder / "worker.toml").write_text("", encoding="utf-8")
    event = {"leave": {"stream_id": "s", "viewer_id": "v", "timestamp_ms": -(2**52)}}
    (folder / "events.jsonl").write_text(json.dumps(event), encoding="utf-8")
    row = show(capsys, folder, "--record", str(folder / "events.jsonl")).out.splitlines()[-1]
    assert row.split(maxsplit=3)[:3] == ["1", "s", "v"]
    assert row.endswith(f"{-(2**52)} ms  leave")


def test_a_container_has_its_own_records(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    with (folder / "events.avro").open("wb") as file:
        fastavro.writer(file, fastavro.parse_schema(SCHEMA), records())
    ran = show(capsys, folder, "--record", str(folder / "events.jsonl"), file="events.avro")
    assert (ran.code, ran.out) == (2, "")
    assert ran.error_lines == [
        f"error: --record: {folder}/events.avro is an Avro container, whose own records are decoded"
    ]


@pytest.mark.parametrize(
    ("form", "prefix", "framing"),
    [
        ("confluent", b"\0\0\0\0\7", 'begins as input.format = "confluent" says'),
        ("confluent", b"", "without anything before the payload"),
        ("raw", b"", "without anything before the payload"),
    ],
)
def test_a_binary_record_is_decoded_with_or_without_its_framing(
    capsys: pytest.CaptureFixture[str], folder: Path, form: str, prefix: bytes, framing: str
) -> None:
    record = folder / "record.bin"
    record.write_bytes(prefix + payload(records()[1]))
    lines = show(capsys, folder, "--record", str(record), "--set", f"input.format={form}").out.splitlines()
    assert lines[-4:] == [f"{record}, {framing}", "", READ[0], READ[2].replace("2", "1", 1)]


def test_other_files_of_the_settings_do_not_matter_unless_it_names_their_types(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    other = {"type": "record", "name": "Other", "fields": [{"name": "a", "type": "int"}]}
    content = SCHEMA["fields"][2]
    (folder / "other.avsc").write_text(json.dumps(other), encoding="utf-8")
    (folder / "content.avsc").write_text(json.dumps(content["type"]), encoding="utf-8")
    fields = [{**each, "type": "Content"} if each is content else each for each in SCHEMA["fields"]]
    (folder / "event.avsc").write_text(json.dumps({**SCHEMA, "fields": fields}), encoding="utf-8")
    files = [str(folder / name) for name in ("other.avsc", "content.avsc", "event.avsc")]
    flags = ("--set", f"input.schemas={json.dumps(files)}", "--set", "input.format=single-object")
    ran = show(capsys, folder, "--record", str(folder / "events.jsonl"), *flags)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[-7:] == READ


def test_a_binary_record_of_another_schema_is_a_row_with_the_reason(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    record = folder / "record.bin"
    record.write_bytes(b"\xff\xff")
    ran = show(capsys, folder, "--record", str(record))
    assert ran.code == 0
    assert ran.out.splitlines()[-1].split(maxsplit=1) == ["1", "truncated: the payload ends inside a value"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.jsonl", None, "cannot be read: No such file or directory"),
        ("empty.jsonl", b"\n", "holds no records"),
        ("broken.jsonl", b"{\n", "is not a record of this schema in Avro's JSON encoding"),
        ("other.jsonl", b'{"a": 1}\n', "is not a record of this schema in Avro's JSON encoding"),
        ("bytes.jsonl", b"\xff\xfe", "is not UTF-8 text"),
        ("cut.avro", b"Obj\x01\x02", "the container is cut off or damaged"),
        ("large.bin", b"\0" * (2**20 + 1), "is no single record: it has more than 1048576 bytes"),
    ],
)
def test_records_that_cannot_be_read_are_one_line(
    capsys: pytest.CaptureFixture[str], folder: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (folder / name).write_bytes(content)
    ran = show(capsys, folder, "--record", str(folder / name))
    assert ran.code == 1
    (line,) = ran.error_lines
    assert line.startswith(f"error: {folder}/{name}")
    assert message in line


@pytest.mark.parametrize(
    ("name", "content"), [("none.avsc", None), ("broken.avsc", b"{"), ("other.avsc", b"[]"), ("cut.avro", b"Obj\x01")]
)
def test_a_schema_that_cannot_be_read_is_one_line(
    capsys: pytest.CaptureFixture[str], folder: Path, name: str, content: bytes | None
) -> None:
    if content is not None:
        (folder / name).write_bytes(content)
    ran = show(capsys, folder, file=name)
    assert ran.code == 1
    (line,) = ran.error_lines
    assert str(folder / name) in line
