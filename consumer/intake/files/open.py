"""Open files of events: Avro object containers or JSON lines, packed or not, detected by their first bytes."""

import errno
import io
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Self

from consumer.errors import ViewerConsumerError
from consumer.intake.compiler.schema_json import ParsedSchema
from consumer.intake.files.containers import MAGIC, container_schema, read_container
from consumer.intake.files.json_lines import FileBatch, read_json_lines
from consumer.intake.files.kinds import other_kind
from consumer.intake.files.packed import CHUNK_BYTES, PackedFile, packing_of
from consumer.settings.model import InputSettings

STDIN = "-"

HEAD_BYTES = 4_096
"""By so many bytes a file is recognized."""


class EventFile:
    """An open file of events; closes it as a context manager."""

    def __init__(self, name: str, file: BinaryIO, source: InputSettings) -> None:
        self.name = "stdin" if name == STDIN else name
        self.size = _size(file)
        self.is_empty = False
        """Whether nothing was in it; known once `batches` has ended."""
        self._file = file
        self._source = source
        self._owned = name != STDIN
        self._joined: _Joined | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._owned:
            self._file.close()

    def batches(self) -> Iterator[FileBatch]:
        """The file's records in order.

        Raises:
            ViewerConsumerError: it cannot be read to its end, or its schema cannot be mapped.
        """
        try:
            content, head = self._content()
            self.is_empty = not head
            if head.startswith(MAGIC):
                yield from read_container(content, self.name, self._source)
            elif what := other_kind(head):
                raise ViewerConsumerError(f"{self.name}: {what.replace('FILE', self.name)}")
            else:
                yield from read_json_lines(content, self._source.max_payload_bytes)
        except OSError as error:
            raise ViewerConsumerError(f"{self.name}: cannot be read: {error.strerror or error}") from None

    def schema(self) -> ParsedSchema | None:
        """The writer schema of a container; None for other files. Call it instead of `batches`.

        Raises:
            ViewerConsumerError: it cannot be read.
        """
        try:
            content, head = self._content()
            return container_schema(content, self.name) if head.startswith(MAGIC) else None
        except OSError as error:
            raise ViewerConsumerError(f"{self.name}: cannot be read: {error.strerror or error}") from None

    def _content(self) -> tuple[BinaryIO, bytes]:
        """What is in the file, unpacked if it is packed, and its first bytes."""
        self._joined, head = _with_head(self._file)
        content: BinaryIO = io.BufferedReader(self._joined, CHUNK_BYTES)
        packing = packing_of(head)
        if packing is None:
            return content, head
        unpacked, head = _with_head(PackedFile(content, packing, self.name))
        content = io.BufferedReader(unpacked, CHUNK_BYTES)
        if (inner := packing_of(head)) is not None:
            raise ViewerConsumerError(f"{self.name}: is {inner.name} inside {packing.name}; unpack it once")
        return content, head

    def position(self) -> int:
        """Bytes of the file, packed or not, that were read so far; also of a pipe."""
        return 0 if self._joined is None else self._joined.passed


class _Joined(io.RawIOBase):
    """The first bytes of a file, which were read already, and the rest."""

    def __init__(self, head: bytes, rest: BinaryIO | io.RawIOBase) -> None:
        self._head = head
        self._rest = rest
        self.passed = 0
        """Bytes that were handed on."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # as io calls it
        part = self._head or self._rest.read(len(buffer)) or b""
        part, self._head = part[: len(buffer)], self._head[len(buffer) :]
        buffer[: len(part)] = part
        self.passed += len(part)
        return len(part)


def _with_head(file: BinaryIO | io.RawIOBase) -> tuple[_Joined, bytes]:
    """A file to read from its beginning, which need not be seekable, and its first bytes."""
    head = b""
    while len(head) < HEAD_BYTES and (part := file.read(HEAD_BYTES - len(head))):
        head += part
    return _Joined(head, file), head


def open_event_file(name: str, source: InputSettings) -> EventFile:
    """Open a file by its path, or stdin by `-`.

    Raises:
        ViewerConsumerError: it cannot be opened.
    """
    if name == STDIN:
        return EventFile(name, sys.stdin.buffer, source)
    try:
        return EventFile(name, Path(name).open("rb"), source)
    except OSError as error:
        raise ViewerConsumerError(f"{name}: cannot be read: {error.strerror}") from None


def check_readable(names: Sequence[str]) -> None:
    """Check that all files can be opened before the first is read.

    Raises:
        ViewerConsumerError: naming every one that cannot be read.
    """
    errors = []
    for name in names:
        path = Path(name)
        if name == STDIN:
            continue
        if not path.exists():
            errors.append(f"{name}: cannot be read: {os.strerror(errno.ENOENT)}")
        elif path.is_dir():
            errors.append(f"{name}: cannot be read: {os.strerror(errno.EISDIR)}")
        elif not os.access(path, os.R_OK):
            errors.append(f"{name}: cannot be read: {os.strerror(errno.EACCES)}")
    if errors:
        raise ViewerConsumerError("\n".join(errors))


def _size(file: BinaryIO) -> int | None:
    """Size of a regular file; None for a pipe or a terminal."""
    try:
        status = os.fstat(file.fileno())
    except (OSError, ValueError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
