"""Certificates for tests, made by openssl: an authority, and the certificates that it signs."""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest


class Certificate(NamedTuple):
    """Files in PEM format."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates; clients that trust `certificate` trust them."""

    def __init__(self, directory: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not on the PATH")
        self._directory = directory
        self._key = directory / "ca.key"
        self.certificate = directory / "ca.pem"
        subject = ["-subj", "/CN=tests", "-days", "2", "-nodes", "-newkey", "rsa:2048"]
        _openssl("req", "-x509", *subject, "-keyout", str(self._key), "-out", str(self.certificate))

    def sign(self, host: str, name: str = "server", days: int = 2) -> Certificate:
        """Return a certificate for one host name or address, or one client; below 0 days it has expired."""
        made = Certificate(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        request, extensions = self._directory / f"{name}.csr", self._directory / f"{name}.ext"
        kind = "IP" if host.replace(".", "").isdigit() else "DNS"
        extensions.write_text(f"subjectAltName={kind}:{host}\n")
        subject = ["-subj", f"/CN={host}", "-nodes", "-newkey", "rsa:2048"]
        _openssl("req", *subject, "-keyout", str(made.key), "-out", str(request))
        signing = ["-CA", str(self.certificate), "-CAkey", str(self._key), "-CAcreateserial", "-days", str(days)]
        _openssl("x509", "-req", "-in", str(request), *signing, "-extfile", str(extensions), "-out", str(made[0]))
        return made


def encrypted(key: Path, password: str) -> Path:
    """Return the file of the same key, which only the password opens."""
    made = key.with_suffix(".encrypted")
    _openssl("pkey", "-in", str(key), "-aes256", "-passout", f"pass:{password}", "-out", str(made))
    return made


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)
