"""SipHash (Aumasson and Bernstein, 2012): a keyed hash, so that nobody can craft ids that collide.

Stream ids are compared when their hashes are equal, so 64 bits and few rounds suffice: SipHash-1-3. Of a viewer id
only the hash is stored: SipHash-2-4 with 128 bits.
"""

import numpy as np
import numpy.typing as npt

from consumer.runtime.jit import inlined

U64 = np.uint64


@inlined
def eight_bytes(text: npt.NDArray[np.uint8], at: np.uint64) -> np.uint64:
    """The little-endian word at a position."""
    # Unsigned positions need no check for negative ones; the compiler then merges these eight loads.
    return U64(
        U64(text[at])
        | (U64(text[at + U64(1)]) << U64(8))
        | (U64(text[at + U64(2)]) << U64(16))
        | (U64(text[at + U64(3)]) << U64(24))
        | (U64(text[at + U64(4)]) << U64(32))
        | (U64(text[at + U64(5)]) << U64(40))
        | (U64(text[at + U64(6)]) << U64(48))
        | (U64(text[at + U64(7)]) << U64(56))
    )


@inlined
def _last_bytes(text: npt.NDArray[np.uint8], at: int, size: int) -> np.uint64:
    """The 0 to 7 bytes behind the last whole word."""
    left = size & 7
    if left == 0:
        return U64(0)
    if size >= 8:  # read together with the bytes before, which are shifted out
        return U64(eight_bytes(text, U64(at + size - 8)) >> U64(8 * (8 - left)))
    word = U64(0)
    for i in range(size):
        word |= U64(text[U64(at + i)]) << U64(8 * i)
    return word


@inlined
def _rotated(x: np.uint64, bits: int) -> np.uint64:
    return U64((x << U64(bits)) | (x >> U64(64 - bits)))


@inlined
def _round(
    v0: np.uint64, v1: np.uint64, v2: np.uint64, v3: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    v0 = v0 + v1
    v2 = v2 + v3
    v1 = _rotated(v1, 13) ^ v0
    v3 = _rotated(v3, 16) ^ v2
    v0 = _rotated(v0, 32)
    v2 = v2 + v1
    v0 = v0 + v3
    v1 = _rotated(v1, 17) ^ v2
    v3 = _rotated(v3, 21) ^ v0
    v2 = _rotated(v2, 32)
    return v0, v1, v2, v3


@inlined
def siphash13(key0: np.uint64, key1: np.uint64, text: npt.NDArray[np.uint8], at: int, size: int) -> np.uint64:
    """Hash `text[at : at + size]` under the 128-bit key (`key0`, `key1`)."""
    v0 = key0 ^ U64(0x736F6D6570736575)
    v1 = key1 ^ U64(0x646F72616E646F6D)
    v2 = key0 ^ U64(0x6C7967656E657261)
    v3 = key1 ^ U64(0x7465646279746573)
    whole = size & ~7
    for i in range(0, whole, 8):
        word = eight_bytes(text, U64(at + i))
        v3 ^= word
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 ^= word
    last = _last_bytes(text, at, size) | (U64(size & 0xFF) << U64(56))
    v3 ^= last
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    v0 ^= last
    v2 ^= U64(0xFF)
    for _ in range(3):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return U64(v0 ^ v1 ^ v2 ^ v3)


@inlined
def siphash24_128(
    key0: np.uint64, key1: np.uint64, text: npt.NDArray[np.uint8], at: int, size: int
) -> tuple[np.uint64, np.uint64]:
    """Hash `text[at : at + size]` to 128 bits, the low word first, under the key (`key0`, `key1`)."""
    v0 = key0 ^ U64(0x736F6D6570736575)
    v1 = key1 ^ U64(0x646F72616E646F6D ^ 0xEE)
    v2 = key0 ^ U64(0x6C7967656E657261)
    v3 = key1 ^ U64(0x7465646279746573)
    whole = size & ~7
    for i in range(0, whole, 8):
        word = eight_bytes(text, U64(at + i))
        v3 ^= word
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 ^= word
    last = _last_bytes(text, at, size) | (U64(size & 0xFF) << U64(56))
    v3 ^= last
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    v0 ^= last
    v2 ^= U64(0xEE)
    for _ in range(4):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    low = U64(v0 ^ v1 ^ v2 ^ v3)
    v1 ^= U64(0xDD)
    for _ in range(4):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return low, U64(v0 ^ v1 ^ v2 ^ v3)
