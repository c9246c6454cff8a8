"""Write events to files of both formats, and run the command over them in this process."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import fastavro
import pytest

from consumer.cli.main import run_command
from tests.reference.facts import numbers_of

GOLDEN = Path(__file__).parents[1] / "golden"
SCHEMA = json.loads((Path(__file__).parents[2] / "schemas" / "viewer_event.avsc").read_text(encoding="utf-8"))

KINDS = {"J": "join", "L": "leave", "B": "bitrate", "S": "buffer", "H": "heartbeat"}
RECORDS = {
    "J": "ViewerJoin",
    "L": "ViewerLeave",
    "B": "BitrateReport",
    "S": "BufferEvent",
    "H": "ViewerHeartbeat",
    "BS": "PlaybackReport",
}


class Event(NamedTuple):
    stream_id: str
    viewer_id: str
    timestamp_ms: int
    kind: str
    value: int = 0
    stall_ms: int = 0


class Aggregated(NamedTuple):
    summaries: list[dict[str, Any]]
    view: dict[str, Any]
    stderr: str


def golden(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (GOLDEN / name).read_text(encoding="utf-8").splitlines()]


def write_json_lines(path: Path, events: Sequence[Event]) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for event in events:
            line = {
                "stream_id": event.stream_id,
                "viewer_id": event.viewer_id,
                "timestamp_ms": event.timestamp_ms,
                "type": [KINDS[letter] for letter in event.kind.upper()]
                if len(event.kind) > 1
                else KINDS[event.kind.upper()],
            }
            line |= numbers_of(event)
            file.write(json.dumps(line) + "\n")
    return path


def write_avro(path: Path, events: Sequence[Event], codec: str = "deflate") -> Path:
    names = {name["name"]: f"{SCHEMA['namespace']}.{name['name']}" for name in _union()}
    records = [
        {
            "stream_id": event.stream_id,
            "viewer_id": event.viewer_id,
            "timestamp_ms": event.timestamp_ms,
            "event": (names[RECORDS[event.kind.upper()]], numbers_of(event)),
        }
        for event in events
    ]
    with path.open("wb") as file:
        # Small blocks, so that a case has several.
        fastavro.writer(file, SCHEMA, records, codec=codec, sync_interval=500)
    return path


def aggregate(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, files: Sequence[Path], *arguments: str, **windows: int | str
) -> Aggregated:
    """Run `aggregate` with a view over the files; the keyword arguments are settings of `[windows]`."""
    view = tmp_path / "view.json"
    settings = [part for key, value in windows.items() for part in ("--set", f"windows.{key}={value}")]
    code = run_command(["aggregate", *map(str, files), "--view", str(view), "--force", *settings, *arguments])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    summaries = [json.loads(line) for line in printed.out.splitlines()]
    return Aggregated(summaries, json.loads(view.read_text(encoding="utf-8")), printed.err)


def _union() -> list[dict[str, Any]]:
    fields: list[dict[str, Any]] = SCHEMA["fields"]
    (union,) = [field["type"] for field in fields if field["name"] == "event"]
    return list(union)
