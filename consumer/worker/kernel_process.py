"""The processes that compile kernels for another one: `python -m consumer.worker.kernel_process record|compile`.

`record` writes all kernels with the types for which a worker compiles them; `compile` reads a part of these and writes
the name of each kernel that it has compiled into the cache. No kernel may be imported before the mode is known.
"""

import contextlib
import importlib
import pickle
import sys
from collections.abc import Iterable

from consumer.kafka.c_functions import producing_functions, reading_functions
from consumer.runtime.jit import KernelCall, record_calls

RECORD, COMPILE = "record", "compile"


def main() -> None:
    """Do what the first argument says."""
    if sys.argv[1] == RECORD:
        sys.stdout.buffer.write(pickle.dumps(_recorded()))
    else:
        _compile(pickle.load(sys.stdin.buffer))  # noqa: S301  # by the process that started this one


def _recorded() -> list[KernelCall]:
    calls = record_calls()
    importlib.import_module("consumer.worker.warm_up").warm_up()
    return list(calls)


def _compile(calls: Iterable[KernelCall]) -> None:
    for functions in (reading_functions, producing_functions):
        with contextlib.suppress(OSError):  # without them no kernel that calls them is among these
            functions()
    for call in calls:
        kernel = getattr(importlib.import_module(call.module), call.name)
        kernel.compile(call.types)
        print(call.name, flush=True)  # noqa: T201  # for the process that started this one


if __name__ == "__main__":
    main()
