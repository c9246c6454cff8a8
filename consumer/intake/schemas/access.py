"""Access to a schema registry: address without secrets, credentials, certificates."""

import base64
import ssl
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

from consumer.errors import ViewerConsumerError
from consumer.runtime.certificates import CertificateError, OwnCertificate
from consumer.settings.model import InputSettings

_PREFIX = "input.schema_registry_"

HOW_TO_LOG_IN = "input.schema_registry_user and input.schema_registry_password, or input.schema_registry_token"


class RegistryAccess(NamedTuple):
    """Address, credentials and certificates."""

    address: str
    """The address without user and password, for messages."""
    authorization: str = ""
    """Value of the Authorization header; empty for none."""
    ca_file: Path | None = None
    """File of trusted certificates, instead of the system's."""
    certificate: OwnCertificate | None = None
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
            try:
                self.certificate.show_in(context)
            except CertificateError as error:
                key = "key_file" if error.is_key else "certificate_file"
                raise ViewerConsumerError(f"{_PREFIX}{key}: {error.file}: {error}") from None
        return context


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


def _certificate_of(source: InputSettings) -> OwnCertificate | None:
    if source.schema_registry_certificate_file is None:
        return None
    password = source.schema_registry_key_password.get_secret_value()
    return OwnCertificate(source.schema_registry_certificate_file, source.schema_registry_key_file, password)


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
