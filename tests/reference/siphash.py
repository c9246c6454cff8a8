"""SipHash-1-3 in plain Python, as in its paper, and the hash of a stored record."""

import struct
from collections.abc import Iterable

WORD = 2**64 - 1
RECORD_KEY = (0x6B65657073207761, 0x746368206F766572)


def siphash13(key0: int, key1: int, text: bytes) -> int:
    v = [
        key0 ^ 0x736F6D6570736575,
        key1 ^ 0x646F72616E646F6D,
        key0 ^ 0x6C7967656E657261,
        key1 ^ 0x7465646279746573,
    ]
    padded = text + bytes(-(len(text) + 1) % 8) + bytes([len(text) & 255])
    for (word,) in struct.iter_unpack("<Q", padded):
        v[3] ^= word
        _round(v)
        v[0] ^= word
    v[2] ^= 0xFF
    for _ in range(3):
        _round(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def sum_of_records(records: Iterable[tuple[bytes, bytes]]) -> int:
    """Sum modulo 2^64: each value is hashed with the hash of its record key as the key."""
    return sum(siphash13(siphash13(*RECORD_KEY, key), RECORD_KEY[1], value) for key, value in records) & WORD


def _round(v: list[int]) -> None:
    _half_round(v, 0, 1, 2, 3, (13, 16))
    _half_round(v, 2, 1, 0, 3, (17, 21))


def _half_round(v: list[int], a: int, b: int, c: int, d: int, shifts: tuple[int, int]) -> None:
    v[a] = (v[a] + v[b]) & WORD
    v[b] = _rotated(v[b], shifts[0]) ^ v[a]
    v[a] = _rotated(v[a], 32)
    v[c] = (v[c] + v[d]) & WORD
    v[d] = _rotated(v[d], shifts[1]) ^ v[c]


def _rotated(x: int, bits: int) -> int:
    return (x << bits | x >> (64 - bits)) & WORD
