"""The one way in which kernels are compiled: no Python objects inside, cached on disk."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np
from numba.core import config

P = ParamSpec("P")
R = TypeVar("R")

# Kernels allocate nothing, so numba need not count references to arrays (that would take half of the
# time). A call between kernels would pass dozens of words, so all are inlined (that saves a quarter).
_OPTIONS: dict[str, Any] = {"nogil": True, "_nrt": False, "forceinline": True}
_OPTIONS_OF_CALLS: dict[str, Any] = {"nogil": True, "_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_OPTIONS_OF_PARTS: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def kernel_sources() -> list[Path]:
    """Return every file whose code can end up in a compiled kernel; a change in any of them invalidates the cache."""
    package = Path(__file__).parents[1]
    return sorted([Path(__file__), *package.glob("windows/**/*.py"), *package.glob("intake/**/*.py")])


def _digest_of_sources() -> str:
    return hashlib.sha256(b"\0".join(source.read_bytes() for source in kernel_sources())).hexdigest()


_DIGEST = _digest_of_sources()


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a kernel that Python calls; `NUMBA_DISABLE_JIT=1` leaves it plain Python for debugging and coverage."""
    if config.DISABLE_JIT:  # type: ignore[attr-defined]  # set while numba reads the environment
        return _plain(function)
    kernel: Any = numba.njit(**_OPTIONS)(function)
    try:
        kernel.enable_caching()
    except RuntimeError:
        return cast("Callable[P, R]", kernel)  # no writable directory: kernels are compiled at each start
    cache_file = kernel._cache._cache_file  # noqa: SLF001  # numba has no way of its own for what follows
    # numba itself checks only the file of the kernel, and would run old code of inlined functions.
    cache_file._source_stamp = _DIGEST  # noqa: SLF001  # as above
    cache_file._load_index = _or_nothing(cache_file._load_index)  # noqa: SLF001  # as above
    return cast("Callable[P, R]", kernel)


def _or_nothing(load_index: Callable[[], dict[Any, Any]]) -> Callable[[], dict[Any, Any]]:
    """A cache entry of another release may be unreadable; then the kernel is compiled and the entry replaced."""

    def load() -> dict[Any, Any]:
        try:
            return load_index()
        except Exception:  # noqa: BLE001  # unpickling raises whatever there is
            return {}

    return load


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function that only kernels call; it is inlined and has no Python entry, which halves compile time."""
    if config.DISABLE_JIT:  # type: ignore[attr-defined]  # as above
        return _plain(function)
    part: Callable[P, R] = numba.njit(**_OPTIONS_OF_PARTS)(function)
    return part


def called(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a large, rarely called function that kernels share, so that it is not inlined into each of them."""
    if config.DISABLE_JIT:  # type: ignore[attr-defined]  # as above
        return _plain(function)
    part: Callable[P, R] = numba.njit(**_OPTIONS_OF_CALLS)(function)
    return part


def _plain(function: Callable[P, R]) -> Callable[P, R]:
    return np.errstate(over="ignore")(function)  # hashes wrap around, as in compiled code
