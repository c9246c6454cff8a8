"""A worker that logs in with tokens, on a broker that verifies them and ends connections when they expire.

Tokens live for 12 s: each client refreshes after 9.6 s, and logs in anew before its session ends.
"""

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin._acl import AclOperation
from confluent_kafka.admin._resource import ResourceType

from consumer.kafka import c_producer, column_reader, msk_iam
from consumer.kafka.msk_iam import SharedTokens, Token
from consumer.settings.model import Settings
from consumer.worker.service import Service
from tests.cli.command import run, run_here
from tests.end_to_end.secure_topics import SHORT, WINDOWS, Topics, failure, or_skipped
from tests.end_to_end.stage import running
from tests.support.secure_broker import USER, Acl, SecureBroker, secure_broker
from tests.support.token_server import TokenServer
from tests.support.waiting import until

LIFE_S = 12.0
CLIENTS = 8
"""Of a worker, at least: member, reader, producer, topic watch, end offsets, and three of restores."""

START_TIMEOUT_S = 120.0
"""The first worker on a machine compiles its kernels."""

REGION = "eu-central-1"


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenServer]:
    server = TokenServer(tmp_path_factory.mktemp("tokens"), USER, "canary-secret", LIFE_S)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, tokens: TokenServer) -> Iterator[SecureBroker]:
    with or_skipped(secure_broker(tmp_path_factory.mktemp("broker"), tokens)) as broker:
        yield broker


@pytest.fixture
def topics(secure: SecureBroker) -> Topics:
    made = Topics(secure)
    more = {made.kafka.input_topic: AclOperation.WRITE, made.kafka.dead_letter_topic: AclOperation.READ}
    secure.grant_only([*made.acls().values(), *(Acl(ResourceType.TOPIC, name, right) for name, right in more.items())])
    return made


@pytest.fixture
def client(secure: SecureBroker, tokens: TokenServer) -> dict[str, str]:
    return {**tokens.client(), "ssl.ca.location": str(secure.ca_file)}


def readiness(service: Service) -> str:
    """Status and text."""
    try:
        with urllib.request.urlopen(f"{service.address}/readyz", timeout=10) as answer:  # noqa: S310  # the worker's own address
            return f"{answer.status} {answer.read().decode()}"
    except urllib.error.HTTPError as error:
        with error:
            return f"{error.code} {error.read().decode()}"


def is_ready(service: Service) -> bool:
    return readiness(service).startswith("200")


def works(topics: Topics, what: str) -> None:
    """Wait until records that are written now have been processed and committed."""
    before = topics.dead_letters()
    topics.write()
    until(lambda: topics.dead_letters() > before, what, START_TIMEOUT_S)


def no_functions(*_: object) -> None:
    raise OSError("not there")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classic", "consumer", "without C functions"])
