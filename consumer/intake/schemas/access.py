"""Access to a schema registry: address without secrets, credentials, trusted certificates."""

import base64
import ssl
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

from consumer.errors import ViewerConsumerError
from consumer.settings.model import InputSettings

HOW_TO_LOG_IN = "input.schema_registry_user and input.schema_registry_password, or input.schema_registry_token"


class RegistryAccess(NamedTuple):
    """Address, credentials and trusted certificates."""

    address: str
    """The address without user and password, for messages."""
    authorization: str = ""
    """Value of the Authorization header; empty for none."""
    ca_file: Path | None = None
    """File of trusted certificates, instead of the system's."""

    def tls(self) -> ssl.SSLContext | None:
        """The TLS context; None for http.

        Raises:
            ViewerConsumerError: the certificate file cannot be used.
        """
        if not self.address.startswith("https:"):
            return None
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            reason = error.strerror if error.errno and not isinstance(error, ssl.SSLError) else "holds no certificates"
            raise ViewerConsumerError(f"input.schema_registry_ca_file: {self.ca_file}: {reason}") from None


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
    return RegistryAccess(address, authorization, source.schema_registry_ca_file)


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
