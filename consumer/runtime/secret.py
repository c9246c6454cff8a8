"""Recognize and hide secrets, and create secret keys."""

import re
import secrets

HIDDEN = "***"
"""Replaces a secret in text for people."""

_SECRET = re.compile(
    r"passw(or)?d|passphrase|secret|token|credential|api.?key|basic.auth|jaas|private.?key|key\.pem"
    r"|^ssl_key$|oauthbearer\.config",
    re.IGNORECASE,
)
_NOT_SECRET = frozenset({"sasl.oauthbearer.token.endpoint.url", "sasl.oauthbearer.client.credentials.client.id"})


def is_secret(name: str) -> bool:
    """Whether a setting, a client property or a log field of this name holds a secret."""
    return name not in _NOT_SECRET and _SECRET.search(name) is not None


def new_hash_key() -> tuple[int, int]:
    """A random 128-bit key as two 64-bit words, for the hashes of a partition."""
    return secrets.randbits(64), secrets.randbits(64)
