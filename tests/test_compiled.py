"""Kernels come from a cache on disk, which may be another release's, or damaged."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numba

HASH_ONE = """
import numpy as np
from consumer.windows.state import new_state
from consumer.windows.streams import row_of
row = row_of(new_state((1, 2)), np.zeros(3, np.uint8))
print(row, sum(row_of.stats.cache_hits.values()))
"""


def looked_up(cache: Path) -> list[int]:
    """What a kernel answers, and how often it came from the cache."""
    ran = subprocess.run(
        [sys.executable, "-c", HASH_ONE],
        env=os.environ | {"NUMBA_DISABLE_JIT": "0", "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        encoding="utf-8",
        timeout=200,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return [int(word) for word in ran.stdout.split()]


def test_a_cache_that_names_modules_that_are_gone_is_made_anew(tmp_path: Path) -> None:
    assert looked_up(tmp_path) == [-1, 0]
    assert looked_up(tmp_path) == [-1, 1]
    (index,) = tmp_path.rglob("*.nbi")
    index.write_bytes(pickle.dumps(numba.__version__) + b"cconsumer.windows.gone\nThing\n.")
    assert looked_up(tmp_path) == [-1, 0]
    assert looked_up(tmp_path) == [-1, 1]
