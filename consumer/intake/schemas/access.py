"""Access to a schema registry: address without secrets, credentials, certificates."""

import base64
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

from consumer.errors import ViewerConsumerError
from consumer.runtime.certificates import valid_until
from consumer.settings.model import InputSettings

_PREFIX = "input.schema_registry_"

HOW_TO_LOG_IN = "input.schema_registry_user and input.schema_registry_password, or input.schema_registry_token"


class ClientCertificate(NamedTuple):
    """What we show to a registry that asks who we are."""

    file: Path
    key_file: Path | None = None
    """None if the key is in the same file."""
    key_password: str = ""

    def show_in(self, context: ssl.SSLContext) -> None:
        """Load it.

        Raises:
            ViewerConsumerError: it cannot be used; names the setting and the file.
        """
        until = valid_until(_read(f"{_PREFIX}certificate_file", self.file))
        if until is not None and until < datetime.now(UTC):
            raise _unusable(f"{_PREFIX}certificate_file", self.file, f"has expired ({until:%Y-%m-%d %H:%M} UTC)")
        if self.key_file is not None:
            _read(f"{_PREFIX}key_file", self.key_file)
        try:
            # Without a function OpenSSL would ask for a password on the terminal.
            context.load_cert_chain(self.file, self.key_file, password=lambda: self.key_password)
        except ssl.SSLError as error:
            raise self._refused(until is None, error) from None

    def _refused(self, is_unknown: bool, error: ssl.SSLError) -> ViewerConsumerError:
        if is_unknown:
            return _unusable(f"{_PREFIX}certificate_file", self.file, "holds no certificate")
        key, file = f"{_PREFIX}key_file", self.key_file
        if file is None:
            key, file = f"{_PREFIX}certificate_file", self.file
        if error.reason == "KEY_VALUES_MISMATCH":
            return _unusable(key, file, f"its key is not that of the certificate {self.file}")
        return _unusable(key, file, f"holds no private key, or {_PREFIX}key_password does not open it")


class RegistryAccess(NamedTuple):
    """Address, credentials and certificates."""

    address: str
    """The address without user and password, for messages."""
    authorization: str = ""
    """Value of the Authorization header; empty for none."""
    ca_file: Path | None = None
    """File of trusted certificates, instead of the system's."""
    certificate: ClientCertificate | None = None
    """Our own."""

    def tls(self) -> ssl.SSLContext | None:
        """A TLS context with what the files hold now; None for http.

        Raises:
            ViewerConsumerError: a file cannot be used; names the setting and the file.
        """
        if not self.address.startswith("https:"):
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            reason = error.strerror if error.errno and not isinstance(error, ssl.SSLError) else "holds no certificates"
            raise ViewerConsumerError(f"{_PREFIX}ca_file: {self.ca_file}: {reason}") from None
        if self.certificate is not None:
            self.certificate.show_in(context)
        return context


def _read(key: str, path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise _unusable(key, path, error.strerror or type(error).__name__) from None


def _unusable(key: str, path: Path, reason: str) -> ViewerConsumerError:
    return ViewerConsumerError(f"{key}: {path}: {reason}")


def access_of(source: InputSettings) -> RegistryAccess:
    """Access by the settings; the URL may contain user and password."""
    parts = urlsplit(source.schema_registry_url)
    in_url, _, host = parts.netloc.rpartition("@")
    user, _, password = in_url.partition(":")
    address = urlunsplit((parts.scheme.lower(), host, parts.path.rstrip("/"), "", ""))
    authorization = ""
    if token := source.schema_registry_token.get_secret_value():
        authorization = f"Bearer {token}"
    elif source.schema_registry_user:
        authorization = _basic(source.schema_registry_user, source.schema_registry_password.get_secret_value())
    elif in_url:
        authorization = _basic(unquote(user), unquote(password))
    return RegistryAccess(address, authorization, source.schema_registry_ca_file, _certificate_of(source))


def _certificate_of(source: InputSettings) -> ClientCertificate | None:
    if source.schema_registry_certificate_file is None:
        return None
    password = source.schema_registry_key_password.get_secret_value()
    return ClientCertificate(source.schema_registry_certificate_file, source.schema_registry_key_file, password)


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
