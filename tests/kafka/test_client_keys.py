"""librdkafka is asked for the keys of `kafka.client` and their values before any client is made."""

import ctypes

import pytest

from consumer.kafka import client_keys
from consumer.kafka.client_keys import key_conflicts
from consumer.kafka.log_in import security_conflicts
from consumer.settings.model import KafkaSettings, Settings

OIDC: dict[str, str | int | float | bool] = {
    "security.protocol": "SASL_SSL",
    "sasl.mechanisms": "OAUTHBEARER",
    "sasl.oauthbearer.method": "oidc",
}
NEEDED = "is missing, which sasl.oauthbearer.method = oidc needs"
SECRET = {"kafka.client.sasl.oauthbearer.client.secret": NEEDED}


def settings(client: dict[str, str | int | float | bool], servers: str = "kafka:9092") -> Settings:
    return Settings(kafka=KafkaSettings(bootstrap_servers=servers, client=client))


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("sesion.timeout.ms", "session.timeout.ms"),
        ("security_protocol", "security.protocol"),
        ("sasl.user", "sasl.username"),
        ("ssl.ca.locations", "ssl.ca.location"),
        ("ack", "acks"),
    ],
)
def test_an_unknown_key_comes_with_the_nearest_that_there_is(key: str, meant: str) -> None:
    (found,) = key_conflicts(settings({key: "x", "client.id": "me"}))
    assert found == ((f"kafka.client.{key}",), f"librdkafka has no such key; did you mean {meant}?")


def test_an_unknown_key_like_no_other_is_an_error_too() -> None:
    (found,) = key_conflicts(settings({"zzz": 1}))
    assert found.message == "librdkafka has no such key"


@pytest.mark.parametrize(
    ("key", "value"),
    [("linger.ms", "soon"), ("socket.timeout.ms", -5), ("security.protocol", "TLS"), ("error_cb", "x")],
)
def test_a_value_that_librdkafka_does_not_take_is_an_error_with_its_reason(key: str, value: str | int) -> None:
    (found,) = key_conflicts(settings({key: value}))
    assert found.keys == (f"kafka.client.{key}",)
    assert found.message.startswith("librdkafka refuses its value: ")
    assert "\n" not in found.message


def test_what_is_said_of_a_secret_is_not_shown() -> None:
    (found,) = key_conflicts(settings({"ssl_key": "hunter2"}))
    assert found.message == "librdkafka refuses its value"


def test_usual_settings_pass_and_refused_keys_are_left_to_those_who_refuse_them() -> None:
    usual: dict[str, str | int | float | bool] = {
        "security.protocol": "SASL_SSL",
        "linger.ms": 5.5,
        "enable.idempotence": True,
        "acks": -1,
        "retries": "7",
    }
    assert not list(key_conflicts(settings(usual)))
    assert not list(key_conflicts(settings({"group.id": "x", "test.nothing": 1})))


def test_without_the_librarys_functions_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_functions: object) -> ctypes.CDLL:
        raise OSError("not there")

    monkeypatch.setattr(client_keys, "declared", missing)
    assert not list(key_conflicts(settings({"sesion.timeout.ms": 1})))


@pytest.mark.parametrize(
    ("client", "errors"),
    [
        (
            {"sasl.username": "me", "ssl.ca.location": "ca.pem"},
            {
                "kafka.client.sasl.username": "has no effect without kafka.client.security.protocol = "
                "SASL_SSL or SASL_PLAINTEXT",
                "kafka.client.ssl.ca.location": "has no effect without kafka.client.security.protocol = "
                "SSL or SASL_SSL",
            },
        ),
        ({"security.protocol": "PLAINTEXT", "sasl.username": "me", "ssl.ca.location": "ca.pem"}, {}),
        (
            {"security.protocol": "SASL_SSL", "sasl.mechanisms": "SCRAM-SHA-512", "sasl.username": "me"},
            {"kafka.client.sasl.password": "is missing, which the mechanism SCRAM-SHA-512 needs"},
        ),
        (
            {"security.protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER"},
            {
                "kafka.client.sasl.oauthbearer.method": 'must be "oidc" with the mechanism OAUTHBEARER, or set '
                "kafka.msk_iam_region: there is no token otherwise"
            },
        ),
        (
            {"security.protocol": "SSL", "ssl.certificate.location": "our.pem"},
            {"kafka.client.ssl.certificate.location": "has no effect without kafka.client.ssl.key.location"},
        ),
        (
            {"security.protocol": "SSL", "ssl.key.pem": "x"},
            {"kafka.client.ssl.key.pem": "has no effect without kafka.client.ssl.certificate.location"},
        ),
        ({"security.protocol": "SSL", "ssl.certificate.pem": "x", "ssl.key.location": "our.key"}, {}),
        ({**OIDC, "sasl.oauthbearer.token.endpoint.url": "http://tokens", "sasl.oauthbearer.client.id": "me"}, SECRET),
        (
            {**OIDC, "sasl.oauthbearer.client.credentials.client.secret": "x"},
            {
                "kafka.client.sasl.oauthbearer.token.endpoint.url": NEEDED,
                "kafka.client.sasl.oauthbearer.client.id": NEEDED,
            },
        ),
        ({**OIDC, "sasl.oauthbearer.grant.type": "urn:ietf:params:oauth:grant-type:jwt-bearer"}, {}),
        ({**OIDC, "sasl.oauthbearer.metadata.authentication.type": "azure_imds"}, {}),
        (
            {**OIDC, "sasl.oauthbearer.metadata.authentication.type": "aws_iam"},
            {
                "kafka.client.sasl.oauthbearer.metadata.authentication.type": "can't be aws_iam, which librdkafka does "
                "not have: for MSK set kafka.msk_iam_region"
            },
        ),
        (
            {
                "security.protocol": "SASL_SSL",
                "sasl.mechanism": "OAUTHBEARER",
                "enable.sasl.oauthbearer.unsecure.jwt": "true",
            },
            {},
        ),
    ],
)
def test_credentials_that_no_connection_would_use_are_errors(
    client: dict[str, str | int | float | bool], errors: dict[str, str]
) -> None:
    assert {found.keys[0]: found.message for found in security_conflicts(settings(client))} == errors


def test_a_protocol_in_the_addresses_says_what_connections_use() -> None:
    assert not list(security_conflicts(settings({"sasl.username": "me"}, servers="SASL_SSL://kafka:9092")))
