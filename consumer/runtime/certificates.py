"""Read until when a certificate is valid; the standard library tells it only of authorities, and of peers."""

import ssl
from datetime import UTC, datetime

_SEQUENCE, _VERSION, _UTC_TIME, _TIME = 0x30, 0xA0, 0x17, 0x18
_BEGIN = "-----BEGIN CERTIFICATE-----"
_END = "-----END CERTIFICATE-----"


def valid_until(pem: str) -> datetime | None:
    """When the first certificate of a PEM file expires; None if there is none that is understood."""
    _, begin, rest = pem.partition(_BEGIN)
    text, end, _ = rest.partition(_END)
    if not begin or not end:
        return None
    try:
        return _not_after(ssl.PEM_cert_to_DER_cert(f"{_BEGIN}{text}{_END}\n"))
    except (ValueError, IndexError):
        return None


def _not_after(der: bytes) -> datetime:
    """From the encoding of RFC 5280: version (optional), serial, algorithm, issuer, then the two times."""
    certificate = _expect(der, _SEQUENCE)
    fields = _expect(certificate, _SEQUENCE)
    tag, _, rest = _next(fields)
    if tag == _VERSION:
        _, _, rest = _next(rest)
    _, _, rest = _next(rest)
    _, _, rest = _next(rest)
    _, _, after = _next(_expect(rest, _SEQUENCE))
    tag, value, _ = _next(after)
    if tag not in {_UTC_TIME, _TIME}:
        raise ValueError("no time")
    digits = value.decode("ascii")
    if tag == _UTC_TIME:  # of two digits, from 1950 on
        digits = ("19" if digits >= "50" else "20") + digits
    return datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _expect(data: bytes, tag: int) -> bytes:
    """The content of the first element, which must have this tag."""
    found, content, _ = _next(data)
    if found != tag:
        raise ValueError("another element is expected")
    return content


def _next(data: bytes) -> tuple[int, bytes, bytes]:
    """Tag and content of the first element, and what follows it."""
    size, begin = data[1], 2
    if size & 0x80:
        begin += size & 0x7F
        size = int.from_bytes(data[2:begin], "big")
    return data[0], data[begin : begin + size], data[begin + size :]