def test_it_outlives_its_tokens_also_while_it_is_idle(
    topics: Topics,
    tokens: TokenServer,
    client: dict[str, str],
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if kind == "without C functions":
        monkeypatch.setattr(column_reader, "CClient", no_functions)
        monkeypatch.setattr(c_producer, "producing_functions", no_functions)
    protocol = {"group.protocol": "consumer"} if kind == "consumer" else {}
    with running(topics.settings({**client, **protocol})) as service:
        works(topics, "it works with its first tokens")
        until(lambda: is_ready(service), "it is ready")
        before = len(tokens.requests())
        until(lambda: len(tokens.requests()) >= before + 2 * CLIENTS, "all have fetched two more tokens")
        until(lambda: is_ready(service), "it is ready, or again")
        works(topics, "it works with later ones")
    printed = capfd.readouterr()
    assert "invalid_token" not in printed.out + printed.err
    assert "canary" not in printed.out + printed.err


@pytest.mark.slow
def test_a_token_server_that_goes_away_is_told_and_the_worker_goes_on_when_it_is_back(
    topics: Topics, tokens: TokenServer, client: dict[str, str]
) -> None:
    with running(topics.settings(client)) as service:
        works(topics, "it works")
        tokens.stop()
        try:
            until(lambda: f"no token from {tokens.url}: " in readiness(service), "readiness names the token server")
            assert readiness(service).startswith("503")
        finally:
            tokens.start()
        works(topics, "it works again")
        until(lambda: is_ready(service), "it is ready again")


def test_a_worker_that_gets_no_token_does_not_start(
    topics: Topics, tokens: TokenServer, client: dict[str, str]
) -> None:
    wrong = {**client, "sasl.oauthbearer.client.secret": "canary-wrong"}
    error = failure(topics.settings(wrong), SHORT)
    assert f"no token from {tokens.url}: " in error
    assert "the client or its secret is unknown" in error
    assert "canary" not in error


def test_the_tools_log_in_too(
    topics: Topics, client: dict[str, str], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with running(topics.settings(client)):
        works(topics, "there is state, and a dead letter")
    secret = tmp_path / "secret"
    secret.write_text(client["sasl.oauthbearer.client.secret"] + "\n")
    config = tmp_path / "worker.toml"
    config.write_text(_toml(topics.settings({**client, "sasl.oauthbearer.client.secret": "canary-of-the-file"})))
    in_file = {"VIEWER_CONSUMER_KAFKA__CLIENT__SASL_OAUTHBEARER_CLIENT_SECRET__FILE": str(secret)}
    ran = run("topics", "--config", str(config), stdin=None, cwd=None, **in_file)
    assert ran.code == 0, ran.err
    config.write_text(_toml(topics.settings(client)))
    for words in (
        ["dlq", "list"],
        ["dlq", "retry", "--yes", "--force"],
        ["state", "list"],
        ["state", "check"],
        ["simulate", "--streams", "1", "--viewers", "5", "--start", "2026-01-31T20:15:00Z", "--duration", "10s"],
        ["config"],
    ):
        ran = run_here(capfd, *words, "--config", str(config))
        assert ran.code == 0, ran.err
        assert ran.out + ran.err
        assert "canary" not in ran.out + ran.err


def _toml(settings: Settings) -> str:
    kafka = settings.kafka
    names = ("bootstrap_servers", "group_id", "input_topic", "output_topic", "state_topic", "dead_letter_topic")
    lines = ["[kafka]", *(f'{name} = "{getattr(kafka, name)}"' for name in names), "create_topics = false"]
    lines += ["[windows]", *(f"{name} = {value}" for name, value in WINDOWS.model_dump(exclude_unset=True).items())]
    lines += ["[kafka.client]", *(f'"{key}" = "{value}"' for key, value in kafka.client.items())]
    return "\n".join(lines) + "\n"


class Signer:
    """In place of AWS: signs what the broker accepts, for the region; fails while it has a fault."""

    def __init__(self, tokens: TokenServer) -> None:
        self._tokens = tokens
        self.fault: Exception | None = None
        self.signed = 0

    def sign(self, region: str) -> Token:
        assert region == REGION
        if self.fault is not None:
            raise self.fault
        self.signed += 1
        value, expires_s = self._tokens.token()
        return Token(value, expires_s * 1000)


@pytest.fixture
def signer(tokens: TokenServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Signer]:
    made = Signer(tokens)
    monkeypatch.setattr(msk_iam, "_RETRY_S", 1.0)
    shared = SharedTokens(REGION, made.sign)
    monkeypatch.setattr(msk_iam, "_tokens_for", lambda _: shared)
    yield made
    shared.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["with C functions", "without"])
def test_by_iam_all_clients_log_in_with_one_token_and_outlive_it(
    topics: Topics, secure: SecureBroker, signer: Signer, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "without":
        monkeypatch.setattr(column_reader, "CClient", no_functions)
        monkeypatch.setattr(c_producer, "producing_functions", no_functions)
    settings = topics.settings({"ssl.ca.location": str(secure.ca_file)}, msk_iam_region=REGION)
    with running(settings) as service:
        works(topics, "it works with the first token")
        before, since_s = signer.signed, time.monotonic()
        until(lambda: signer.signed >= before + 5, "several have expired")
        assert signer.signed <= 2 + (time.monotonic() - since_s) / (LIFE_S / 2) + before, "one for all clients"
        until(lambda: is_ready(service), "it is ready")
        works(topics, "it works with a later one")


@pytest.mark.slow
def test_while_iam_signs_nothing_the_worker_waits_and_says_why(
    topics: Topics, secure: SecureBroker, signer: Signer
) -> None:
    settings = topics.settings({"ssl.ca.location": str(secure.ca_file)}, msk_iam_region=REGION)
    with running(settings) as service:
        works(topics, "it works")
        signer.fault = OSError("the metadata service is away")
        until(lambda: "(before: OSError: the metadata service is away)" in readiness(service), "readiness says why")
        signer.fault = None
        works(topics, "it works again")
        until(lambda: is_ready(service), "it is ready again")


def test_without_credentials_it_does_not_start(
    topics: Topics, secure: SecureBroker, tokens: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = Signer(tokens)
    refusing.fault = AttributeError("'NoneType' object has no attribute 'access_key'")
    shared = SharedTokens(REGION, refusing.sign)
    monkeypatch.setattr(msk_iam, "_tokens_for", lambda _: shared)
    error = failure(topics.settings({"ssl.ca.location": str(secure.ca_file)}, msk_iam_region=REGION))
    shared.close()
    assert "no AWS credentials were found" in error
