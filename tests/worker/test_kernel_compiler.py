"""Kernels are compiled by processes side by side, and this process loads what they have compiled."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from consumer.runtime import jit
from consumer.runtime.jit import KernelCall, Progress
from consumer.worker import kernel_compiler
from consumer.worker.kernel_compiler import KernelCompiler, families_of, usable_cpus
from tests.support.waiting import until

COMPILED_HERE = """
from numba.core import event
compiled = []
class Listener(event.Listener):
    def on_start(self, started): compiled.append(started.data["dispatcher"].py_func.__name__)
    def on_end(self, ended): pass
event.register("numba:compile", Listener())
from consumer.worker.warm_up import warm_up
warm_up()
print(len(compiled))
"""


def ran(cache: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"NUMBA_DISABLE_JIT": "0", "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        encoding="utf-8",
        timeout=280,
        check=True,
    )


@pytest.mark.slow
def test_what_the_processes_compiled_is_loaded_and_nothing_is_compiled_again(tmp_path: Path) -> None:
    """With their own cache, so that all is compiled; each line says how far it is."""
    lines = ran(tmp_path, "-m", "consumer.worker.compiling").stderr.splitlines()
    assert lines[0].startswith("compiling 0 of ")
    counts = [int(line.split()[1]) for line in lines]
    assert counts == sorted(counts)
    assert len(counts) > 2
    assert ran(tmp_path, "-c", COMPILED_HERE).stdout == "0\n"
    assert ran(tmp_path, "-m", "consumer.worker.compiling").stderr == ""


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache lacks everything."""
    monkeypatch.setattr(jit, "uncached", lambda: [f"consumer.windows.kernel_{number}" for number in range(30)])


@pytest.mark.usefixtures("missing")
def test_where_processes_fail_this_process_compiles_and_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    warmed: list[bool] = []
    monkeypatch.setattr(kernel_compiler, "warm_up", lambda: warmed.append(True))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with capture_logs() as lines:
        KernelCompiler(cpus=2).run()
    assert [line["event"] for line in lines] == ["kernels are compiled by one process"]
    assert warmed == [True]


@pytest.mark.usefixtures("missing")
def test_one_cpu_gets_no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_compiler, "warm_up", lambda: None)
    monkeypatch.setattr(sys, "executable", "/no such interpreter")
    with capture_logs() as lines:
        KernelCompiler(cpus=1).run()
    assert lines == []


@pytest.mark.usefixtures("missing")
def test_a_stop_ends_the_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started, hangs = tmp_path / "started", tmp_path / "hangs"
    hangs.write_text(f"#!/bin/sh\necho > '{started}'\nexec sleep 1000\n")
    hangs.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(hangs))
    monkeypatch.setattr(kernel_compiler, "warm_up", lambda: pytest.fail("it is stopped"))
    compiler = KernelCompiler(cpus=2)
    thread = threading.Thread(target=compiler.run)
    with capture_logs() as lines:
        thread.start()
        until(started.exists, "the process runs")
        compiler.stop()
        thread.join(20)
    assert not thread.is_alive()
    assert lines == []
    assert compiler.compiles


def test_kernels_that_share_functions_are_compiled_by_one_process() -> None:
    named = {
        "consumer.intake.framing": "read_frames",
        "consumer.windows.process": "process_events",
        "consumer.windows.storage.load": "load_rows",
        "consumer.windows.closing": "close_everything",
        "consumer.windows.view": "rows_in_use",
    }
    calls = [KernelCall(module, name, ()) for module, name in named.items()]
    assert [[call.name for call in family] for family in families_of(calls)] == [
        ["process_events", "close_everything"],
        ["load_rows"],
        ["read_frames", "rows_in_use"],
    ]


@pytest.mark.parametrize(("quota", "cpus"), [("50000 100000\n", 1), ("100000 100000\n", 1), ("max 100000\n", None)])
def test_a_container_has_the_cpus_of_its_quota(tmp_path: Path, quota: str, cpus: int | None) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    machine = len(os.sched_getaffinity(0))
    assert usable_cpus(file) == (machine if cpus is None else cpus)
    assert usable_cpus(tmp_path / "none") == machine


def test_progress_says_how_far_it_is_and_for_how_long() -> None:
    assert str(Progress(14, 29)) == "compiling 14 of 29, once for this machine"
