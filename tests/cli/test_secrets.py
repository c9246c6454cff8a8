"""A recognizable value for every secret setting, and everything that the commands print when they use it."""

from pathlib import Path

import pytest

from consumer.kafka.timeouts import TIMEOUTS
from tests.cli.command import run_here

CANARIES = {
    "kafka.client.sasl.password": "canary-1",
    "kafka.client.ssl.key.password": "canary-2",
    "kafka.client.ssl.keystore.password": "canary-3",
    "input.schema_registry_password": "canary-4",
}
SHORT = TIMEOUTS._replace(cluster_s=0.5, dead_letters_s=0.5)
LOG_IN = ("input.schema_registry_url=http://localhost:1", "input.schema_registry_user=ann")


def flags(*more: str) -> list[str]:
    settings = [f"{key}={value}" for key, value in CANARIES.items()]
    return [part for setting in [*settings, *LOG_IN, *more] for part in ("--set", setting)]


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_config_hides_secrets_of_every_setting(capsys: pytest.CaptureFixture[str], form: list[str]) -> None:
    ran = run_here(capsys, "config", *form, *flags("kafka.client.security.protocol=SASL_SSL"))
    assert ran.code == 0
    assert "canary" not in ran.out + ran.err
    assert ran.out.count('"***"') == len(CANARIES)


def test_config_hides_a_token_and_the_password_in_an_address(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("canary-5")
    monkeypatch.setenv("VIEWER_CONSUMER_INPUT__SCHEMA_REGISTRY_TOKEN__FILE", str(tmp_path / "token"))
    ran = run_here(capsys, "config", "--set", LOG_IN[0])
    assert (ran.code, "canary" in ran.out + ran.err) == (0, False)
    assert 'schema_registry_token = "***"' in ran.out
    monkeypatch.delenv("VIEWER_CONSUMER_INPUT__SCHEMA_REGISTRY_TOKEN__FILE")
    ran = run_here(capsys, "config", "--set", "input.schema_registry_url=http://ann:canary-6@registry")
    assert (ran.code, "canary" in ran.out + ran.err) == (0, False)


@pytest.mark.parametrize(
    "words", [["run"], ["topics"], ["dlq", "list"], ["dlq", "show", "0:0"], ["state", "list"]], ids=" ".join
)
def test_connection_errors_show_no_secret(capfd: pytest.CaptureFixture[str], words: list[str]) -> None:
    unreachable = ("kafka.bootstrap_servers=localhost:1", "kafka.client.sasl.username=ann", "http.port=0")
    secure = ("kafka.client.security.protocol=SASL_PLAINTEXT", "kafka.client.sasl.mechanism=PLAIN")
    ran = run_here(capfd, *words, *flags(*unreachable, *secure), timeouts=SHORT)
    assert ran.code != 0
    assert "error: " in ran.err
    assert "localhost:1" in ran.err
    assert "canary" not in ran.out + ran.err


def test_settings_errors_show_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ("input.schema_registry_token=canary-7 with blanks", "http.port=x", "kafka.client.sasl.mechanism=NONE")
    ran = run_here(capsys, "config", *flags(*wrong))
    assert ran.code == 2
    assert "input.schema_registry_token: must be of visible ASCII characters" in ran.err
    assert "canary" not in ran.out + ran.err
