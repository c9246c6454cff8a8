"""Nothing is compiled after the warm-up: no poll waits for a compiler."""

import json
import os
import subprocess
import sys


def test_the_warm_up_compiles_everything_that_a_worker_runs() -> None:
    # In its own process: other tests have compiled for other types, or run without a compiler.
    ran = subprocess.run(
        [sys.executable, "-m", "tests.worker.signatures"],
        env=os.environ | {"NUMBA_DISABLE_JIT": "0"},
        capture_output=True,
        encoding="utf-8",
        timeout=200,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found["kernels"] >= 5
    assert found["new"] == {}
