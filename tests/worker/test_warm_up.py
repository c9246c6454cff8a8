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


def test_every_kernel_that_a_worker_imports_is_ready_behind_it() -> None:
    """So that a start that says "compiling 14 of 31" gets to 31."""
    code = (
        "from consumer.worker import service\n"
        "from consumer.runtime.jit import progress\n"
        "before = progress(); service.KernelCompiler().run(); print(before.ready, before.kernels, *progress())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"NUMBA_DISABLE_JIT": "0"},
        capture_output=True,
        encoding="utf-8",
        timeout=280,
        check=True,
    )
    before, kernels, ready, kernels_then = map(int, done.stdout.split())
    assert before == 0
    assert ready == kernels == kernels_then > 20
