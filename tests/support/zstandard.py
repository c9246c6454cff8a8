"""Zstandard, wherever this Python has it."""

import sys

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def pack(data: bytes) -> bytes:
    """Return the data packed."""
    packed: bytes = zstd.compress(data)
    return packed
