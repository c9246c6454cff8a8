"""Until when certificates are valid, held against openssl."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.runtime.certificates import valid_until
from tests.support.certificates import Authority

PEM = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("days", [-1, 2, 36_500])
def test_it_is_what_was_signed(tmp_path: Path, days: int) -> None:
    """After 2050 the time is encoded in another way."""
    made = Authority(tmp_path).sign("localhost", days=days)
    until = valid_until(made.key.read_text() + made.certificate.read_text())
    assert until is not None
    assert abs(until - datetime.now(UTC) - timedelta(days=days)) < timedelta(hours=1)


@pytest.mark.parametrize(
    "text",
    ["", "no certificate", PEM.format(""), PEM.format("AAAA"), PEM.format("MIIB"), "-----BEGIN CERTIFICATE-----"],
)
def test_what_is_no_certificate_has_no_time(text: str) -> None:
    assert valid_until(text) is None


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_no_certificate(data: bytes) -> None:
    assert valid_until(ssl.DER_cert_to_PEM_cert(data)) is None
