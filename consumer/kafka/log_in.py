"""How all clients log in: keys that settings imply, and log-ins that cannot work. Does not load the client library."""

import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path

from consumer.settings.errors import Conflict
from consumer.settings.model import KafkaSettings, Settings

MSK_IAM_REGION = "viewer-consumer.msk-iam.region"
"""Not of librdkafka: says in the configuration of a client that it logs in with tokens signed for that region."""

_MECHANISM = ("sasl.mechanisms", "sasl.mechanism")
_TOKEN_URL = "sasl.oauthbearer.token.endpoint.url"  # noqa: S105  # the name of a key
_CLIENT_ID = ("sasl.oauthbearer.client.id", "sasl.oauthbearer.client.credentials.client.id")
_CLIENT_SECRET = ("sasl.oauthbearer.client.secret", "sasl.oauthbearer.client.credentials.client.secret")
_HTTPS_CA = ("https.ca.location", "https.ca.pem")

_AUTHORITIES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where distributions keep the trusted authorities: Debian, Red Hat, SUSE, Alpine."""


def log_in_keys(kafka: KafkaSettings) -> Mapping[str, str]:
    """The keys that follow from settings, for every client."""
    if kafka.msk_iam_region:
        return {
            "security.protocol": "SASL_SSL",
            "sasl.mechanisms": "OAUTHBEARER",
            MSK_IAM_REGION: kafka.msk_iam_region,
        }
    if token_endpoint(kafka.client).startswith("https:") and not _given(kafka.client, _HTTPS_CA):
        # The library in the binding's wheels looks where Red Hat's systems keep them, and nowhere else.
        found = trusted_authorities()
        return {"https.ca.location": found} if found else {}
    return {}


def token_endpoint(client: Mapping[str, object]) -> str:
    """Where the client library fetches tokens; empty if it does not."""
    is_oidc = str(client.get("sasl.oauthbearer.method", "")).strip().lower() == "oidc"
    return _given(client, (_TOKEN_URL,)) if is_oidc else ""


def trusted_authorities() -> str:
    """The system's file of trusted authorities; empty if there is none."""
    usual = ssl.get_default_verify_paths().cafile
    return next((path for path in (usual, *_AUTHORITIES) if path and Path(path).is_file()), "")


def security_conflicts(settings: Settings) -> Iterator[Conflict]:
    """Credentials and certificates that no connection would use, and mechanisms without credentials."""
    kafka = settings.kafka
    protocol = str(kafka.client.get("security.protocol", "")).strip().lower()
    if kafka.msk_iam_region:
        yield from _msk_iam_conflicts(kafka.client)
    elif not protocol and "://" not in kafka.bootstrap_servers:
        yield from _without_effect(kafka.client)
        return
    elif protocol.startswith("sasl_"):
        yield from _missing_credentials(kafka.client)
    yield from _half_a_certificate(kafka.client)


def _half_a_certificate(client: Mapping[str, object]) -> Iterator[Conflict]:
    """The client library would show no certificate."""
    ways = ("ssl.certificate.location", "ssl.certificate.pem"), ("ssl.key.location", "ssl.key.pem")
    for here, there in (ways, ways[::-1]):
        given = next((key for key in here if client.get(key)), "")
        if given and not _given(client, there):
            yield _conflict(given, f"has no effect without kafka.client.{there[0]}", f"kafka.client.{there[0]}")


def _msk_iam_conflicts(client: Mapping[str, object]) -> Iterator[Conflict]:
    protocol = str(client.get("security.protocol", "sasl_ssl")).strip().lower()
    if protocol != "sasl_ssl":
        yield _conflict("security.protocol", "must be SASL_SSL, or left out, with kafka.msk_iam_region")
    for key in client:
        if key.startswith(("sasl.", "enable.sasl.")):
            yield _conflict(
                key, "has no effect with kafka.msk_iam_region; set only one of them", "kafka.msk_iam_region"
            )


def _without_effect(client: Mapping[str, object]) -> Iterator[Conflict]:
    for prefix, protocols in (("sasl.", "SASL_SSL or SASL_PLAINTEXT"), ("ssl.", "SSL or SASL_SSL")):
        for key in (key for key in client if key.startswith(prefix)):
            message = f"has no effect without kafka.client.security.protocol = {protocols}"
            yield _conflict(key, message, "kafka.client.security.protocol")


def _missing_credentials(client: Mapping[str, object]) -> Iterator[Conflict]:
    mechanism = _given(client, _MECHANISM)
    if mechanism.startswith(("PLAIN", "SCRAM-")):
        for key in ("sasl.username", "sasl.password"):
            if not client.get(key):
                yield _missing(key, f"the mechanism {mechanism}", "sasl.mechanism")
    if mechanism == "OAUTHBEARER":
        yield from _missing_for_tokens(client)


def _missing_for_tokens(client: Mapping[str, object]) -> Iterator[Conflict]:
    """What the client library needs to have tokens; other ways than a client's secret are left to it to judge."""
    if str(client.get("enable.sasl.oauthbearer.unsecure.jwt", "")).lower() == "true":
        return
    if str(client.get("sasl.oauthbearer.method", "")).strip().lower() != "oidc":
        why = 'must be "oidc" with the mechanism OAUTHBEARER, or set kafka.msk_iam_region: there is no token otherwise'
        yield _conflict("sasl.oauthbearer.method", why, "kafka.client.sasl.mechanisms")
        return
    metadata = "sasl.oauthbearer.metadata.authentication.type"
    if _given(client, (metadata,)) == "aws_iam":
        yield _conflict(metadata, "can't be aws_iam, which librdkafka does not have: for MSK set kafka.msk_iam_region")
    if _given(client, (metadata, "sasl.oauthbearer.grant.type")) not in {"", "none", "client_credentials"}:
        return
    for keys in ((_TOKEN_URL,), _CLIENT_ID, _CLIENT_SECRET):
        if not _given(client, keys):
            yield _missing(keys[0], "sasl.oauthbearer.method = oidc", "sasl.oauthbearer.method")


def _given(client: Mapping[str, object], keys: tuple[str, ...]) -> str:
    """The value of the first of these keys that has one."""
    return next((str(client[key]).strip() for key in keys if client.get(key)), "")


def _missing(key: str, what: str, other: str) -> Conflict:
    return _conflict(key, f"is missing, which {what} needs", f"kafka.client.{other}")


def _conflict(key: str, message: str, *others: str) -> Conflict:
    return Conflict((f"kafka.client.{key}", *others), message)
