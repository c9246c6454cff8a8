"""Order-free checksums: sums of hashes, modulo 2^64, over sets of rows or of closed buckets.

They detect damage and mistakes, not attacks: the keys of the hash are public.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from consumer.runtime.jit import compiled, inlined
from consumer.windows.hashing import U64, siphash13
from consumer.windows.layout import FIRST_STAT, State

KEY0, KEY1 = U64(0x6B65657073207761), U64(0x746368206F766572)
_ODD = U64(0x9E3779B97F4A7C15)

_BUCKET_WORD = 2
"""Index of `start_ms` in a closed bucket's words, behind `id_start` and `id_size`."""


@dataclass(frozen=True)
class Checksum:
    """The number of items and the sum of their hashes modulo 2^64."""

    count: int
    digest: int


@inlined
def record_hash(text: npt.NDArray[np.uint8], key_at: int, key_size: int, value_at: int, value_size: int) -> np.uint64:
    """The hash of a record's key and value, both within one text."""
    return siphash13(siphash13(KEY0, KEY1, text, key_at, key_size), KEY1, text, value_at, value_size)


@compiled
def add_to_checksum(state: State, closed: npt.NDArray[np.void], words: npt.NDArray[np.int64]) -> None:
    """Add closed buckets: stream id, start, all statistics, reason and offset; `words` are those of `closed`."""
    head = state.head[0]
    for i in range(head["closed_size"]):
        hash_ = siphash13(KEY0, KEY1, state.ids, int(closed[i]["id_start"]), int(closed[i]["id_size"]))
        hash_ = _mixed(hash_, words[i, _BUCKET_WORD])
        for word in range(_BUCKET_WORD + FIRST_STAT, words.shape[1]):
            hash_ = _mixed(hash_, words[i, word])
        head["published_digest"] += hash_
    head["published_count"] += head["closed_size"]


@inlined
def _mixed(hash_: np.uint64, word: np.int64) -> np.uint64:
    product = (hash_ ^ U64(word)) * _ODD
    return U64(product ^ (product >> U64(32)))
