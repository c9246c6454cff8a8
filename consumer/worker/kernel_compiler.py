"""Compile all kernels, or load them from the cache: those that the cache lacks in processes side by side.

    record ──► kernels with types ──► families ──┬─► process: compile ─► cache ──┬─► warm_up() loads them
                                                 └─► process: compile ─► cache ──┘

A kernel that cannot be kept is compiled by this process, as is everything if processes cannot be started or end with
an error.
"""

import contextlib
import math
import os
import pickle
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import structlog

from consumer.kafka.c_functions import producing_functions, reading_functions
from consumer.runtime import jit
from consumer.runtime.jit import KernelCall, Progress
from consumer.worker.kernel_process import COMPILE, RECORD
from consumer.worker.warm_up import warm_up

_FAMILIES = (
    ("consumer.windows.process", "consumer.windows.clock_steps", "consumer.windows.closing"),
    ("consumer.windows.storage",),
)
"""Modules whose kernels inline the same functions, by the time they take; the rest of the kernels is one more family.

A process compiles a shared function once.
"""

_CALLING_C = {
    "consumer.kafka.message_columns": reading_functions,
    "consumer.kafka.record_producing": producing_functions,
}

_FEWEST = 3
"""Below, processes cost more than they save: each imports for a second."""

_QUOTA = Path("/sys/fs/cgroup/cpu.max")

_log = structlog.get_logger(__name__)


class KernelCompiler:
    """One thread calls `run`; others may ask for the progress, or stop it.

    Args:
        cpus: how many processes may compile at once; by default those of this machine or container.
    """

    def __init__(self, cpus: int | None = None) -> None:
        self._cpus = usable_cpus() if cpus is None else cpus
        self._missing = 0
        self._compiled = 0
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._stopped = False

    @property
    def compiles(self) -> bool:
        """Whether kernels are compiled that the cache lacks; they are only loaded otherwise."""
        return self._missing > 0

    def progress(self) -> Progress:
        """How many kernels are compiled or loaded."""
        here = jit.progress()
        if not self.compiles:
            return here
        return here._replace(ready=max(here.ready, here.kernels - self._missing + self._compiled))

    def run(self) -> None:
        """Compile what is missing and load everything; return when all kernels can be called."""
        self._missing = len(_missing())
        if self._missing >= _FEWEST and self._cpus > 1:
            self._compile_in_processes()
        if not self._stopped:
            warm_up()

    def stop(self) -> None:
        """End all processes, and start no more."""
        with self._lock:
            self._stopped = True
            for process in self._processes:
                process.kill()

    def _compile_in_processes(self) -> None:
        try:
            families = families_of(pickle.loads(self._read(RECORD, b"")))  # noqa: S301  # by a process of our own
            with ThreadPoolExecutor(self._cpus, "compile") as pool:
                list(pool.map(partial(self._read, COMPILE), map(pickle.dumps, families)))
        except (OSError, subprocess.SubprocessError) as error:
            if not self._stopped:
                _log.warning("kernels are compiled by one process", reason=str(error))

    def _read(self, mode: str, given: bytes) -> bytes:
        """Run a process to its end and return its output; each line of it is a kernel that is compiled."""
        with self._started(mode) as process:
            with contextlib.suppress(BrokenPipeError):  # it has ended; its exit code is read below
                process.stdin.write(given)  # type: ignore[union-attr]  # it is a pipe
                process.stdin.close()  # type: ignore[union-attr]  # as above
            read = b""
            for line in process.stdout or ():
                read += line
                with self._lock:
                    self._compiled += mode == COMPILE
            if process.wait() != 0:
                raise subprocess.CalledProcessError(process.returncode, f"consumer.worker.kernel_process {mode}")
        return read

    def _started(self, mode: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {"NUMBA_DISABLE_JIT": "1" if mode == RECORD else "0"}
        with self._lock:
            if self._stopped:
                raise subprocess.SubprocessError("stopped")
            process = subprocess.Popen(  # noqa: S603  # this interpreter, and a module of ours
                [sys.executable, "-m", "consumer.worker.kernel_process", mode],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
            self._processes.append(process)
        return process


def _missing() -> list[str]:
    """Return what the cache lacks, but for kernels that call C functions where these cannot be had."""
    missing = jit.uncached()
    for module, functions in _CALLING_C.items():
        try:
            functions()
        except OSError:
            missing = [name for name in missing if not name.startswith(module)]
    return missing


def families_of(calls: Sequence[KernelCall]) -> list[list[KernelCall]]:
    """Group kernels that share inlined functions, the slowest group first."""
    families: dict[int, list[KernelCall]] = defaultdict(list)
    for call in calls:
        number = (index for index, modules in enumerate(_FAMILIES) if call.module.startswith(modules))
        families[next(number, len(_FAMILIES))].append(call)
    return [families[number] for number in sorted(families)]


def usable_cpus(quota: Path = _QUOTA) -> int:
    """Return how many CPUs this process may use at once, at least 1: by its affinity and its container's quota."""
    cpus = len(os.sched_getaffinity(0))
    try:
        quota_us, period_us = quota.read_text().split()
        return max(1, min(cpus, math.floor(int(quota_us) / int(period_us))))
    except (OSError, ValueError):  # no quota
        return cpus
