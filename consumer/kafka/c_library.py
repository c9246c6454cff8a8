"""Load librdkafka for ctypes, without kernels: through the extension module of the binding, which uses the same one."""

import ctypes
from collections.abc import Mapping
from typing import Any

from confluent_kafka import cimpl

Signatures = Mapping[str, tuple[Any, list[Any]]]
"""By function: the types of its result and of its arguments."""


def declared(signatures: Signatures) -> ctypes.CDLL:
    """Load the library and declare types; without them pointers would be cut to 32 bits.

    Raises:
        OSError: the library, or one of the functions, is not there.
    """
    library = ctypes.CDLL(cimpl.__file__)
    for name, (result, arguments) in signatures.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise OSError(f"this librdkafka has no {name}") from None
        function.restype, function.argtypes = result, arguments
    return library
