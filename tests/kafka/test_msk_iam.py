"""Tokens for IAM: one for all clients, renewed by a thread of ours; a signer that fails, and the real one offline."""

import base64
import importlib.util
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
from confluent_kafka import KafkaError

from consumer.errors import UsageError, ViewerConsumerError
from consumer.kafka import msk_iam
from consumer.kafka.c_producer import CProducer
from consumer.kafka.clients import LastClientError, make_admin
from consumer.kafka.column_reader import ColumnReader
from consumer.kafka.config import admin_config, live_config, producer_config
from consumer.kafka.log_in import MSK_IAM_REGION
from consumer.kafka.msk_iam import SharedTokens, Token, tokens_of
from consumer.settings.model import KafkaSettings, Settings
from tests.support.waiting import until

REGION = "eu-central-1"
SETTINGS = Settings(kafka=KafkaSettings(bootstrap_servers="localhost:1", msk_iam_region=REGION))


class Signer:
    """Signs tokens that live for so long; fails while it has a fault."""

    def __init__(self, life_s: float = 900.0) -> None:
        self.life_s = life_s
        self.fault: Exception | None = None
        self.signed: list[Token] = []

    def sign(self, region: str) -> Token:
        assert region == REGION
        if self.fault is not None:
            raise self.fault
        self.signed.append(Token(f"token-{len(self.signed)}", round((time.time() + self.life_s) * 1000)))
        return self.signed[-1]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Signer], SharedTokens]]:
    """Makes tokens that attempts don't wait for; the last ones are those of every client."""
    monkeypatch.setattr(msk_iam, "_RETRY_S", 0.02)
    monkeypatch.setattr(msk_iam, "_LEAST_REST_S", 0.02)
    all_made: list[SharedTokens] = []

    def make(signer: Signer) -> SharedTokens:
        all_made.append(SharedTokens(REGION, signer.sign))
        monkeypatch.setattr(msk_iam, "_tokens_for", lambda _: all_made[-1])
        return all_made[-1]

    yield make
    for each in all_made:
        each.close()


def test_a_token_is_shared_and_renewed_before_it_expires(made: Callable[[Signer], SharedTokens]) -> None:
    signer = Signer(life_s=0.2)
    tokens = made(signer)
    seen: list[Token] = []
    tokens.keep_fresh(1, seen.append)
    until(lambda: len(seen) >= 3, "two more are handed over")
    assert [each.expires_ms for each in seen] == sorted(each.expires_ms for each in seen)
    tokens.forget(1)
    until(lambda: tokens.newest() != seen[-1], "another is signed")
    assert tokens.newest() not in seen
    long_lived = Signer()
    others = made(long_lived)
    assert others.newest() is others.newest()
    assert len(long_lived.signed) == 1


def test_whoever_asks_for_a_token_does_not_wait_for_one_that_is_being_set(
    made: Callable[[Signer], SharedTokens],
) -> None:
    """To destroy a client of the binding is to wait for its thread, which may ask in that moment."""
    tokens = made(Signer())
    answers: list[object] = []

    def ask() -> None:
        answers.extend((tokens.newest(), tokens.failure()))

    def set_while_another_asks(token: Token) -> None:
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(10)
        assert answers == [token, ""]

    tokens.keep_fresh(1, set_while_another_asks)


def test_a_client_that_is_finalized_is_destroyed_in_a_thread_and_gets_no_token_then(
    made: Callable[[Signer], SharedTokens],
) -> None:
    """Whoever was interrupted may hold the lock, or be about to set a token."""
    tokens = made(Signer(life_s=0.2))
    said: list[str] = []
    tokens.keep_fresh(1, lambda _: said.append("token"))

    def set_other(_: Token) -> None:
        if "released" not in said:
            said.append("released")
            tokens.release(1, lambda: said.append("destroyed"))

    tokens.keep_fresh(2, set_other)
    until(lambda: "destroyed" in said, "it is destroyed")
    newest = tokens.newest()
    until(lambda: tokens.newest() != newest, "another token is handed over")
    assert said[-1] == "destroyed"


def test_without_credentials_the_start_fails_with_the_reason(made: Callable[[Signer], SharedTokens]) -> None:
    signer = Signer()
    signer.fault = AttributeError("'NoneType' object has no attribute 'access_key'")
    tokens = made(signer)
    with pytest.raises(ViewerConsumerError) as error:
        tokens.newest()
    assert str(error.value) == (
        "kafka.msk_iam_region: no token for IAM in eu-central-1 could be signed: no AWS credentials were found; check "
        "the AWS credentials of this process"
    )
    for make in CLIENTS:
        with pytest.raises(ViewerConsumerError, match="no AWS credentials were found"):
            make()


