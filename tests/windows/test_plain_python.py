"""Kernels without compilation, as debuggers and coverage see them: the drawn cases again, in their own process."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FILES = [HERE / f"{name}.py" for name in ("test_time", "test_hashing", "test_weak_spots", "storage/test_rows")]


def test_uncompiled_kernels_give_the_same_results() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *FILES],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
