"""A real broker with authentication: TLS, users by PLAIN, SCRAM and tokens, an authorizer that denies by default."""

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from tests.support.broker import QUICK_START, KafkaBroker, Security, kafka_jars
from tests.support.certificates import Authority
from tests.support.token_server import AUDIENCE, TokenServer
from tests.support.waiting import until

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
USER = "worker"
_ADMIN = "admin"


class Acl(NamedTuple):
    """One right of the user."""

    resource: ResourceType
    name: str
    operation: AclOperation
    pattern: ResourcePatternType = ResourcePatternType.LITERAL

    def binding(self) -> AclBinding:
        """Return it as the admin client takes it."""
        return AclBinding(
            self.resource, self.name, self.pattern, f"User:{USER}", "*", self.operation, AclPermissionType.ALLOW
        )


class SecureBroker(NamedTuple):
    """Its address, what a client needs to connect, and the administration of rights."""

    bootstrap_servers: str
    ca_file: Path
    password: str
    admin: AdminClient
    admin_client: dict[str, str]

    def client(self, mechanism: str = "SCRAM-SHA-512", password: str | None = None) -> dict[str, str]:
        """Return librdkafka's keys for the user."""
        return {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": mechanism,
            "sasl.username": USER,
            "sasl.password": self.password if password is None else password,
            "ssl.ca.location": str(self.ca_file),
        }

    def grant_only(self, acls: Sequence[Acl]) -> None:
        """Revoke all rights and grant these; they hold when it returns."""
        nobody: Any = None  # its stub says str
        everything = AclBindingFilter(
            *(ResourceType.ANY, nobody, ResourcePatternType.ANY, nobody, nobody),
            *(AclOperation.ANY, AclPermissionType.ANY),
        )
        for future in self.admin.delete_acls([everything]).values():
            future.result(15)
        granted = [acl.binding() for acl in acls]
        for future in self.admin.create_acls(granted).values() if granted else ():
            future.result(15)
        until(
            lambda: set(self.admin.describe_acls(everything).result(15)) == set(granted),
            "the broker has applied the rights that the controller has acknowledged",
        )


@contextlib.contextmanager
def secure_broker(directory: Path, tokens: TokenServer | None = None) -> Iterator[SecureBroker]:
    """Run one during a `with` block; certificates are written to the directory.

    Args:
        directory: for certificates.
        tokens: whose tokens are accepted too; connections log in anew as often as these expire.

    Raises:
        NoBrokerError: Kafka can't be had as jars here.
    """
    authority = Authority(directory)
    store = _store(authority, directory)
    password, admin_password = f"canary-{uuid.uuid4().hex}", uuid.uuid4().hex
    admin_client = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": _ADMIN,
        "sasl.password": admin_password,
        "ssl.ca.location": str(authority.certificate),
    }
    security = Security(
        protocol="SASL_SSL",
        properties=_properties(store, authority.certificate, password, admin_password, tokens),
        scram=tuple(f"{mechanism}=[name={USER},password={password}]" for mechanism in MECHANISMS[1:]),
        admin=admin_client,
    )
    allowed = () if tokens is None else (f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={tokens.keys_url}",)
    with KafkaBroker(kafka_jars(), security, java=(*QUICK_START, *allowed)) as broker:
        servers = broker.bootstrap_servers
        admin = AdminClient({"bootstrap.servers": servers, "log_level": 2, **admin_client})
        yield SecureBroker(servers, authority.certificate, password, admin, admin_client)


@contextlib.contextmanager
def broker_by_certificates(directory: Path, authority: Authority) -> Iterator[SecureBroker]:
    """Run one that lets in who has a certificate of the authority; the certificate's common name is the user.

    Raises:
        NoBrokerError: Kafka can't be had as jars here.
    """
    admin = authority.sign(_ADMIN, _ADMIN)
    admin_client = {
        "security.protocol": "SSL",
        "ssl.certificate.location": str(admin.certificate),
        "ssl.key.location": str(admin.key),
        "ssl.ca.location": str(authority.certificate),
    }
    properties = {
        **_certificates(_store(authority, directory), authority.certificate),
        "ssl.client.auth": "required",
        "ssl.principal.mapping.rules": "RULE:^CN=(.*?)$/$1/",
        # The broker's own certificate is of its host.
        **_authorizer(_ADMIN, "localhost"),
    }
    with KafkaBroker(kafka_jars(), Security(protocol="SSL", properties=properties, admin=admin_client)) as broker:
        servers = broker.bootstrap_servers
        client = AdminClient({"bootstrap.servers": servers, "log_level": 2, **admin_client})
        yield SecureBroker(servers, authority.certificate, "", client, admin_client)


def _store(authority: Authority, directory: Path) -> Path:
    """The broker's own certificate with its key."""
    signed, store = authority.sign("localhost", "broker"), directory / "broker-store.pem"
    store.write_bytes(signed.key.read_bytes() + signed.certificate.read_bytes())
    return store


def _certificates(store: Path, ca_file: Path) -> dict[str, str]:
    return {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(store),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(ca_file),
    }


def _authorizer(*super_users: str) -> dict[str, str]:
    # Only the controller's own listener accepts unauthenticated connections.
    return {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": ";".join(f"User:{name}" for name in (*super_users, "ANONYMOUS")),
    }


def _properties(
    store: Path, ca_file: Path, password: str, admin_password: str, tokens: TokenServer | None
) -> dict[str, str]:
    plain = (
        f'org.apache.kafka.common.security.plain.PlainLoginModule required username="{_ADMIN}" '
        f'password="{admin_password}" user_{_ADMIN}="{admin_password}" user_{USER}="{password}";'
    )
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    return {
        "sasl.enabled.mechanisms": ",".join((*MECHANISMS, *([] if tokens is None else ["OAUTHBEARER"]))),
        **({} if tokens is None else _token_properties(tokens)),
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": plain,
        "listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config": scram,
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": scram,
        **_certificates(store, ca_file),
        **_authorizer(_ADMIN),
    }


def _token_properties(tokens: TokenServer) -> dict[str, str]:
    prefix, classes = "listener.name.sasl_ssl.oauthbearer", "org.apache.kafka.common.security.oauthbearer"
    return {
        f"{prefix}.sasl.jaas.config": f"{classes}.OAuthBearerLoginModule required;",
        f"{prefix}.sasl.server.callback.handler.class": f"{classes}.OAuthBearerValidatorCallbackHandler",
        f"{prefix}.sasl.oauthbearer.jwks.endpoint.url": tokens.keys_url,
        f"{prefix}.sasl.oauthbearer.expected.audience": AUDIENCE,
        f"{prefix}.sasl.oauthbearer.clock.skew.seconds": "0",
        f"{prefix}.connections.max.reauth.ms": "3600000",
    }
