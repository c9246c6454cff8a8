"""Reading single values, each compared with Python's result."""

from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.intake.rejects import Reject
from consumer.intake.vm.wire import id_fault, is_ascii, is_utf8, read_bits, read_number
from tests.intake.payloads import number

# Parts of kernels cannot be called from Python; each of these kernels calls one part.


@numba.njit
def number_at(text: Any, at: int, end: int) -> Any:
    return read_number(text, at, end)


@numba.njit
def bits_at(text: Any, at: int, size: int) -> Any:
    return read_bits(text, at, size)


@numba.njit
def ascii_and_utf8(text: Any, at: int, size: int) -> Any:
    return is_ascii(text, at, size), is_utf8(text, at, at + size)


@numba.njit
def fault_of_id(text: Any, at: int, size: int) -> Any:
    return id_fault(text, at, size)


Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]


def buffer(data: bytes) -> Bytes:
    return np.frombuffer(bytearray(data) or bytearray(1), np.uint8)


def says_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(st.integers(-(2**63), 2**63 - 1))
@example(2**63 - 1)
@example(-(2**63))
def test_written_numbers_are_read_back(value: int) -> None:
    data = number(value)
    assert number_at(buffer(data + b"\x07"), 0, len(data)) == (len(data), value)
    for size in range(len(data)):
        assert number_at(buffer(data), 0, size) == (-Reject.TRUNCATED, 0)


@pytest.mark.parametrize("data", [b"\x80" * 10 + b"\0", b"\x80" * 9 + b"\x02", b"\xff" * 20])
def test_numbers_beyond_64_bits_are_detected(data: bytes) -> None:
    assert number_at(buffer(data), 0, len(data)) == (-Reject.BAD_NUMBER, 0)


def test_numbers_may_use_more_bytes_than_they_need() -> None:
    assert number_at(buffer(b"\x82\x80\x00"), 0, 3) == (3, 1)
    assert number_at(buffer(b"\x80" * 9 + b"\x01"), 0, 10) == (10, 2**62)


@given(st.binary(max_size=40), st.integers(0, 3))
@example(b"\xf4\x8f\xbf\xbf", 0)
@example(b"\xf4\x90\x80\x80", 0)
@example(b"\xe0\x9f\xbf", 0)
@example(b"\xed\x9f\xbf", 0)
@example(b"\xc1\xbf", 0)
@example(b"aaaaaaaa\xc3", 0)
def test_text_is_valid_exactly_if_python_decodes_it(data: bytes, before: int) -> None:
    text = buffer(b"\x80" * before + data + b"\x80")
    assert ascii_and_utf8(text, before, len(data)) == (data.isascii(), says_utf8(data))


@given(st.text(max_size=20))
def test_any_valid_text_is_a_valid_id(value: str) -> None:
    data = value.encode()
    assert fault_of_id(buffer(data), 0, len(data)) == (0 if data else Reject.EMPTY_ID)


@given(st.binary(min_size=8, max_size=8), st.sampled_from([4, 8]))
def test_bits_are_read_from_the_lowest_byte_up(data: bytes, size: int) -> None:
    assert int(bits_at(buffer(data), 0, size)) == int.from_bytes(data[:size], "little")
