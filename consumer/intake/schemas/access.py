"""How a schema registry is reached: its address without secrets, who we are, and whom we trust."""

import base64
import ssl
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

from consumer.errors import ViewerConsumerError
from consumer.settings.model import InputSettings

HOW_TO_LOG_IN = "input.schema_registry_user and input.schema_registry_password, or input.schema_registry_token"


class RegistryAccess(NamedTuple):
    """Where, as whom, and trusting whom."""

    address: str
    """Without user and password, for people."""
    authorization: str = ""
    """The value of the header; empty where nobody asks."""
    ca_file: Path | None = None
    """Certificates that are trusted in place of the system's."""

    def tls(self) -> ssl.SSLContext | None:
        """What is trusted; None where the address needs none.

        Raises:
            ViewerConsumerError: the file of certificates can't be used.
        """
        if not self.address.startswith("https:"):
            return None
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            reason = error.strerror if error.errno and not isinstance(error, ssl.SSLError) else "holds no certificates"
            raise ViewerConsumerError(f"input.schema_registry_ca_file: {self.ca_file}: {reason}") from None


def access_of(source: InputSettings) -> RegistryAccess:
    """What the settings say; user and password may stand in the address."""
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
