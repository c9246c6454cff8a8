"""Check addresses: of brokers, of a registry, and of our own HTTP server."""

import re
from ipaddress import IPv6Address
from urllib.parse import urlsplit

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+._-]*)://(.*)", re.DOTALL)
_BROKER_SCHEMES = frozenset({"plaintext", "ssl", "sasl_plaintext", "sasl_ssl"})
"""What librdkafka takes before an address."""

_HOST = r"(?:\[[0-9A-Fa-f:.%]+\]|[^\s/@?#$\[\]{}()<>\"'`;:|\\]+)"
_BROKER = re.compile(rf"(?P<host>{_HOST})(?::(?P<port>[0-9]*))?")
_HOST_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_LARGEST_PORT = 65_535


def broker_addresses(servers: str) -> str:
    """Check `kafka.bootstrap_servers`.

    Raises:
        ValueError: one of the addresses cannot be one; names it.
    """
    for address in (part.strip() for part in servers.split(",")):
        if fault := _broker_fault(address):
            raise ValueError(f'must be one or more addresses as "host:port", with commas between{fault}')
    return servers


def _broker_fault(address: str) -> str:
    """What is wrong with one address, as the end of a sentence; empty if nothing is."""
    if not address:
        return "; one is empty"
    scheme = _SCHEME.fullmatch(address)
    if scheme and scheme[1].lower() not in _BROKER_SCHEMES:
        return f'; leave out "{scheme[1]}://"'
    found = _BROKER.fullmatch(scheme[2] if scheme else address)
    if found is None:
        return f', not "{_without_user(address)}"'
    if found["port"] is not None and not _is_port(found["port"]):
        return f'; "{found["port"]}" is not a port from 1 to {_LARGEST_PORT}'
    return ""


def _is_port(text: str) -> bool:
    return text.isdigit() and 1 <= int(text[:6]) <= _LARGEST_PORT


def _without_user(address: str) -> str:
    """The address without what stands before an @, which may be a password."""
    return address.rpartition("@")[2]


def registry_url(url: str) -> str:
    """Check `input.schema_registry_url`; empty is none.

    Raises:
        ValueError: it cannot be an address.
    """
    if not url:
        return url
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(char.isspace() for char in url):
        raise ValueError("must be an http:// or https:// address")
    if parts.query or parts.fragment:
        raise ValueError("must be an http:// or https:// address without ? and #")
    return url


def listen_host(host: str) -> str:
    """Check `http.host`.

    Raises:
        ValueError: it has more than a host, or cannot be one.
    """
    if not _HOST_NAME.fullmatch(host) and not _is_ipv6(host):
        raise ValueError('must be a host name or an address, as "0.0.0.0", without a port: that is http.port')
    return host


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True
