"""A certificate of our own, with its key: use it, or say what is wrong with which of the files.

The standard library tells until when a certificate is valid only of authorities and of peers, so it is read here.
"""

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

_SEQUENCE, _VERSION, _UTC_TIME, _TIME = 0x30, 0xA0, 0x17, 0x18
_BEGIN = "-----BEGIN CERTIFICATE-----"
_END = "-----END CERTIFICATE-----"


class CertificateError(Exception):
    """Why a file cannot be used: one line without the file's name.

    Args:
        file: which one.
        is_key: whether it was to hold the key.
        reason: for people.
    """

    def __init__(self, file: Path, reason: str, *, is_key: bool = False) -> None:
        super().__init__(reason)
        self.file = file
        self.is_key = is_key


class OwnCertificate(NamedTuple):
    """Files in PEM format."""

    file: Path
    key_file: Path | None = None
    """None if the key is in the same file."""
    key_password: str = ""

    def show_in(self, context: ssl.SSLContext) -> None:
        """Show it to peers that ask who we are.

        Raises:
            CertificateError: a file cannot be read, holds something else, or the certificate has expired.
        """
        until = valid_until(_read(self.file, is_key=False))
        if until is not None and until < datetime.now(UTC):
            raise CertificateError(self.file, f"has expired ({until:%Y-%m-%d %H:%M} UTC)")
        if self.key_file is not None:
            _read(self.key_file, is_key=True)
        try:
            # Without a function OpenSSL would ask for a password on the terminal.
            context.load_cert_chain(self.file, self.key_file, password=lambda: self.key_password)
        except ssl.SSLError as error:
            raise self._refused(until is None, error.reason) from None

    def _refused(self, is_unknown: bool, reason: str | None) -> CertificateError:
        if is_unknown:
            return CertificateError(self.file, "holds no certificate")
        file, is_key = self.key_file or self.file, self.key_file is not None
        if reason == "KEY_VALUES_MISMATCH":
            return CertificateError(file, f"holds a key that is not of the certificate in {self.file}", is_key=is_key)
        return CertificateError(file, "holds no key that opens with the password given, or none", is_key=is_key)


def _read(file: Path, *, is_key: bool) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise CertificateError(file, f"cannot be read: {reason}", is_key=is_key) from None


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
