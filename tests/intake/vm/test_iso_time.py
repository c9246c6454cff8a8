"""Times as text are those that `datetime.fromisoformat` reads, in the forms of ISO 8601."""

from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from consumer.intake.rejects import Reject
from consumer.intake.vm.iso_time import read_time, time_of
from tests.intake.iso_times import time_of_text


@numba.njit
def time_at(text: Any, at: int, size: int, utc: int) -> Any:
    """Parts of kernels cannot be called from Python."""
    return read_time(text, at, size, utc)


def read(text: str | bytes, *, utc: bool = False) -> int | Reject:
    """Return milliseconds since 1970, or the reason why not."""
    data = text.encode() if isinstance(text, str) else text
    buffer = np.frombuffer(bytearray(b"9" + data + b"9"), np.uint8)  # nothing before or behind it is read
    time_ms, fault = time_at(buffer, 1, len(data), int(utc))
    assert (time_ms, fault) == time_of(buffer[1 : 1 + len(data)].copy(), int(utc))
    return Reject(fault) if fault else int(time_ms)


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-28T17:20:17Z", 1_795_886_417_000),
        ("2026-11-28T17:20:17.123456789Z", 1_795_886_417_123),
        ("2026-11-28T17:20:17,5Z", 1_795_886_417_500),
        ("2026-11-28 19:20:17.999+02:00", 1_795_886_417_999),
        ("20261128T172017Z", 1_795_886_417_000),
        ("2026-11-28T13:50:17-0330", 1_795_886_417_000),
        ("2026-W48-6T17:20:17Z", 1_795_886_417_000),
        ("2026-11-28T17Z", 1_795_885_200_000),
        ("2026-11-28 19:20:17 +0200", 1_795_886_417_000),
        ("2026-11-28 19:20:17.25 +02:00", 1_795_886_417_250),
        ("1969-12-31T23:59:59.9999Z", -1),
        ("1970-01-01T00:00:00.9991+00:00:01.0005", -2),
        ("2000-02-29T00:00:00Z", 951_782_400_000),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ("0001-01-01T00:00:00+23:59", -62_135_596_800_000 - (23 * 60 + 59) * 60_000),
    ],
)
def test_times_with_an_offset_are_read(text: str, time_ms: int) -> None:
    assert read(text) == time_ms == time_of_text(text, utc=False)


@pytest.mark.parametrize("text", ["2026-11-28T17:20:17", "2026-11-28", "2026-W48", "20261128T172017.5"])
def test_a_time_without_an_offset_is_no_time_unless_all_are_utc(text: str) -> None:
    assert read(text) is Reject.TIME_WITHOUT_OFFSET
    assert (
        read(text, utc=True)
        == time_of_text(text, utc=True)
        == time_of_text(f"{text}T00Z" if "T" not in text else f"{text}Z", utc=False)
    )


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "1795886417", "1795886417000", "2026-11-28T", "2026-11-28TZ", "2026-11-28T17:20:17z",
        "2026-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z",
        "2026-11-31T00:00:00Z", "0000-01-01T00:00:00Z", "2026-11-28T24:00:00Z", "2026-11-28T17:60:00Z",
        "2026-11-28T17:20:60Z", "2026-11-28T17:20:17.Z", "2026-11-28T17:20:17Z ", " 2026-11-28T17:20:17Z",
        "2026-11-28T17:20:17+24:00", "2026-11-28T17:20:17+2", "2026-11-28T17:20:17+02:60",
        "2026-11-28T17:20:17  +02:00",
        "2026-11-28T17:2017Z", "2026-1128T17:20Z", "202611-28T17:20Z", "2026-11-28T17:20:17 UTC", "2026-W54-1T00Z",
        "2026-W00-1T00Z", "2026-W48-8T00Z", "2025-W53-1T00Z", "9999-W52-6T00Z", "+2026-11-28T17:20:17Z",
    ],
)  # fmt: skip
def test_what_is_no_time_is_told_so(text: str) -> None:
    assert read(text) is read(text, utc=True) is Reject.BAD_TIME
    assert time_of_text(text, utc=True) is Reject.BAD_TIME


def test_bytes_that_are_no_utf_8_are_no_time() -> None:
    assert read("2026-11-28\N{SNOWMAN}17:20Z") == read("2026-11-28T17:20Z")
    for separator in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\x80"):
        assert read(b"2026-11-28" + separator + b"17:20Z") is Reject.BAD_TIME


def two(low: int, high: int) -> st.SearchStrategy[str]:
    return st.integers(low, high).map("{:02}".format)


years = st.integers(0, 9999).map("{:04}".format)
fractions = st.one_of(
    st.just(""), st.tuples(st.sampled_from(".,"), st.from_regex(r"[0-9]{1,12}", fullmatch=True)).map("".join)
)
dates = st.one_of(
    st.builds("{}-{}-{}".format, years, two(0, 13), two(0, 32)),
    st.builds("{}{}{}".format, years, two(0, 13), two(0, 32)),
    st.builds("{}-W{}".format, years, two(0, 54)),
    st.builds("{}-W{}-{}".format, years, two(0, 54), st.integers(0, 9)),
    st.builds("{}W{}".format, years, two(0, 54)),
    st.builds("{}W{}{}".format, years, two(0, 54), st.integers(0, 9)),
)
clocks = st.one_of(
    two(0, 24),
    st.builds("{}:{}".format, two(0, 24), two(0, 60)),
    st.builds("{}{}".format, two(0, 24), two(0, 60)),
    st.builds("{}:{}:{}{}".format, two(0, 24), two(0, 60), two(0, 60), fractions),
    st.builds("{}{}{}{}".format, two(0, 24), two(0, 60), two(0, 60), fractions),
)
offsets = st.one_of(st.sampled_from(["", "Z", " Z"]), st.tuples(st.sampled_from(["+", "-", " +"]), clocks).map("".join))
separators = st.one_of(st.sampled_from("T "), st.characters(codec="utf-8"))
times = st.one_of(dates, st.tuples(dates, separators, clocks, offsets).map("".join))


@settings(max_examples=1_000)
@given(times, st.booleans())
@example("2020-W01-0000", True)
@example("2020W01101Z", True)
@example("2020W011010Z", True)
def test_what_the_standard_library_reads_is_read_the_same(text: str, utc: bool) -> None:
    assert read(text, utc=utc) == time_of_text(text, utc=utc)


@settings(max_examples=1_000)
@given(times, st.data())
def test_what_is_read_of_a_damaged_text_the_standard_library_reads_the_same(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    damaged = (
        text[:at] + data.draw(st.text("0123456789-+:.,TWZ \0é", max_size=2)) + text[at + data.draw(st.integers(0, 2)) :]
    )
    assert read(damaged, utc=True) == time_of_text(damaged, utc=True)


@given(st.binary(max_size=40), st.booleans())
def test_no_bytes_crash_the_reader(data: bytes, utc: bool) -> None:
    found = read(data, utc=utc)
    assert found is Reject.BAD_TIME or found == time_of_text(data.decode(), utc=utc)
