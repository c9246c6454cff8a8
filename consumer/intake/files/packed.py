"""Unpack whole files while they are read, whatever is inside; memory does not depend on their size."""

import bz2
import io
import zlib
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from consumer.errors import ViewerConsumerError
from consumer.intake.files.codecs import UNPACK_ERRORS, Unpacker, xz_unpacker, zstandard_unpacker

CHUNK_BYTES = 65_536

_PADDING = b"\0"


class Packing(NamedTuple):
    """A kind of packed file."""

    name: str
    magic: bytes
    new: Callable[[], Unpacker]


class _Gzip:
    """zlib's decompressor with the interface of the others."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(16 + zlib.MAX_WBITS)

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail


PACKINGS = (
    Packing("gzip", b"\x1f\x8b", _Gzip),
    Packing("Zstandard", b"\x28\xb5\x2f\xfd", zstandard_unpacker),
    Packing("bzip2", b"BZh", bz2.BZ2Decompressor),
    Packing("xz", b"\xfd7zXZ\0", xz_unpacker),
)


def packing_of(head: bytes) -> Packing | None:
    """The packing of a file, by its first bytes."""
    return next((packing for packing in PACKINGS if head.startswith(packing.magic)), None)


class PackedFile(io.RawIOBase):
    """What comes out of a packed file, to be read forward; members that follow each other are one file.

    Its reads raise ViewerConsumerError where the file is cut off or damaged.
    """

    def __init__(self, packed: BinaryIO, packing: Packing, name: str) -> None:
        self._packed = packed
        self._packing = packing
        self._name = name
        self._unpacker: Unpacker = packing.new()

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # as io calls it
        """Unpack some bytes into the buffer; 0 at the end."""
        while True:
            data = b""
            if self._unpacker.eof:
                data = self._next_member()
                if not data:
                    return 0
            elif getattr(self._unpacker, "needs_input", True):
                data = self._packed.read(CHUNK_BYTES)
                if not data:
                    raise ViewerConsumerError(f"{self._name}: the {self._packing.name} file is cut off")
            if unpacked := self._unpack(data, len(buffer)):
                buffer[: len(unpacked)] = unpacked
                return len(unpacked)

    def _next_member(self) -> bytes:
        """The first bytes of the member that follows, with a new unpacker; empty at the end of the file."""
        data = self._unpacker.unused_data.lstrip(_PADDING)
        while not data:
            chunk = self._packed.read(CHUNK_BYTES)
            if not chunk:
                return b""
            data = chunk.lstrip(_PADDING)
        self._unpacker = self._packing.new()
        return data

    def _unpack(self, data: bytes, most_bytes: int) -> bytes:
        try:
            return self._unpacker.decompress(data, most_bytes)
        except UNPACK_ERRORS as error:
            reason = str(error) or type(error).__name__
            raise ViewerConsumerError(f"{self._name}: the {self._packing.name} file is damaged: {reason}") from None
