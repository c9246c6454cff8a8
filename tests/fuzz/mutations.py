"""Mutations of records: flip, add, remove and move bytes, and insert numbers that break readers."""

import random
from collections.abc import Callable, Sequence

from tests.intake.payloads import number, text

NUMBERS = [
    number(value) for value in (0, 1, -1, -2, 63, 64, 2**31 - 1, -(2**31), 2**52, 2**52 + 1, 2**63 - 1, -(2**63))
]
NUMBERS += [b"\x80" * 9 + b"\x01", b"\xff" * 9 + b"\x02", b"\x80" * 11, b"\x80\x00", b"\xff" * 9]
TEXTS = [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\0", b"x" * 1_100]


def mutated(record: bytes, seeds: Sequence[bytes], rng: random.Random) -> bytes:
    """Return the record after up to four mutations; one in eight stays unchanged."""
    data = bytearray(record)
    for _ in range(rng.choice((0, 1, 1, 1, 1, 2, 2, 4))):
        rng.choice(_MUTATIONS)(data, seeds, rng)
    return bytes(data)


def _flip_a_bit(data: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set_a_byte(data: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.randrange(256)


def _drop_bytes(data: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    del data[at : at + rng.randrange(1, 4)]


def _repeat_bytes(data: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = data[at : at + rng.randrange(1, 9)]


def _cut(data: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _append(data: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    data += rng.randbytes(rng.randrange(1, 9))


def _put_a_number(data: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    data[at : at + rng.randrange(3)] = rng.choice(NUMBERS)


def _put_a_text(data: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    data[at : at + rng.randrange(3)] = rng.choice(TEXTS)


def _put_another_text(data: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    """Replace a text at a byte that could be its length."""
    at = rng.randrange(len(data) + 1)
    size = data[at] // 2 if at < len(data) else 0
    data[at : at + 1 + size] = text(rng.choice(TEXTS))


def _splice(data: bytearray, seeds: Sequence[bytes], rng: random.Random) -> None:
    other = rng.choice(seeds)
    data[rng.randrange(len(data) + 1) :] = other[rng.randrange(len(other) + 1) :]


def _grow(data: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    if rng.randrange(50) == 0:
        data += bytes(rng.randrange(8_192))


_MUTATIONS: list[Callable[[bytearray, Sequence[bytes], random.Random], None]] = [
    *(_flip_a_bit, _flip_a_bit, _set_a_byte, _set_a_byte, _drop_bytes, _repeat_bytes),
    *(_cut, _append, _put_a_number, _put_a_number, _put_a_text, _put_another_text, _splice, _grow),
]
