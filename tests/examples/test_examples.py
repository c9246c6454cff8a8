"""The schemas, settings and records of `schemas/examples` work as `schemas/README.md` says, from its own folder."""

import io
import json
from pathlib import Path
from typing import NamedTuple

import fastavro
import pytest

from consumer.intake.schemas.pinned import schema_file
from consumer.settings.model import load_settings
from tests.cli.command import Ran, run_here

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "schemas/examples"


class Expected(NamedTuple):
    """How the records of an example are read, one by one, and what all summaries of them add up to."""

    read: tuple[str, ...]
    joins: int
    leaves: int
    bitrates: int
    bitrate_sum_bps: int
    stalls: int
    stall_ms: int


ALIVE = "heartbeat"
NO_BITRATE, NO_STALL = "bitrate_bps skipped: no number", "duration_ms skipped: no number"
EXPECTED = {
    "tracker": Expected(
        ("join", "bitrate 4300500 bit/s", f"{ALIVE}, {NO_BITRATE}", "ignored", "buffer 1500 ms", "leave"),
        *(1, 1, 1, 4_300_500, 1, 1_500),
    ),
    "cmcd": Expected(
        (
            "ignored",
            "join",
            f"bitrate 3200000 bit/s, {NO_STALL}",
            f"bitrate 3200000 bit/s, {NO_STALL}",
            "bitrate 800000 bit/s, buffer 2500 ms",
            f"{ALIVE}, {NO_BITRATE}, {NO_STALL}",
            "leave",
        ),
        *(1, 1, 3, 7_200_000, 1, 2_500),
    ),
    "epas": Expected(
        ("join", "ignored", "join", "bitrate 5200000 bit/s", ALIVE, "buffer 750 ms", ALIVE, "ignored", "leave"),
        *(1, 1, 1, 5_200_000, 1, 750),
    ),
    "clickstream": Expected(
        ("join", "bitrate 2500000 bit/s", "join", "buffer 750 ms", "ignored", "leave"),
        *(2, 1, 1, 2_500_000, 1, 750),
    ),
    "connect": Expected(
        ("join", "bitrate 3000000 bit/s, buffer 320 ms", f"bitrate 3000000 bit/s, {NO_STALL}", "leave"),
        *(1, 1, 2, 6_000_000, 1, 320),
    ),
    "union": Expected(
        ("join", "bitrate 1800000 bit/s, buffer 40 ms", f"buffer 0 ms, {NO_BITRATE}", "leave"),
        *(1, 1, 1, 1_800_000, 2, 40),
    ),
}


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of the documents are for the top folder."""
    monkeypatch.chdir(ROOT)


def settings_of(name: str) -> str:
    return f"schemas/examples/{name}/settings.toml"


def shown(capsys: pytest.CaptureFixture[str], name: str) -> Ran:
    folder = f"schemas/examples/{name}"
    records = f"{folder}/records.jsonl"
    return run_here(capsys, "schema", f"{folder}/event.avsc", "--config", settings_of(name), "--record", records)


def container(name: str, path: Path) -> str:
    """Write the records of an example as an Avro container."""
    text = (EXAMPLES / name / "records.jsonl").read_text(encoding="utf-8")
    source = load_settings(Path(settings_of(name)), (), {}).input
    schema = fastavro.parse_schema(schema_file(source.schemas[-1], source).parsed.inlined())
    reader = fastavro.json_reader(io.StringIO(text), schema)
    reader.options.update(return_record_name=True)  # else a record of a union may be written as another branch
    with path.open("wb") as file:
        fastavro.writer(file, schema, list(reader))
    return str(path)


def test_every_example_is_tested_and_listed() -> None:
    names = {path.name for path in EXAMPLES.iterdir()}
    assert names == EXPECTED.keys()
    document = (ROOT / "schemas/README.md").read_text(encoding="utf-8")
    assert all(f"](examples/{name}/settings.toml)" in document for name in names)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_settings_of_an_example_are_those_of_a_worker(capsys: pytest.CaptureFixture[str], name: str) -> None:
    ran = run_here(capsys, "config", "--config", settings_of(name))
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.parametrize("name", EXPECTED)
def test_the_schema_of_an_example_is_read_and_its_records_are_events(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    ran = shown(capsys, name)
    assert (ran.code, ran.err) == (0, "")
    assert "missing" not in ran.out.replace("missing_value", "")
    assert "unknown:" not in ran.out
    assert "not among its event types" not in ran.out
    rows = ran.out.splitlines()[-len(EXPECTED[name].read) :]
    assert [row[rows_begin(ran) :].strip() for row in rows] == list(EXPECTED[name].read)


def rows_begin(ran: Ran) -> int:
    """The column of `read as` in the table of records, which is the last."""
    header = next(line for line in reversed(ran.out.splitlines()) if line.endswith("  read as"))
    return header.index("read as")


@pytest.mark.parametrize("name", EXPECTED)
def test_all_records_of_an_example_count(capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str) -> None:
    file = container(name, tmp_path / "events.avro")
    ran = run_here(capsys, "aggregate", file, "--config", settings_of(name))
    assert ran.code == 0
    assert "REJECTED" not in ran.err
    summaries = [json.loads(line) for line in ran.out.splitlines()]

    def total(field: str) -> int:
        return sum(summary[field] for summary in summaries)

    expected = EXPECTED[name]
    assert (total("joins"), total("leaves")) == (expected.joins, expected.leaves)
    assert (total("bitrate_sample_count"), total("bitrate_sum_bps")) == (expected.bitrates, expected.bitrate_sum_bps)
    assert (total("buffer_event_count"), total("buffer_stall_ms")) == (expected.stalls, expected.stall_ms)
