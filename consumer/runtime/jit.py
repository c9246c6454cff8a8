"""The one way in which kernels are compiled: no Python objects inside, cached on disk.

The cache is read wherever it lies, also where it cannot be written. A kernel that cannot be kept is compiled at each
start.
"""

import hashlib
import logging
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple, ParamSpec, TypeVar, cast

import numba
import numpy as np
from numba.core import config, types
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, _CacheLocator
from numba.core.typing.typeof import Purpose, typeof
from numba.misc.appdirs import AppDirs

P = ParamSpec("P")
R = TypeVar("R")

# Kernels allocate nothing, so numba need not count references to arrays (that would take half of the
# time). A call between kernels would pass dozens of words, so all are inlined (that saves a quarter).
_OPTIONS: dict[str, Any] = {"nogil": True, "_nrt": False, "forceinline": True}
_OPTIONS_OF_CALLS: dict[str, Any] = {"nogil": True, "_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_OPTIONS_OF_PARTS: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}

_DIGEST_BYTES = 32

_log = logging.getLogger(__name__)


def kernel_sources() -> list[Path]:
    """Return every file whose code can end up in a compiled kernel; a change in any of them invalidates the cache."""
    package = Path(__file__).parents[1]
    names = (
        "runtime/memory",
        "runtime/digits",
        "kafka/message_columns",
        "kafka/record_producing",
        "output/summary_writing",
    )
    alone = (package / f"{name}.py" for name in names)
    return sorted([Path(__file__), *alone, *package.glob("windows/**/*.py"), *package.glob("intake/**/*.py")])


def _digest_of_sources() -> str:
    return hashlib.sha256(b"\0".join(source.read_bytes() for source in kernel_sources())).hexdigest()


_DIGEST = _digest_of_sources()


class Progress(NamedTuple):
    """How far the kernels are compiled, or loaded."""

    ready: int
    kernels: int

    def __str__(self) -> str:
        return f"compiling {self.ready} of {self.kernels}, once for this machine"


class KernelCall(NamedTuple):
    """A kernel and the types of its arguments, as one process tells another what to compile."""

    module: str
    name: str
    types: tuple[Any, ...]


class _Kernels:
    """The kernels of this process, and whether it was said that they cannot be kept."""

    def __init__(self) -> None:
        self.dispatchers: list[Any] = []
        self.calls: dict[KernelCall, None] | None = None
        """If calls are recorded: each kernel once for each types, in the order of the calls."""
        self._complained = False

    def complain(self, path: str, error: OSError) -> None:
        """Log why kernels are not kept, once: each of them would fail in the same way."""
        if not self._complained:
            _log.warning(
                "compiled kernels cannot be kept in %s: %s; each start compiles them again, unless NUMBA_CACHE_DIR "
                "names a directory that can be written",
                path,
                error.strerror or error,
            )
        self._complained = True


_KERNELS = _Kernels()


def progress() -> Progress:
    """How far all kernels of imported modules are; any thread may ask while another compiles."""
    kernels = list(_KERNELS.dispatchers)
    return Progress(sum(bool(kernel.overloads) for kernel in kernels), len(kernels))


def uncached() -> list[str]:
    """Return the names of the kernels that are neither compiled nor in the cache, where they could be kept.

    Call it before the kernels are used. A kernel that cannot be kept is left out: only this process can compile it.
    """
    return [
        _name(one)
        for one in _KERNELS.dispatchers
        if _is_ours(one) and not one.overloads and one._cache.is_empty()  # noqa: SLF001  # our cache
    ]


def record_calls() -> dict[KernelCall, None]:
    """Return where the calls of kernels that are defined from now on are recorded, while they run as plain Python.

    With `NUMBA_DISABLE_JIT=1` only. So the types for which a program compiles its kernels are known within a second.
    """
    _KERNELS.calls = {}
    return _KERNELS.calls


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a kernel that Python calls; `NUMBA_DISABLE_JIT=1` leaves it plain Python for debugging and coverage."""
    if config.DISABLE_JIT:  # type: ignore[attr-defined]  # set while numba reads the environment
        return _plain(function) if _KERNELS.calls is None else _recorded(function, _KERNELS.calls)
    kernel: Any = _specialized_once(numba.njit(**_OPTIONS)(function))
    kernel._cache = _KernelCache(function)  # noqa: SLF001  # what numba's enable_caching() does, with its own cache
    _KERNELS.dispatchers.append(kernel)
    return cast("Callable[P, R]", kernel)


def with_constants(function: Callable[P, R], name: str, **constants: object) -> Callable[P, R]:
    """Return the same function under another name and with other values of global names.

    numba takes those for constants, so that code which they rule out is not compiled.
    """
    given = cast("FunctionType", function)
    made = FunctionType(given.__code__, {**given.__globals__, **constants}, name, given.__defaults__, given.__closure__)
    made.__qualname__, made.__doc__, made.__annotations__ = name, given.__doc__, given.__annotations__
    return cast("Callable[P, R]", made)


class _Place(_CacheLocator):
    """The directory of a kernel's cache: the first that holds it or can be written, as numba looks for it.

    Unlike numba it takes one that can only be read, and fails only where something is written.
    """

    def __init__(self, directory: Path, source: str, line: int) -> None:
        self._directory = directory
        self._py_file = source  # numba names it where it cannot keep code
        self._line = line

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> "_Place":
        """Choose; the first directory of all if none will do."""
        line = py_func.__code__.co_firstlineno
        index = f"{Path(py_file).stem}.{py_func.__qualname__}-{line}.*.nbi"
        places = [cls(directory, py_file, line) for directory in _directories(py_file)]
        return next((place for place in places if place.holds(index) or place.is_writable()), places[0])

    def get_cache_path(self) -> str:
        """Of index and data."""
        return str(self._directory)

    def get_source_stamp(self) -> str:
        """Of all kernels: numba looks at one file only, and would run old code of inlined functions."""
        return _DIGEST

    def get_disambiguator(self) -> str:
        """Of kernels by the same name."""
        return str(self._line)

    def holds(self, index: str) -> bool:
        """Whether an index by such a name is there."""
        try:
            return any(self._directory.glob(index))
        except OSError:
            return False

    def is_writable(self) -> bool:
        """Whether a file can be made in it."""
        try:
            self.ensure_cache_path()
        except OSError:
            return False
        return True


def _directories(source: str) -> Iterator[Path]:
    """Where a kernel may be kept, the best first."""
    folder = _CacheLocator.get_suitable_cache_subpath(source)
    if config.CACHE_DIR:  # type: ignore[attr-defined]  # as DISABLE_JIT
        yield Path(config.CACHE_DIR) / folder  # type: ignore[attr-defined]  # as above
    yield Path(source).parent / "__pycache__"
    of_user = Path(AppDirs(appname="numba", appauthor=False).user_cache_dir)
    if of_user.is_absolute():  # a user without a home gets a path below the working directory
        yield of_user / folder


class _Implementation(CompileResultCacheImpl):
    _locator_classes: list[Any] = [_Place]  # noqa: RUF012  # as numba has it


class _CheckedFiles(IndexDataCacheFile):
    """Stores data behind their digest: after a crash or on a bad disk, damaged machine code must not be run."""

    def _load_index(self) -> dict[Any, Any]:
        try:
            return cast("dict[Any, Any]", super()._load_index())
        except Exception:  # noqa: BLE001  # unpickling what is damaged, or of another release, raises whatever there is
            return {}

    def _save_data(self, name: str, data: Any) -> None:
        packed = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(hashlib.sha256(packed).digest() + packed)

    def _load_data(self, name: str) -> Any:
        stored = Path(self._data_path(name)).read_bytes()
        packed = stored[_DIGEST_BYTES:]
        if hashlib.sha256(packed).digest() != stored[:_DIGEST_BYTES]:
            raise ValueError("damaged")
        return pickle.loads(packed)  # noqa: S301  # numba keeps machine code so; who can write it can do anything


class _KernelCache(FunctionCache):
    """Never fails: a kernel that cannot be loaded is compiled, and the first that cannot be kept is logged."""

    _impl_class = _Implementation

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _CheckedFiles(self._cache_path, self._impl.filename_base, _DIGEST)

    def is_empty(self) -> bool:
        """Whether no overload is kept though one could be."""
        return not self._cache_file._load_index() and self._impl.locator.is_writable()  # noqa: SLF001  # as above

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled kernel, or None if it is not there or cannot be read."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # noqa: BLE001  # as above
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled kernel if that is possible."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _KERNELS.complain(self.cache_path, error)


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function that only kernels call; it is inlined and has no Python entry, which halves compile time."""
    if config.DISABLE_JIT:  # type: ignore[attr-defined]  # as above
        return _plain(function)
    part: Callable[P, R] = _specialized_once(numba.njit(**_OPTIONS_OF_PARTS)(function))
    return part


def called(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a large, rarely called function that kernels share, so that it is not inlined into each of them."""
    if config.DISABLE_JIT:  # type: ignore[attr-defined]  # as above
        return _plain(function)
    part: Callable[P, R] = _specialized_once(numba.njit(**_OPTIONS_OF_CALLS)(function))
    return part


def _specialized_once(part: Any) -> Any:
    """Compile for plain types only: numba would compile anew for each constant and each width of an integer."""
    template_of = part.get_call_template

    def template_of_plain_types(args: Any, kws: Any) -> Any:
        return template_of(tuple(map(_plain_type, args)), {name: _plain_type(value) for name, value in kws.items()})

    part.get_call_template = template_of_plain_types
    return part


def _plain_type(given: Any) -> Any:
    plain = types.unliteral(given)
    return types.int64 if plain in types.signed_domain else plain


def _is_ours(kernel: Any) -> bool:
    """Whether a kernel is one of the package, which another process finds by its name; not one made by a test."""
    function = kernel.py_func
    module = sys.modules.get(function.__module__)
    return function.__module__.startswith("consumer.") and getattr(module, function.__name__, None) is kernel


def _name(kernel: Any) -> str:
    return f"{kernel.py_func.__module__}.{kernel.py_func.__name__}"


def _recorded(function: Callable[P, R], calls: dict[KernelCall, None]) -> Callable[P, R]:
    plain = _plain(function)

    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        of_arguments = tuple(typeof(argument, Purpose.argument) for argument in args)
        calls[KernelCall(function.__module__, function.__name__, of_arguments)] = None
        return plain(*args, **kwargs)

    return call


def _plain(function: Callable[P, R]) -> Callable[P, R]:
    return np.errstate(over="ignore")(function)  # hashes wrap around, as in compiled code
