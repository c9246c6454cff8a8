"""The registry client against peers that mean harm, over real sockets; and how it logs in and whom it trusts."""

import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.errors import ViewerConsumerError
from consumer.intake.compiler.schema_json import SchemaRefused
from consumer.intake.schemas.access import RegistryAccess, access_of
from consumer.intake.schemas.builtin import builtin_schema_text
from consumer.intake.schemas.registry import Registry, RegistryUnavailable
from consumer.runtime.certificates import OwnCertificate
from consumer.settings.model import InputSettings, load_settings
from tests.intake.schemas.raw_server import RawServer, raw_server
from tests.intake.schemas.registry_server import Answer, RegistryServer
from tests.support.certificates import Authority, Certificate, encrypted

OURS = builtin_schema_text("viewer_event")
LOOK_UP_BUDGET_S = 1.0
LONGEST_CALL_S = 10.0
"""The budget, and some for a busy machine."""


def client(url: str, **settings: Any) -> Registry:
    return Registry(access_of(InputSettings.model_validate({"schema_registry_url": url, **settings})))


def trouble(registry: Registry) -> str:
    """Why there is no answer; within the budget, whatever the peer does."""
    began_s = time.monotonic()
    with pytest.raises(RegistryUnavailable) as unavailable:
        registry.schema_by_id(7, LOOK_UP_BUDGET_S)
    assert time.monotonic() - began_s < LONGEST_CALL_S
    return str(unavailable.value)


# Peers that never come to an end. Every byte comes in time for a socket's timeout.

