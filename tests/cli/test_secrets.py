"""A recognizable value for every secret setting, and everything that the commands print when they use it."""

from pathlib import Path

import pytest

from consumer.kafka.timeouts import TIMEOUTS
from tests.cli.command import run_here
from tests.support.certificates import Authority, encrypted

CANARIES = {
    "kafka.client.sasl.password": "canary-1",
    "kafka.client.ssl.key.password": "canary-2",
    "kafka.client.ssl.keystore.password": "canary-3",
    "input.schema_registry_password": "canary-4",
    "kafka.client.sasl.oauthbearer.client.secret": "canary-8",
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


def test_config_hides_the_passwords_of_keys(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    made = Authority(tmp_path).sign("worker")
    key = encrypted(made.key, "canary-9")
    files = [
        f"input.schema_registry_certificate_file={made.certificate}",
        f"input.schema_registry_key_file={key}",
        "input.schema_registry_key_password=canary-9",
        "kafka.client.security.protocol=SSL",
        f"kafka.client.ssl.certificate.location={made.certificate}",
        f"kafka.client.ssl.key.location={key}",
        "kafka.client.ssl.key.password=canary-9",
        "input.schema_registry_url=https://registry",
    ]
    ran = run_here(capsys, "config", *(part for setting in files for part in ("--set", setting)))
    assert (ran.code, "canary" in ran.out + ran.err) == (0, False)
    assert 'schema_registry_key_password = "***"' in ran.out
    assert '"ssl.key.password" = "***"' in ran.out


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
