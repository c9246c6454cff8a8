"""Usage errors: exit code 2, one clear line per error, nothing on stdout, no traceback."""

import tomllib
from pathlib import Path

import pytest

from consumer import __version__
from consumer.cli.main import run_command
from consumer.intake.schemas.builtin import builtin_schema_text
from consumer.settings.model import Settings, load_settings
from tests.cli.command import run


def test_the_version_goes_to_stdout() -> None:
    done = run("--version")
    assert done == (0, f"viewer-consumer {__version__}\n", "")


@pytest.mark.parametrize("flags", [(), ("--set", "kafka.client.linger.ms=5"), ("--example",)], ids=" ".join)
def test_help_and_config_import_no_heavy_module(flags: tuple[str, ...]) -> None:
    done = run("config", *flags, PYTHONPROFILEIMPORTTIME="1")
    assert done.code == 0
    loaded = {line.rpartition("|")[2].strip() for line in done.error_lines}
    assert loaded.isdisjoint({"numba", "numpy", "fastavro"})


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["agregate"], "No such command 'agregate'"),
        (["aggregate"], "Missing argument 'FILE...'; see viewer-consumer aggregate --help"),
        (["state", "show"], "Missing argument 'STREAM'; see viewer-consumer state show --help"),
        (["state", "reset", "--from", "here"], "Invalid value for '--from'"),
        (["state", "list", "--partition", "-1"], "Invalid value for '--partition'"),
        (["config", "--jsn"], "No such option: --jsn (Possible options: --json, --set)"),
        (["aggregate", "x", "--at-end", "never"], "Invalid value for '--at-end'"),
        (["config", "--config", "none.toml"], "none.toml: cannot be read: No such file or directory"),
        (["config", "--set", "http.port"], "--set http.port: must be section.key=value"),
        (["run", "--set", "windows.bucket_ms=0"], '--set: windows.bucket_ms: must be at least 1, not "0"'),
        (
            ["topics", "--set", "kafka.inputtopic=x"],
            "--set: kafka.inputtopic: unknown key; did you mean kafka.input_topic?",
        ),
    ],
)
def test_an_invalid_command_line_is_a_one_line_error(
    capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    assert run_command(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (only,) = printed.err.splitlines()
    assert only.startswith(f"error: {line}")


def test_each_invalid_setting_is_one_error_line(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[windows]\nbucket_ms = 0\n[htp]\nport = 1\n", encoding="utf-8")
    done = run("config", "--config", str(config), VIEWER_CONSUMER_HTTP__PORT="99999")
    assert (done.code, done.out) == (2, "")
    assert done.error_lines == [
        f"error: {config}: windows.bucket_ms: must be at least 1, not 0",
        'error: VIEWER_CONSUMER_HTTP__PORT: http.port: must be at most 65535, not "99999"',
        f"error: {config}: htp: unknown key; did you mean http?",
    ]


def test_config_prints_toml_that_reads_back_as_the_same_settings(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    schema = tmp_path / "a b.avsc"
    schema.write_text(builtin_schema_text("viewer_event"), encoding="utf-8")
    arguments = [
        "--set=windows.bucket_ms=5000",
        f'--set=input.ids={{"7": "{schema}"}}',
        "--set=input.schema_registry_url=http://registry",
        "--set=input.fields.bitrate_bps={path='event.bitrate_bps', scale=1000}",
        '--set=input.events.join=["ViewerJoin", "it\'s", "\N{SNOWMAN}\\u007f"]',
        "--set=kafka.client.linger.ms=5",
    ]
    assert run_command(["config", *arguments]) == 0
    printed = tmp_path / "printed.toml"
    printed.write_text(capsys.readouterr().out, encoding="utf-8")
    again = load_settings(printed, [], {})
    given = load_settings(None, [argument.removeprefix("--set=") for argument in arguments], {})
    assert again.model_dump() == given.model_dump()


def test_config_without_settings_prints_every_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["config"]) == 0
    values = tomllib.loads(capsys.readouterr().out)
    assert Settings.model_validate(values) == Settings()
    assert values["windows"]["max_streams"] == 1_000_000


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_config_hides_secrets(capsys: pytest.CaptureFixture[str], flags: list[str]) -> None:
    secrets = [
        "--set=kafka.client.security.protocol=SASL_SSL",
        "--set=kafka.client.sasl.password=hunter2",
        "--set=input.schema_registry_url=https://user:hunter2@registry:8081/path",
    ]
    assert run_command(["config", *flags, *secrets]) == 0
    out = capsys.readouterr().out
    assert "hunter2" not in out
    assert "registry:8081/path" in out
    assert "sasl.password" in out
