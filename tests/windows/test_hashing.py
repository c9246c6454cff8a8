"""SipHash-1-3 against the one in Python itself, which hashes bytes with it (with key 0 if PYTHONHASHSEED is 0).

SipHash-2-4 with 128 bits against vectors that are published with it: the key is the bytes 0 to 15, a message the bytes
from 0 up to its length.
"""

import os
import subprocess
import sys

import numpy as np
import numpy.typing as npt

from consumer.runtime.jit import compiled
from consumer.windows.hashing import siphash13, siphash24_128

Bytes = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]

TEXTS = [bytes(range(size)) for size in range(1, 40)]


def pythons_hashes() -> list[int]:
    program = f"print([hash(text) % 2**64 for text in {TEXTS!r}])"
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(number) for number in run.stdout.strip("[]\n").split(",")]


@compiled  # the hash is a part of kernels and has no entry of its own
def hash_into(key0: np.uint64, key1: np.uint64, text: Bytes, at: int, size: int, out: Hashes) -> None:
    out[0] = siphash13(key0, key1, text, at, size)


def ours(text: bytes, at: int = 0, key0: int = 0, key1: int = 0) -> int:
    buffer, out = np.frombuffer(bytearray(bytes(at) + text + b"behind"), np.uint8), np.zeros(1, np.uint64)
    with np.errstate(over="ignore"):
        hash_into(np.uint64(key0), np.uint64(key1), buffer, at, len(text), out)
    return int(out[0])


@compiled
def hash_128_into(key0: np.uint64, key1: np.uint64, text: Bytes, at: int, size: int, out: Hashes) -> None:
    low, high = siphash24_128(key0, key1, text, at, size)
    out[0] = low
    out[1] = high


VECTORS = {
    0: "a3817f04ba25a8e66df67214c7550293",
    1: "da87c1d86b99af44347659119b22fc45",
    2: "8177228da4a45dc7fca38bdef60affe4",
    3: "9c70b60c5267a94e5f33b6b02985ed51",
    4: "f88164c12d9c8faf7d0f6e7c7bcd5579",
    5: "1368875980776f8854527a07690e9627",
    6: "14eeca338b208613485ea0308fd7a15e",
    7: "a1f1ebbed8dbc153c0b84aa61ff08239",
    8: "3b62a9ba6258f5610f83e264f31497b4",
    9: "264499060ad9baabc47f8b02bb6d71ed",
    10: "00110dc378146956c95447d3f3d0fbba",
    11: "0151c568386b6677a2b4dc6f81e5dc18",
    12: "d626b266905ef35882634df68532c125",
    13: "9869e247e9c08b10d029934fc4b952f7",
    14: "31fcefac66d7de9c7ec7485fe4494902",
    15: "5493e99933b0a8117e08ec0f97cfc3d9",
    16: "6ee2a4ca67b054bbfd3315bf85230577",
    23: "c9d184ddd5a9f5e0cf8ce29a9abf691c",
    24: "2db479ae78bd50d8882a8a178a6132ad",
    36: "3dc47d1f29c448461e9e76ed904f6711",
    63: "5150d1772f50834a503e069a973fbd7c",
}


def test_viewer_hashes_are_siphash_2_4_with_128_bits() -> None:
    key0, key1 = (np.uint64(word) for word in np.frombuffer(bytes(range(16)), np.uint64))
    for size, expected in VECTORS.items():
        for at in (0, 3):
            text = np.frombuffer(bytearray(bytes(at) + bytes(range(size)) + b"behind"), np.uint8)
            out = np.zeros(2, np.uint64)
            with np.errstate(over="ignore"):
                hash_128_into(key0, key1, text, at, size, out)
            assert out.tobytes().hex() == expected


def test_it_is_siphash_1_3() -> None:
    assert sys.hash_info.algorithm == "siphash13"
    assert [ours(text) for text in TEXTS] == pythons_hashes()


def test_it_depends_only_on_the_text() -> None:
    assert [ours(text, at=3) for text in TEXTS] == [ours(text) for text in TEXTS]


def test_it_depends_on_the_key() -> None:
    assert len({ours(b"stream-1", key0=0), ours(b"stream-1", key0=1), ours(b"stream-1", key1=1)}) == 3
