"""The cache of compiled kernels on disk, which may be damaged or of another release."""

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numba

from consumer.runtime import jit

PROJECT = Path(__file__).parents[2]

HASH_ONE = """
import numpy as np
from consumer.windows.layout import new_state
from consumer.windows.streams import row_of
row = row_of(new_state((1, 2)), np.zeros(3, np.uint8))
print(row, sum(row_of.stats.cache_hits.values()))
"""


def looked_up(cache: Path, project: Path = PROJECT) -> list[int]:
    """Return the result of a kernel, and how often it came from the cache."""
    ran = subprocess.run(
        [sys.executable, "-c", HASH_ONE],
        env=os.environ | {"NUMBA_DISABLE_JIT": "0", "NUMBA_CACHE_DIR": str(cache)},
        cwd=project,
        capture_output=True,
        encoding="utf-8",
        timeout=200,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return [int(word) for word in ran.stdout.split()]


def test_a_cache_that_names_missing_modules_is_rebuilt(tmp_path: Path) -> None:
    assert looked_up(tmp_path) == [-1, 0]
    assert looked_up(tmp_path) == [-1, 1]
    (index,) = tmp_path.rglob("*.nbi")
    index.write_bytes(pickle.dumps(numba.__version__) + b"cconsumer.windows.gone\nThing\n.")
    assert looked_up(tmp_path) == [-1, 0]
    assert looked_up(tmp_path) == [-1, 1]


def test_the_cache_depends_on_every_module_with_kernels() -> None:
    package = Path(jit.__file__).parents[1]
    with_kernels = {path for path in package.rglob("*.py") if "from consumer.runtime.jit import" in path.read_text()}
    assert len(with_kernels) > 20
    assert with_kernels <= set(jit.kernel_sources())
    imported_by_kernels = {package / "windows/layout.py", package / "windows/viewers/layout.py"}
    assert imported_by_kernels <= set(jit.kernel_sources())


def test_a_change_in_a_subfolder_recompiles(tmp_path: Path) -> None:
    package = tmp_path / "consumer"
    shutil.copytree(Path(jit.__file__).parents[1], package, ignore=shutil.ignore_patterns("__pycache__"))
    assert looked_up(tmp_path / "cache", tmp_path) == [-1, 0]
    assert looked_up(tmp_path / "cache", tmp_path) == [-1, 1]
    with (package / "windows/viewers/table.py").open("a") as source:
        source.write("# changed\n")
    assert looked_up(tmp_path / "cache", tmp_path) == [-1, 0]
