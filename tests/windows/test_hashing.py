"""SipHash-1-3 against the one in Python itself, which hashes bytes with it (under key 0 where PYTHONHASHSEED is 0)."""

import os
import subprocess
import sys

import numpy as np
import numpy.typing as npt

from consumer.compiled import compiled
from consumer.windows.hashing import siphash13

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


@compiled  # the hash is a part of kernels, and has no entry of its own
def hash_into(key0: np.uint64, key1: np.uint64, text: Bytes, at: int, size: int, out: Hashes) -> None:
    out[0] = siphash13(key0, key1, text, at, size)


def ours(text: bytes, at: int = 0, key0: int = 0, key1: int = 0) -> int:
    buffer, out = np.frombuffer(bytearray(bytes(at) + text + b"behind"), np.uint8), np.zeros(1, np.uint64)
    with np.errstate(over="ignore"):
        hash_into(np.uint64(key0), np.uint64(key1), buffer, at, len(text), out)
    return int(out[0])


def test_it_is_siphash_1_3() -> None:
    assert sys.hash_info.algorithm == "siphash13"
    assert [ours(text) for text in TEXTS] == pythons_hashes()


def test_it_depends_on_nothing_but_the_text() -> None:
    assert [ours(text, at=3) for text in TEXTS] == [ours(text) for text in TEXTS]


def test_it_depends_on_the_key() -> None:
    assert len({ours(b"stream-1", key0=0), ours(b"stream-1", key0=1), ours(b"stream-1", key1=1)}) == 3
