"""Unpack the blocks of Avro containers, with a limit on what comes out."""

import bz2
import lzma
import sys
import zlib
from collections.abc import Callable
from typing import Protocol

from cramjam import DecompressionError, snappy

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAX_XZ_BYTES = 2**28
"""Limit of the memory that xz may take; its strongest preset takes a quarter."""


class CodecError(Exception):
    """A block cannot be unpacked; the message says why."""


class TooLargeError(CodecError):
    """More bytes come out of a block than the limit."""


class Unpacker(Protocol):
    """Unpacks one stream, as the decompressors of the standard library do."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """At most `max_length` bytes of what comes out."""

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""

    @property
    def unused_data(self) -> bytes:
        """What follows on the end of the stream."""


UNPACK_ERRORS = (zlib.error, OSError, EOFError, ValueError, lzma.LZMAError, zstd.ZstdError, MemoryError)
"""What the decompressors raise for damaged data."""


def xz_unpacker() -> lzma.LZMADecompressor:
    """An unpacker of xz with a limit on its memory."""
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_XZ_BYTES)


def zstandard_unpacker() -> Unpacker:
    """An unpacker of Zstandard; its own limit on memory is 128 MiB."""
    unpacker: Unpacker = zstd.ZstdDecompressor()
    return unpacker


def unpack_block(codec: str, data: bytes, most_bytes: int) -> bytes:
    """The bytes of a block; at most `most_bytes` are ever in memory.

    Raises:
        CodecError: the block is damaged, or too large.
    """
    try:
        unpacked = _CODECS[codec](data, most_bytes)
    except (*UNPACK_ERRORS, DecompressionError) as error:
        raise CodecError(str(error) or type(error).__name__) from None
    if len(unpacked) > most_bytes:
        raise TooLargeError(f"more than {most_bytes:,} bytes come out of it")
    return unpacked


def _streams_of(new: Callable[[], Unpacker]) -> Callable[[bytes, int], bytes]:
    def unpack(data: bytes, most_bytes: int) -> bytes:
        unpacked = bytearray()
        while data and len(unpacked) <= most_bytes:
            unpacker = new()
            unpacked += unpacker.decompress(data, most_bytes + 1 - len(unpacked))
            if not unpacker.eof and len(unpacked) <= most_bytes:
                raise EOFError("it is cut off")
            data = unpacker.unused_data
        return bytes(unpacked)

    return unpack


def _deflate(data: bytes, most_bytes: int) -> bytes:
    """A block of deflate; fastavro leaves bytes of a checksum behind its end."""
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    unpacked = unpacker.decompress(data, most_bytes + 1)
    if not unpacker.eof and len(unpacked) <= most_bytes:
        raise EOFError("it is cut off")
    return unpacked


def _snappy(data: bytes, most_bytes: int) -> bytes:
    """A block of snappy, and behind it the CRC of what comes out."""
    packed, crc = data[:-4], data[-4:]
    if snappy.decompress_raw_len(packed) > most_bytes:
        raise TooLargeError(f"more than {most_bytes:,} bytes come out of it")
    unpacked = bytes(snappy.decompress_raw(packed))
    if zlib.crc32(unpacked).to_bytes(4, "big") != crc:
        raise ValueError("its checksum is wrong")
    return unpacked


_CODECS: dict[str, Callable[[bytes, int], bytes]] = {
    "null": lambda data, _: data,
    "deflate": _deflate,
    "snappy": _snappy,
    "zstandard": _streams_of(zstandard_unpacker),
    "bzip2": _streams_of(bz2.BZ2Decompressor),
    "xz": _streams_of(xz_unpacker),
}

CODECS = tuple(_CODECS)
"""Names of the codecs that are read: all that the specification has."""
