"""Where simulated events go: Avro container files, JSON lines, and the input topic."""

import io
import zlib
from typing import BinaryIO, Protocol, TextIO

import fastavro

from consumer.simulate.batch import EventBatch
from consumer.simulate.encode import EventEncoder, avro_long
from consumer.simulate.scatter import salt

_BLOCK_BYTES = 256 * 1024
_SYNC_MARKER = 101
"""The purpose of the salt for a file's sync marker, so that equal runs write equal files."""


class Sink(Protocol):
    """Takes events in the order in which they arrive."""

    def write(self, events: EventBatch) -> None:
        """Send these events, or buffer them."""

    def close(self) -> None:
        """Send buffered events and wait until they are written; whoever opened a file closes it."""


class JsonLinesSink:
    """Writes one JSON object per line, without buffering."""

    def __init__(self, file: TextIO, encoder: EventEncoder) -> None:
        self._file = file
        self._encoder = encoder

    def write(self, events: EventBatch) -> None:
        """Write these events."""
        self._file.write(self._encoder.json_lines(events))
        self._file.flush()

    def close(self) -> None:
        """Do nothing: nothing is buffered."""


class AvroFileSink:
    """An Avro object container file, deflated, in blocks of about 256 KiB."""

    def __init__(self, file: BinaryIO, encoder: EventEncoder, schema: dict[str, object], seed: int) -> None:
        self._file = file
        self._encoder = encoder
        self._sync = b"".join(salt(seed, _SYNC_MARKER + part).to_bytes(8, "big") for part in range(2))
        self._block = io.BytesIO()
        self._records = 0
        header = io.BytesIO()
        fastavro.writer(header, schema, [], codec="deflate", sync_marker=self._sync)
        file.write(header.getvalue())

    def write(self, events: EventBatch) -> None:
        """Add these events to the block, and write it when it is full."""
        data, _ = self._encoder.avro_block(events)
        self._block.write(data)
        self._records += events.size
        if self._block.tell() >= _BLOCK_BYTES:
            self._write_block()

    def close(self) -> None:
        """Write the last block."""
        if self._records:
            self._write_block()
        self._file.flush()

    def _write_block(self) -> None:
        packer = zlib.compressobj(wbits=-15)
        packed = packer.compress(self._block.getbuffer()) + packer.flush()
        self._file.write(avro_long(self._records) + avro_long(len(packed)) + packed + self._sync)
        self._block = io.BytesIO()
        self._records = 0