DRIPS = {
    "a status line": (b"", b"H"),
    "header lines": (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
    "a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" "),
    "a body without a length": (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "an answer that is not final": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize(("first", "drops"), DRIPS.values(), ids=DRIPS)
def test_a_peer_that_drips_is_left_in_time_and_for_good(first: bytes, drops: bytes) -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(first)
        while not server.over.wait(0.02):
            for byte in drops:
                connection.sendall(bytes([byte]))

    with raw_server(behave) as server:
        assert "gives no answer" in trouble(client(server.url))
        assert server.left.acquire(timeout=10), "the connection is closed, so that no thread stays in it"


def test_a_handshake_that_never_ends_is_left_in_time() -> None:
    def behave(connection: socket.socket) -> None:
        while not server.over.wait(0.02) and connection.recv(65_536):
            connection.sendall(b"\x16\x03\x03\x40\x00")

    with raw_server(behave) as server:
        assert "gives no answer" in trouble(client(server.url.replace("http:", "https:")))
        assert server.left.acquire(timeout=10)


def test_no_thread_stays_behind() -> None:
    def behave(_connection: socket.socket) -> None:
        server.over.wait(30)

    with raw_server(behave) as server:
        trouble(client(server.url))
        for thread in [each for each in threading.enumerate() if each.name == "http-call"]:
            thread.join(10)
            assert not thread.is_alive()


# Peers that say anything at all.


@pytest.fixture(scope="module")
def parrot() -> Iterator[RawServer]:
    """Says what `says` holds."""

    def behave(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(SAYS[-1])

    with raw_server(behave) as server:
        yield server


SAYS: list[bytes] = [b""]
LINES = st.sampled_from(
    [
        *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 404 X\r\n", b"HTTP/9.9 999\r\n", b"HTTP/1.1 -1 \xff\r\n", b"\r\n"),
        *(b"Content-Length: 9\r\n", b"Content-Length: -9\r\n", b"Content-Length: " + b"9" * 5_000 + b"\r\n"),
        *(b"Transfer-Encoding: chunked\r\n", b"zz\r\n", b"ffffffffffffffff\r\n", b"Location: http://x\r\n", b": \r\n"),
        *(
            b"\xff\xfe: \x00\r\n",
            b" folded\r\n",
            b"Content-Encoding: gzip\r\n",
            b"{}",
            b'{"schema": "{}"}',
            b"x" * 70_000,
        ),
    ]
)


@settings(max_examples=60)
@given(said=st.one_of(st.lists(LINES, max_size=8).map(b"".join), st.binary(max_size=200)))
def test_whatever_bytes_come_back_are_an_answer_or_none(parrot: RawServer, said: bytes) -> None:
    SAYS[-1] = said
    answers(client(parrot.url))


JSON = st.recursive(
    st.one_of(
        *(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats()),
        *(st.text(max_size=5), st.sampled_from(["AVRO", OURS, '"string"', "\ud800", "{", "x" * 3_000])),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["schema", "schemaType", "references", "subject", "version", "error_code", "id", "name"]),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(answer=JSON, status=st.sampled_from([200, 200, 200, 404, 422]))
def test_whatever_json_comes_back_is_an_answer_or_none(answer: Any, status: int) -> None:
    server = SERVER[0]
    server.fault = Answer(status, json.dumps(answer).encode())
    answers(client(server.url))


SERVER: list[RegistryServer] = []


@pytest.fixture(autouse=True, scope="module")
def _server() -> Iterator[None]:
    SERVER.append(RegistryServer())
    yield
    SERVER.pop().close()


def answers(registry: Registry) -> None:
    """It raises nothing but what callers know of, and one short line of that."""
    why = ""
    try:
        registry.schema_by_id(7, LOOK_UP_BUDGET_S)
    except (RegistryUnavailable, SchemaRefused) as error:
        why = str(error)
    assert all(char.isprintable() for char in why)
    assert len(why) < 2_000


# Logging in.


def test_user_and_password_as_settings(registry: RegistryServer) -> None:
    registry.add(7, OURS)
    found = client(registry.url, schema_registry_user="worker", schema_registry_password="s3cr@t")
    assert found.schema_by_id(7, LOOK_UP_BUDGET_S) is not None
    assert registry.credentials() == {"Basic d29ya2VyOnMzY3JAdA=="}


def test_a_token(registry: RegistryServer) -> None:
    registry.add(7, OURS)
    assert client(registry.url, schema_registry_token="eyJ.abc").schema_by_id(7, LOOK_UP_BUDGET_S) is not None
    assert registry.credentials() == {"Bearer eyJ.abc"}


def test_a_token_from_a_file(registry: RegistryServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("eyJ.abc\n")
    environ = {
        "VIEWER_CONSUMER_INPUT__SCHEMA_REGISTRY_URL": registry.url,
        "VIEWER_CONSUMER_INPUT__SCHEMA_REGISTRY_TOKEN__FILE": str(tmp_path / "token"),
    }
    Registry(access_of(load_settings(None, [], environ).input)).schema_by_id(7, LOOK_UP_BUDGET_S)
    assert registry.credentials() == {"Bearer eyJ.abc"}


def test_credentials_are_sent_to_no_other_host(registry: RegistryServer) -> None:
    other = RegistryServer()
    try:
        registry.fault = Answer(307, b"", {"Location": f"{other.url}/schemas/ids/7"})
        assert "answers with a redirect (307)" in trouble(client(registry.url, schema_registry_token="abc"))
        assert other.asked() == []
    finally:
        other.close()


# Trust.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def secure(authority: Authority) -> Iterator[RegistryServer]:
    server = RegistryServer(_tls_of(authority, "127.0.0.1"))
    server.add(7, OURS)
    yield server
    server.close()


def _tls_of(authority: Authority, host: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign(host))
    return context


def test_a_registry_whose_certificate_is_trusted(secure: RegistryServer, authority: Authority) -> None:
    trusting = client(secure.url, schema_registry_ca_file=authority.certificate, schema_registry_token="abc")
    assert trusting.schema_by_id(7, LOOK_UP_BUDGET_S) is not None
    assert secure.credentials() == {"Bearer abc"}


def test_one_that_the_system_does_not_trust_is_told_nothing(secure: RegistryServer) -> None:
    why = trouble(client(secure.url, schema_registry_token="abc"))
    assert "its certificate isn't trusted: " in why
    assert secure.asked() == []


def test_one_whose_certificate_is_for_another_host(authority: Authority) -> None:
    server = RegistryServer(_tls_of(authority, "registry.example"))
    try:
        why = trouble(client(server.url, schema_registry_ca_file=authority.certificate))
        assert "its certificate isn't trusted: IP address mismatch" in why
    finally:
        server.close()


def test_one_that_speaks_no_tls(registry: RegistryServer) -> None:
    assert "gives no answer (TLS: wrong version number)" in trouble(client(registry.url.replace("http:", "https:")))


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file or directory"), (b"no certificate", "holds no certificates")]
)
def test_certificates_that_cannot_be_used_are_told_at_once(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ViewerConsumerError) as unusable:
        Registry(RegistryAccess("https://registry", ca_file=path))
    assert str(unusable.value) == f"input.schema_registry_ca_file: {path}: {reason}"


# A registry that asks for our certificate.


@pytest.fixture
def strict(authority: Authority) -> Iterator[RegistryServer]:
    context = _tls_of(authority, "127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.certificate)
    server = RegistryServer(context)
    server.add(7, OURS)
    yield server
    server.close()


def shown(server: RegistryServer, authority: Authority, certificate: Path, key: Path | None, **more: Any) -> Registry:
    files = {"schema_registry_ca_file": authority.certificate, "schema_registry_certificate_file": certificate}
    return client(server.url, **files, **({} if key is None else {"schema_registry_key_file": key}), **more)


def test_our_certificate_is_shown_to_a_registry_that_asks_for_it(
    strict: RegistryServer, authority: Authority, tmp_path: Path
) -> None:
    ours = authority.sign("worker", "worker")
    both = tmp_path / "both.pem"
    both.write_bytes(ours.key.read_bytes() + ours.certificate.read_bytes())
    opened = shown(strict, authority, ours.certificate, encrypted(ours.key, "x"), schema_registry_key_password="x")
    for registry in (shown(strict, authority, *ours), shown(strict, authority, both, None), opened):
        assert registry.schema_by_id(7, LOOK_UP_BUDGET_S) is not None


def test_a_registry_that_asks_for_a_certificate_in_vain_is_told_as_such(
    strict: RegistryServer, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other").sign("worker")
    for registry in (
        client(strict.url, schema_registry_ca_file=authority.certificate),
        shown(strict, authority, *stranger),
    ):
        why = trouble(registry)
        assert re.search(r"\((it refuses our certificate, or that there is none: |\w+, as of one that asks for)", why)
        assert why.endswith("see input.schema_registry_certificate_file)")
    assert strict.asked() == []


def test_a_certificate_that_was_renewed_is_used_without_a_restart(
    strict: RegistryServer, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    certificate, key = tmp_path / "ours.pem", tmp_path / "ours.key"
    old, new = Authority(tmp_path / "other").sign("worker"), authority.sign("worker", "renewed")
    _copy(old, certificate, key)
    registry = shown(strict, authority, certificate, key)
    trouble(registry)
    _copy(new, certificate, key)
    assert registry.schema_by_id(7, LOOK_UP_BUDGET_S) is not None
    certificate.unlink()
    assert f"gives no answer (input.schema_registry_certificate_file: {certificate}: cannot be read" in trouble(
        registry
    )


def _copy(made: Certificate, certificate: Path, key: Path) -> None:
    certificate.write_bytes(made.certificate.read_bytes())
    key.write_bytes(made.key.read_bytes())


def test_a_certificate_that_cannot_be_used_is_told_at_once(authority: Authority, tmp_path: Path) -> None:
    ours, expired, other = (authority.sign("worker", name, days) for name, days in (("a", 2), ("b", -1), ("c", 2)))
    none = tmp_path / "none"
    wrong = {
        (none, ours.key): f"certificate_file: {none}: cannot be read: No such file or directory",
        (ours.certificate, none): f"key_file: {none}: cannot be read: No such file or directory",
        (ours.key, ours.key): f"certificate_file: {ours.key}: holds no certificate",
        (ours.certificate, None): f"certificate_file: {ours.certificate}: holds no key that opens with the password "
        "given, or none",
        (ours.certificate, encrypted(ours.key, "x")): f"key_file: {ours.key.with_suffix('.encrypted')}: holds no key "
        "that opens with the password given, or none",
        (ours.certificate, other.key): f"key_file: {other.key}: holds a key that is not of the certificate in "
        f"{ours.certificate}",
    }
    for (certificate, key), message in wrong.items():
        assert _unusable(certificate, key) == f"input.schema_registry_{message}"
    assert re.fullmatch(
        rf"input\.schema_registry_certificate_file: {expired.certificate}: has expired \(.* UTC\)", _unusable(*expired)
    )


def _unusable(certificate: Path, key: Path | None) -> str:
    with pytest.raises(ViewerConsumerError) as error:
        Registry(RegistryAccess("https://registry", certificate=OwnCertificate(certificate, key)))
    return str(error.value)