def test_a_failure_while_it_runs_is_told_once_and_heals(
    made: Callable[[Signer], SharedTokens], caplog: pytest.LogCaptureFixture
) -> None:
    signer = Signer(life_s=0.1)
    tokens = made(signer)
    tokens.newest()
    with caplog.at_level(logging.INFO):
        signer.fault = OSError("the metadata service\nis away")
        until(lambda: tokens.failure() != "", "it fails")
        last, before_s = tokens.newest(), time.time()
        until(lambda: last.expires_ms / 1000 < time.time(), "the last has expired")
        value, expires_s, _, _ = tokens.for_binding("")
        assert value == last.value
        assert expires_s > before_s, "the binding takes none that has expired, and ends its client's creation"
        signer.fault = None
        until(lambda: tokens.failure() == "", "it heals")
    assert tokens.newest() != last
    told = [each.getMessage() for each in caplog.records if each.name == "consumer.kafka.msk_iam"]
    assert [text.partition(":")[0].split(" the last")[0] for text in told] == [
        "no token for IAM could be signed;",
        "tokens for IAM are signed again",
    ]
    assert told[0].endswith("OSError: the metadata service is away")


CLIENTS: tuple[Callable[[], object], ...] = (
    lambda: ColumnReader(live_config(SETTINGS), LastClientError()),
    lambda: CProducer(producer_config(SETTINGS, "one"), LastClientError(), lambda *_: None),
    lambda: make_admin(admin_config(SETTINGS.kafka), LastClientError()),
)
"""Both kinds of the C library's, and one of the binding's."""


def test_clients_of_the_c_library_get_each_token_though_nobody_polls_them(
    made: Callable[[Signer], SharedTokens],
) -> None:
    tokens = made(Signer(life_s=0.5))
    reader, producer = CLIENTS[0](), CLIENTS[1]()
    assert len(tokens._clients) == 2
    first = tokens.newest()
    until(lambda: tokens.newest() != first, "the token is renewed")
    assert isinstance(reader, ColumnReader)
    reader.close()
    del producer
    until(lambda: not tokens._clients, "none is left in which tokens would be set")


def test_a_client_of_the_binding_is_made_while_no_token_can_be_signed(made: Callable[[Signer], SharedTokens]) -> None:
    signer = Signer(life_s=0.05)
    tokens = made(signer)
    tokens.newest()
    signer.fault = OSError("away")
    until(lambda: tokens.failure() != "" and tokens.newest().expires_ms / 1000 < time.time(), "the last has expired")
    assert CLIENTS[2]()


def test_the_reason_for_no_token_comes_with_a_refused_log_in(made: Callable[[Signer], SharedTokens]) -> None:
    signer = Signer(life_s=0.05)
    tokens = made(signer)
    tokens.newest()
    signer.fault = OSError("away")
    until(lambda: tokens.failure() != "", "it fails")
    last_error = LastClientError()
    last_error.logs_in_with(admin_config(SETTINGS.kafka))
    last_error.record_error(KafkaError(KafkaError._AUTHENTICATION, "SASL authentication error: denied"))
    found = last_error.error()
    assert found is not None
    assert found.str() == "SASL authentication error: denied (before: OSError: away)"


def test_without_the_package_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aws_msk_iam_sasl_signer", None)
    with pytest.raises(UsageError) as error:
        tokens_of({MSK_IAM_REGION: "xx-none-1"})
    assert str(error.value) == (
        'kafka.msk_iam_region: needs a package that is not installed: run pip install "viewer-consumer[msk-iam]"'
    )
    monkeypatch.setattr(msk_iam, "find_spec", lambda _: None)
    assert msk_iam.signer_error() == msk_iam.NOT_INSTALLED


def test_tokens_are_those_of_the_installed_signer(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("aws_msk_iam_sasl_signer")
    signed = SimpleNamespace(generate_auth_token=lambda region: (f"for {region}", 7))
    monkeypatch.setattr(module, "MSKAuthTokenProvider", signed, raising=False)
    monkeypatch.setitem(sys.modules, "aws_msk_iam_sasl_signer", module)
    assert msk_iam._load_signer()(REGION) == Token(f"for {REGION}", 7)


@pytest.mark.skipif(
    importlib.util.find_spec("aws_msk_iam_sasl_signer") is None, reason="the extra msk-iam is not installed"
)
def test_the_real_signer_signs_a_connection_to_the_cluster_of_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline, with credentials that open nothing."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    before_s = time.time()
    token = msk_iam._load_signer()(REGION)
    url = urlsplit(base64.urlsafe_b64decode(token.value + "=" * (-len(token.value) % 4)).decode())
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert (url.scheme, url.netloc) == ("https", f"kafka.{REGION}.amazonaws.com")
    assert query["Action"] == "kafka-cluster:Connect"
    assert query["X-Amz-Credential"].startswith("AKIAEXAMPLE/")
    assert query["X-Amz-Expires"] == "900"
    assert query["X-Amz-Signature"]
    assert before_s + 890 < token.expires_ms / 1000 < time.time() + 910
    assert "canary" not in url.geturl()
