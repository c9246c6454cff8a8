"""`config` and `run` report all settings that cannot work on this machine, at once, one line each."""

from pathlib import Path

import pytest

from consumer.intake.schemas.builtin import builtin_schema_text
from consumer.kafka import msk_iam
from tests.cli.command import Ran, run_here


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(params=["config", "run"])
def command(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def refused(capsys: pytest.CaptureFixture[str], command: str, config: Path) -> list[str]:
    ran: Ran = run_here(capsys, command, "--config", str(config))
    assert (ran.code, ran.out) == (2, "")
    prefix = f"error: {config}: "
    assert all(line.startswith(prefix) for line in ran.error_lines)
    return [line.removeprefix(prefix) for line in ran.error_lines]


def test_every_error_of_every_kind_is_reported_at_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    config = written(
        tmp_path / "worker.toml",
        f"""
        [kafka]
        bootstrap_servers = "http://kafka:9092"
        output_topic = "viewer-events"
        client = {{ "sesion.timeout.ms" = 1, "acks" = 1, "ssl.key.location" = "{tmp_path}/none.pem" }}
        [input]
        ids = {{ 7 = "{tmp_path}/none.avsc", 8 = "{tmp_path}" }}
        [input.fields]
        stream_id = "$.a"
        """,
    )
    lines = refused(capsys, command, config)
    assert [line.split(": ")[0] for line in lines] == [
        "kafka.bootstrap_servers",
        "input.fields.stream_id.path",
        "kafka.output_topic",
        "kafka.client.acks",
        "kafka.client.ssl.key.location",
        "kafka.client.sesion.timeout.ms",
        "kafka.client.ssl.key.location",
        "input.ids.7",
        "input.ids.8",
    ]
    assert lines[-3:] == [
        f"kafka.client.ssl.key.location: {tmp_path}/none.pem: cannot be read: No such file or directory",
        f"input.ids.7: {tmp_path}/none.avsc: cannot be read: No such file or directory",
        f"input.ids.8: {tmp_path}: cannot be read: Is a directory",
    ]


def test_a_schema_that_the_settings_cannot_read_is_an_error_for_each_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    builtin = written(tmp_path / "builtin.avsc", builtin_schema_text("viewer_event"))
    broken = written(tmp_path / "broken.avsc", "{")
    config = written(
        tmp_path / "worker.toml",
        f'[input]\nids = {{ 7 = "{builtin}", 8 = "{broken}" }}\n[input.fields]\nviewer_id = "player.id"\n',
    )
    lines = refused(capsys, command, config)
    assert [line.split(": ")[0] for line in lines] == ["input.ids.7", "input.ids.8"]
    assert lines[0].startswith(f"input.ids.7: schema file {builtin}: ")
    assert 'viewer_id: there is no field "player.id"; set input.fields.viewer_id to the path' in lines[0]
    assert "is not JSON" in lines[1]


def test_where_nothing_names_a_schema_a_mapping_is_one_of_the_built_in_schema(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    config = written(tmp_path / "worker.toml", '[input.fields]\nstream_id = "content.id"\n')
    (line,) = refused(capsys, command, config)
    assert line.startswith(
        "input.fields: without input.schemas, input.ids and a registry the built-in schema is read: "
    )


def test_certificates_of_the_registry_are_looked_at(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    empty = written(tmp_path / "empty.pem", "")
    config = written(
        tmp_path / "worker.toml",
        f'[input]\nschema_registry_url = "https://registry"\nschema_registry_ca_file = "{empty}"\n',
    )
    assert refused(capsys, command, config) == [f"input.schema_registry_ca_file: {empty}: holds no certificates"]


def test_a_log_in_whose_package_is_missing_is_an_error_with_the_command_that_installs_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(msk_iam, "find_spec", lambda _: None)
    config = written(tmp_path / "worker.toml", '[kafka]\nmsk_iam_region = "eu-central-1"\n')
    (line,) = refused(capsys, command, config)
    assert line == (
        'kafka.msk_iam_region: needs a package that is not installed: run pip install "viewer-consumer[msk-iam]"'
    )


def test_commands_that_read_no_records_need_no_schema_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    events = written(tmp_path / "events.jsonl", "")
    ran = run_here(capsys, "aggregate", str(events), "--set", f"input.ids={{7='{tmp_path}/none.avsc'}}")
    assert "none.avsc" not in ran.err
