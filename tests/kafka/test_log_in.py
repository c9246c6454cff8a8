"""What all clients are told to log in with, that an idle one keeps its token fresh, and what is said of no token."""

import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from consumer.errors import ViewerConsumerError
from consumer.kafka import log_in
from consumer.kafka.admin.cluster import Cluster
from consumer.kafka.brokers import ReaderWatch
from consumer.kafka.c_producer import CProducer
from consumer.kafka.clients import LastClientError, explain, make_admin, make_consumer, make_producer
from consumer.kafka.column_reader import ColumnReader
from consumer.kafka.config import (
    ClientConfig,
    admin_config,
    live_config,
    member_config,
    plain_producer_config,
    producer_config,
    reader_config,
    restore_config,
)
from consumer.kafka.end_offsets import EndOffsets
from consumer.kafka.log_in import MSK_IAM_REGION, security_conflicts, trusted_authorities
from consumer.kafka.timeouts import TIMEOUTS
from consumer.kafka.topic_watch import TopicWatch
from consumer.settings.model import KafkaSettings, Settings
from tests.support.certificates import Authority
from tests.support.token_server import TokenServer
from tests.support.waiting import until

NOBODY = "localhost:1"
"""Nothing listens there: tokens are fetched all the same."""

SHORT = TIMEOUTS._replace(cluster_s=0.5)
NO_TOKEN = KafkaError(KafkaError._AUTHENTICATION, "Failed to acquire SASL OAUTHBEARER token: it is shut")
REFUSED = KafkaError(KafkaError._AUTHENTICATION, 'SASL authentication error: {"status":"invalid_token"}')


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenServer]:
    server = TokenServer(tmp_path, "worker", "canary-secret", life_s=2.0)
    yield server
    server.stop()


def settings_for(tokens: TokenServer, **more: str) -> Settings:
    client: dict[str, str | int | float | bool] = {**tokens.client(), **more}
    return Settings(kafka=KafkaSettings(bootstrap_servers=NOBODY, client=client))


def test_every_client_is_told_the_same() -> None:
    settings = Settings(kafka=KafkaSettings(msk_iam_region="eu-central-1"))
    configs = [
        *(make(settings) for make in (member_config, live_config, restore_config)),
        producer_config(settings, "one"),
        *(make(settings.kafka) for make in (plain_producer_config, admin_config, reader_config)),
    ]
    expected = {"security.protocol": "SASL_SSL", "sasl.mechanisms": "OAUTHBEARER", MSK_IAM_REGION: "eu-central-1"}
    assert [{key: config.get(key) for key in expected} for config in configs] == [expected] * 7


@pytest.mark.parametrize(
    ("client", "errors"),
    [
        ({"security.protocol": "sasl_ssl", "ssl.ca.location": "ca.pem"}, {}),
        (
            {"security.protocol": "SSL", "sasl.username": "me"},
            {
                "kafka.client.security.protocol": "must be SASL_SSL, or left out, with kafka.msk_iam_region",
                "kafka.client.sasl.username": "has no effect with kafka.msk_iam_region; set only one of them",
            },
        ),
    ],
)
def test_another_log_in_beside_iam_is_an_error(
    client: dict[str, str | int | float | bool], errors: dict[str, str]
) -> None:
    settings = Settings(kafka=KafkaSettings(msk_iam_region="eu-central-1", client=client))
    assert {found.keys[0]: found.message for found in security_conflicts(settings)} == errors


def test_a_token_server_by_https_is_trusted_by_the_systems_authorities(tmp_path: Path) -> None:
    """The library in the binding's wheels looks for them in one place only, where this system may not have them."""
    https = {**_oidc("https://tokens/token")}
    assert log_in.log_in_keys(KafkaSettings(client=https)) == {"https.ca.location": trusted_authorities()}
    own = {**https, "https.ca.location": str(tmp_path)}
    for client in (own, {**https, "https.ca.pem": "x"}, _oidc("http://tokens/token")):
        assert log_in.log_in_keys(KafkaSettings(client=client)) == {}


def test_where_the_system_has_no_authorities_the_library_looks_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_in, "trusted_authorities", lambda: "")
    assert log_in.log_in_keys(KafkaSettings(client=_oidc("https://tokens/token"))) == {}


def _oidc(url: str) -> dict[str, str | int | float | bool]:
    return {"sasl.oauthbearer.method": "oidc", "sasl.oauthbearer.token.endpoint.url": url}


