"""A worker that shows a certificate, on a broker that lets in nobody without one."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.errors import UsageError
from tests.cli.command import run_here
from tests.end_to_end.secure_topics import SHORT, Topics, failure, or_skipped
from tests.end_to_end.stage import running
from tests.support.certificates import Authority, Certificate, encrypted
from tests.support.secure_broker import USER, SecureBroker, broker_by_certificates
from tests.support.waiting import until

PASSWORD = "canary-of-the-key"  # noqa: S105  # it opens nothing
START_TIMEOUT_S = 120.0
"""The first worker on a machine compiles its kernels."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[SecureBroker]:
    with or_skipped(broker_by_certificates(tmp_path_factory.mktemp("broker"), authority)) as broker:
        yield broker


@pytest.fixture
def topics(secure: SecureBroker) -> Topics:
    made = Topics(secure)
    secure.grant_only(list(made.acls().values()))
    return made


def client(authority: Authority, ours: Certificate | None) -> dict[str, str]:
    trust = {"security.protocol": "SSL", "ssl.ca.location": str(authority.certificate)}
    if ours is None:
        return trust
    return {**trust, "ssl.certificate.location": str(ours.certificate), "ssl.key.location": str(ours.key)}


def test_it_runs_with_a_certificate_whose_key_has_a_password(
    topics: Topics, authority: Authority, capfd: pytest.CaptureFixture[str]
) -> None:
    ours = authority.sign(USER, "worker")
    keys = {
        **client(authority, ours._replace(key=encrypted(ours.key, PASSWORD))),
        "ssl.key.password": PASSWORD,
    }
    with running(topics.settings(keys)):
        until(lambda: topics.dead_letters() == 1, "the dead letter is written", START_TIMEOUT_S)
        until(lambda: len(topics.published(topics.kafka.output_topic)) > 0, "buckets are published")
    kafka = topics.kafka
    flags = [f"kafka.{name}={getattr(kafka, name)}" for name in ("bootstrap_servers", "group_id", "create_topics")]
    flags += [f"kafka.{name}_topic={getattr(kafka, f'{name}_topic')}" for name in ("input", "output", "state")]
    flags += [f"kafka.dead_letter_topic={kafka.dead_letter_topic}"]
    flags += [f"kafka.client.{key}={value}" for key, value in keys.items()]
    for words in (["topics"], ["state", "list"], ["config"]):
        ran = run_here(capfd, *words, *(part for flag in flags for part in ("--set", flag)))
        assert ran.code == 0, ran.err
        assert PASSWORD not in ran.out + ran.err


def test_a_broker_that_refuses_our_certificate_or_that_there_is_none_is_told_as_such(
    topics: Topics, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path).sign(USER, "stranger")
    for ours in (None, authority.sign(USER, "expired", days=-1), stranger):
        error = failure(topics.settings(client(authority, ours)), SHORT)
        assert error.endswith(
            "the broker takes no connection without a certificate that it trusts: check kafka.client: "
            "ssl.certificate.location, ssl.key.location"
        )


def test_a_broker_whose_certificate_we_do_not_trust_is_told_as_such(
    topics: Topics, authority: Authority, tmp_path: Path
) -> None:
    keys = {
        **client(authority, authority.sign(USER, "worker")),
        "ssl.ca.location": str(Authority(tmp_path).certificate),
    }
    error = failure(topics.settings(keys), SHORT)
    assert error.endswith("check kafka.client.ssl.ca.location: it holds who signed the brokers' certificates")


@pytest.mark.parametrize("command", ["config", "topics", "run"])
def test_files_that_cannot_be_used_are_told_with_their_settings(
    authority: Authority, tmp_path: Path, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    ours, expired = authority.sign(USER, "worker"), authority.sign(USER, "expired", days=-1)
    none, locked = tmp_path / "none", encrypted(ours.key, PASSWORD)
    certificate, key = "ssl.certificate.location", "ssl.key.location"
    wrong = {
        (none, ours.key): rf"{certificate}: {none}: cannot be read: No such file or directory",
        (ours.certificate, none): rf"{key}: {none}: cannot be read: No such file or directory",
        (expired.certificate, expired.key): rf"{certificate}: {expired.certificate}: has expired \(.* UTC\)",
        (ours.key, ours.key): rf"{certificate}: {ours.key}: holds no certificate",
        (ours.certificate, locked): rf"{key}: {locked}: holds no key that opens with the password given, or none",
        (ours.certificate, expired.key): rf"{key}: {expired.key}: holds a key that is not of the certificate in .*",
    }
    for files, message in wrong.items():
        keys = client(authority, Certificate(*files))
        flags = [part for name, value in keys.items() for part in ("--set", f"kafka.client.{name}={value}")]
        ran = run_here(capfd, command, *flags)
        assert ran.code == UsageError.exit_code
        assert re.fullmatch(rf"error: --set: kafka\.client\.{message}\n", ran.err), ran.err
