"""Read memory that a C library owns, in kernels; with `NUMBA_DISABLE_JIT=1` through ctypes.

The caller guarantees that an address is valid for what is read.
"""

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

DISABLED: bool = config.DISABLE_JIT  # type: ignore[attr-defined]  # set while numba reads the environment


def _load(number: Any, bits: int) -> Any:
    """A function that kernels call with an address, for the number there."""

    def load(_context: Any, address: Any) -> Any:
        def generate(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return builder.load(builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer()))

        return number(address), generate

    return intrinsic(load)


def _copy(_context: Any, to: Any, at: Any, source: Any, size: Any) -> Any:
    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = target.make_array(signature.args[0])(target, builder, arguments[0])
        destination = builder.gep(array.data, [arguments[1]])
        origin = builder.inttoptr(arguments[2], cgutils.voidptr_t)
        cgutils.raw_memcpy(builder, destination, origin, arguments[3], 1)  # type: ignore[no-untyped-call]  # numba has no types
        return target.get_dummy_value()

    return types.void(to, at, source, size), generate


def _plain_load(kind: Any) -> Callable[[int], int]:
    def load(address: int) -> int:
        return int(kind.from_address(int(address)).value)

    return load


def _plain_copy(to: npt.NDArray[np.uint8], at: int, source: int, size: int) -> None:
    if size:
        to[at : at + size] = np.frombuffer(ctypes.string_at(int(source), int(size)), np.uint8)


int32_at: Any = _plain_load(ctypes.c_int32) if DISABLED else _load(types.int32, 32)
"""int32_at(address): the number there, in this machine's byte order."""
int64_at: Any = _plain_load(ctypes.c_int64) if DISABLED else _load(types.int64, 64)
"""int64_at(address): as `int32_at`."""
uint8_at: Any = _plain_load(ctypes.c_uint8) if DISABLED else _load(types.uint8, 8)
"""uint8_at(address): as `int32_at`."""
copy_bytes: Any = _plain_copy if DISABLED else intrinsic(_copy)
"""copy_bytes(to, at, source, size): copy from an address into an array, which has room."""
