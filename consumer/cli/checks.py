"""What settings need of this machine and of the client library, checked before a command begins its work."""

# ruff: noqa: PLC0415  # the compiler of schemas is only loaded where settings need it, so that `config` answers at once

import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path

from consumer.errors import ViewerConsumerError
from consumer.runtime.certificates import CertificateError, OwnCertificate
from consumer.settings.errors import Conflict
from consumer.settings.field_sources import FieldSettings
from consumer.settings.model import EventNameSettings, InputSettings, Settings

_SYSTEM_CERTIFICATES = "probe"
"""What `ssl.ca.location` may be instead of a path."""


_CLIENT_FILES = (".location", "sasl.oauthbearer.assertion.file", "sasl.oauthbearer.assertion.private.key.file")
"""How keys of `kafka.client` end that name a file to read."""


def client_files(settings: Settings) -> Iterator[Conflict]:
    """Certificates and keys of `kafka.client` that cannot be read or used."""
    unreadable = [
        found
        for key, value in settings.kafka.client.items()
        if key.endswith(_CLIENT_FILES) and value != _SYSTEM_CERTIFICATES
        for found in _unreadable((f"kafka.client.{key}",), Path(str(value)), is_folder_allowed=True)
    ]
    yield from unreadable or _client_certificate(settings.kafka.client)


def log_in_packages(settings: Settings) -> Iterator[Conflict]:
    """A package that a log-in needs and that is not installed."""
    if settings.kafka.msk_iam_region:
        from consumer.kafka.msk_iam import signer_error

        if message := signer_error():
            yield Conflict(("kafka.msk_iam_region",), message)


def _client_certificate(client: Mapping[str, object]) -> Iterator[Conflict]:
    """What is wrong with our own certificate, of which the client library's message names no file."""
    file, key_file = client.get("ssl.certificate.location"), client.get("ssl.key.location")
    if not file or not key_file:
        return
    certificate = OwnCertificate(Path(str(file)), Path(str(key_file)), str(client.get("ssl.key.password", "")))
    try:
        certificate.show_in(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    except CertificateError as error:
        key = "ssl.key.location" if error.is_key else "ssl.certificate.location"
        yield Conflict((f"kafka.client.{key}",), f"{error.file.absolute()}: {error}")


def input_files(settings: Settings) -> Iterator[Conflict]:
    """Schema files and the registry's certificates, if they cannot be read; else schemas that cannot be mapped."""
    source = settings.input
    unreadable = [
        *(found for i, path in enumerate(source.schemas) for found in _unreadable((f"input.schemas[{i}]",), path)),
        *(found for schema_id, path in source.ids.items() for found in _unreadable((f"input.ids.{schema_id}",), path)),
    ]
    yield from unreadable
    yield from _registry_certificates(source)
    if not unreadable:
        yield from _unmapped(source)


def _unreadable(keys: tuple[str, ...], path: Path, *, is_folder_allowed: bool = False) -> Iterator[Conflict]:
    try:
        if not (is_folder_allowed and path.is_dir()):
            path.open("rb").close()
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        yield Conflict(keys, f"{path.absolute()}: cannot be read: {reason}")


def _registry_certificates(source: InputSettings) -> Iterator[Conflict]:
    if source.schema_registry_ca_file is None and source.schema_registry_certificate_file is None:
        return
    from consumer.intake.schemas.access import access_of

    try:
        access_of(source).tls()
    except ViewerConsumerError as error:
        key, _, message = str(error).partition(": ")
        yield Conflict((key,), message)


def _unmapped(source: InputSettings) -> Iterator[Conflict]:
    """What `run` would say of the schemas that it knows from the start."""
    is_mapped = (source.fields, source.events) != (FieldSettings(), EventNameSettings())
    is_builtin = not (source.schemas or source.ids or source.schema_registry_url)
    if not (source.schemas or source.ids or (is_builtin and is_mapped)):
        return
    from consumer.intake.compiler.mapping import mapping_from
    from consumer.intake.schemas.pinned import load_pinned

    for keys, part in _separate(source):
        try:
            load_pinned(part, mapping_from(part))
        except ViewerConsumerError as error:
            what = "without input.schemas, input.ids and a registry the built-in schema is read: " if is_builtin else ""
            yield Conflict(keys, f"{what}{error}".removeprefix(f"{keys[0]}: "))


def _separate(source: InputSettings) -> Iterator[tuple[tuple[str, ...], InputSettings]]:
    """Settings with one schema each where that is possible, so that each error is reported."""
    if not source.ids:
        yield ("input.schemas" if source.schemas else "input.fields",), source
    for schema_id, path in source.ids.items():
        yield (f"input.ids.{schema_id}",), source.model_copy(update={"ids": {schema_id: path}})
