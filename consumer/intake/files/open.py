"""Open files of events: Avro object containers or JSON lines, detected by their first bytes."""

import errno
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Self

from consumer.errors import ViewerConsumerError
from consumer.intake.files.containers import MAGIC, read_container
from consumer.intake.files.json_lines import FileBatch, read_json_lines
from consumer.settings.model import InputSettings

STDIN = "-"


class EventFile:
    """An open file of events; closes it as a context manager."""

    def __init__(self, name: str, file: BinaryIO, source: InputSettings) -> None:
        self.name = "stdin" if name == STDIN else name
        self.size = _size(file)
        self._file = file
        self._source = source
        self._owned = name != STDIN

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
            if self._begins_with(MAGIC):
                yield from read_container(self._file, self.name, self._source)
            else:
                yield from read_json_lines(self._file, self._source.max_payload_bytes)
        except OSError as error:
            raise ViewerConsumerError(f"{self.name}: cannot be read: {error.strerror or error}") from None

    def position(self) -> int:
        """Bytes read so far; 0 if unknown."""
        return self._file.tell() if self.size is not None else 0

    def _begins_with(self, magic: bytes) -> bool:
        peek = getattr(self._file, "peek", None)
        return peek is not None and bytes(peek(len(magic))[: len(magic)]) == magic


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