IDLE: dict[str, Callable[[Settings], object]] = {
    "member": lambda settings: make_consumer(member_config(settings), LastClientError()),
    "reader": lambda settings: ColumnReader(live_config(settings), ReaderWatch("topic", float)),
    "reader without C functions": lambda settings: make_consumer(live_config(settings), LastClientError()),
    "restore reader": lambda settings: ColumnReader(restore_config(settings), LastClientError()),
    "producer": lambda settings: CProducer(producer_config(settings, "one"), LastClientError(), lambda *_: None),
    "producer without C functions": lambda settings: make_producer(
        producer_config(settings, "one"), LastClientError(), lambda *_: None
    ),
    "admin": lambda settings: make_admin(admin_config(settings.kafka), LastClientError()),
    "topic watch": lambda settings: TopicWatch(admin_config(settings.kafka), "topic", "id"),
    "end offsets": lambda settings: EndOffsets(admin_config(settings.kafka), "topic"),
    "dead letters": lambda settings: make_consumer(reader_config(settings.kafka), LastClientError()),
    "simulator": lambda settings: make_producer(
        plain_producer_config(settings.kafka), LastClientError(), lambda *_: None
    ),
}


def test_an_idle_client_keeps_its_token_fresh_though_nobody_polls_it(tokens: TokenServer) -> None:
    endpoint = "sasl.oauthbearer.token.endpoint.url"
    urls = {kind: f"{tokens.url}/{number}" for number, kind in enumerate(IDLE)}
    clients = [make(settings_for(tokens, **{endpoint: urls[kind]})) for kind, make in IDLE.items()]

    def fetched() -> Counter[str]:
        return Counter(request.path for request in tokens.requests())

    until(lambda: all(fetched()[f"/token/{number}"] >= 3 for number in range(len(IDLE))), "all are fetched twice more")
    assert {request.form["scope"] for request in tokens.requests()} == {"events"}
    for client in clients:
        if hasattr(client, "close"):
            client.close()


@pytest.fixture
def secure_tokens(tmp_path: Path) -> Iterator[tuple[TokenServer, Path]]:
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign("localhost"))
    server = TokenServer(tmp_path, "worker", "canary-secret", tls=context)
    yield server, authority.certificate
    server.stop()


def test_tokens_are_fetched_by_https_from_a_server_that_is_trusted(secure_tokens: tuple[TokenServer, Path]) -> None:
    server, ca_file = secure_tokens
    settings = settings_for(server, **{"https.ca.location": str(ca_file)})
    admin = make_admin(admin_config(settings.kafka), LastClientError())
    until(lambda: len(server.requests()) == 1, "a token is fetched")
    del admin
    assert "verify" in refusal(settings_for(server))
    assert len(server.requests()) == 1


def refusal(settings: Settings) -> str:
    with pytest.raises(ViewerConsumerError) as error:
        Cluster(settings.kafka, SHORT).partitions("topic")
    assert "\n" not in str(error.value)
    assert "canary" not in str(error.value)
    return str(error.value)


def test_a_token_server_that_is_away_is_named(tokens: TokenServer) -> None:
    tokens.stop()
    error = refusal(settings_for(tokens))
    assert f"no token from {tokens.url}: Failed to connect to localhost" in error
    assert error.endswith("; check the token server, and kafka.client: sasl.oauthbearer.*, https.ca.location")


def test_a_token_server_that_says_nothing_is_named(tokens: TokenServer) -> None:
    tokens.hang.clear()
    with pytest.raises(ViewerConsumerError) as error:
        Cluster(settings_for(tokens).kafka, SHORT).partitions("topic")
    tokens.hang.set()
    assert f"no answer, maybe for want of a token: see whether {tokens.url} answers" in str(error.value)


def test_a_wrong_secret_is_told_in_the_servers_words(tokens: TokenServer) -> None:
    error = refusal(settings_for(tokens, **{"sasl.oauthbearer.client.secret": "canary-wrong"}))
    assert f"no token from {tokens.url}: " in error
    assert "the client or its secret is unknown" in error


def told(*errors: KafkaError, config: ClientConfig | None = None) -> str:
    last_error = LastClientError()
    last_error.logs_in_with(config or _oidc("http://tokens/token"))
    for each in errors:
        last_error.record_error(each)
    found = last_error.error()
    return "" if found is None else str(found.str())


def test_a_log_in_that_is_refused_comes_with_the_reason_why_there_is_no_newer_token() -> None:
    away = KafkaError(KafkaError._TRANSPORT, "Disconnected")
    before = "no token from http://tokens/token: it is shut"
    assert told(NO_TOKEN) == before
    assert told(NO_TOKEN, away) == "Disconnected"
    assert told(NO_TOKEN, away, REFUSED) == f"{REFUSED.str()} (before: {before})"
    assert told(REFUSED) == REFUSED.str()
    assert told() == ""


def test_without_a_token_server_nothing_is_said_of_one() -> None:
    last_error = LastClientError()
    last_error.logs_in_with({})
    assert last_error.reason_of_silence() is None
    last_error.record_error(NO_TOKEN)
    assert last_error.error() is NO_TOKEN


def test_the_advice_is_about_what_failed() -> None:
    line = str(explain("can't reach Kafka", "kafka:1", REFUSED))
    assert line.endswith("check the user, its password and its permissions (kafka.client: security.protocol, sasl.*)")
