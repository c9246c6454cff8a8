"""Text output of the commands `dlq list` and `dlq show`."""

import json
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

from consumer.errors import UsageError, ViewerConsumerError
from consumer.intake.rejects import Reject
from consumer.kafka.protocols import DeadLetterSource
from consumer.output.dead_letter_reader import (
    DeadLetterFilter,
    DeadLetterRecord,
    as_counts,
    as_json,
    as_lines,
    as_text,
)
from consumer.runtime.durations import parse_time_ms
from consumer.runtime.files import check_overwrite

Print = Callable[[str], None]

STDOUT = Path("-")


class Choice(NamedTuple):
    """Which dead letters a command is about."""

    wanted: DeadLetterFilter = DeadLetterFilter()
    most: int | None = None
    """None: all."""
    places: tuple[str, ...] = ()
    """Only these, as partition:offset of the dead-letter topic; empty: all."""

    def dead_letters(
        self, source: DeadLetterSource, list_command: str, *, in_order: bool = False
    ) -> Generator[DeadLetterRecord]:
        """Read those that were chosen; optionally in the order in which they were written.

        Args:
            source: the dead-letter topic.
            list_command: the command line of `dlq list`, for messages.
            in_order: over all partitions, which takes longer.

        Raises:
            ViewerConsumerError: they cannot be read, or there is none at a place.
        """
        yield from islice(filter(self.wanted.matches, self._read(source, list_command, in_order)), self.most)

    def _read(self, source: DeadLetterSource, list_command: str, in_order: bool) -> Iterable[DeadLetterRecord]:
        if self.places:
            found = [_found(source, place, list_command) for place in self.places]
            return sorted(found, key=lambda dead_letter: dead_letter.timestamp_ms)
        read = source.read_in_order if in_order else source.read
        return (DeadLetterRecord(*record) for record in read(self.wanted.since_ms))


def choice_of(
    reasons: Sequence[str] | None,
    partitions: Sequence[int] | None,
    since: str | None,
    until: str | None,
    most: int | None,
    places: Sequence[str] | None,
) -> Choice:
    """The choice that the options of a command make.

    Raises:
        UsageError: a reason does not exist, or a time or a place is malformed.
    """
    wanted = DeadLetterFilter(
        reasons=_known_reasons(reasons or ()),
        partitions=frozenset(partitions or ()),
        since_ms=None if since is None else parse_time_ms("--since", since),
        until_ms=None if until is None else parse_time_ms("--until", until),
    )
    for place in places or ():
        _parsed(place)
    return Choice(wanted, most, tuple(dict.fromkeys(places or ())))


def print_dead_letters(
    source: DeadLetterSource,
    choice: Choice,
    write_line: Print,
    list_command: str,
    *,
    count: bool = False,
    json_lines: bool = False,
) -> None:
    """Print dead letters, each as lines of text or as a line of JSON; or their number by reason and partition.

    Raises:
        ViewerConsumerError: they cannot be read, or there is none at a place.
    """
    dead_letters = choice.dead_letters(source, list_command)
    if count:
        for line in as_counts(dead_letters):
            write_line(line)
        return
    for dead_letter in dead_letters:
        for line in (_json(dead_letter),) if json_lines else as_lines(dead_letter):
            write_line(line)


def export_dead_letters(source: DeadLetterSource, choice: Choice, path: Path, list_command: str, *, force: bool) -> int:
    """Write dead letters to a file as JSON lines; return how many there were. A path of `-` is stdout.

    Raises:
        ViewerConsumerError: as `print_dead_letters`; the file exists or cannot be written.
    """
    written = 0
    with opened_for_writing(path, force=force) as file:
        for dead_letter in choice.dead_letters(source, list_command):
            file.write(_json(dead_letter).encode() + b"\n")
            written += 1
    return written


def print_dead_letter(
    source: DeadLetterSource, place: str, write_line: Print, list_command: str, *, as_json_line: bool = False
) -> None:
    """Print one dead letter; `place` is the partition:offset that `dlq list` prints.

    Args:
        source: the dead-letter topic.
        place: of the dead letter.
        write_line: receives the text.
        list_command: the command line of `dlq list`, for messages.
        as_json_line: as one JSON object rather than text.

    Raises:
        UsageError: `place` is malformed.
        ViewerConsumerError: there is no dead letter there, or it cannot be read.
    """
    dead_letter = _found(source, place, list_command)
    for line in [_json(dead_letter)] if as_json_line else as_text(dead_letter):
        write_line(line)


def write_value(source: DeadLetterSource, place: str, path: Path, list_command: str, *, force: bool) -> None:
    """Write the value of one dead letter to a file, as it is; a path of `-` is stdout.

    Raises:
        UsageError: `place` is malformed.
        ViewerConsumerError: as `print_dead_letter`; it has no value, or the file exists or cannot be written.
    """
    if path != STDOUT:
        check_overwrite(path, force=force)
    value = _found(source, place, list_command).value
    if value is None:
        raise ViewerConsumerError(f"the dead letter at {place} has no value")
    with opened_for_writing(path, force=force) as file:
        file.write(value)


@contextmanager
def opened_for_writing(path: Path, *, force: bool) -> Iterator[BinaryIO]:
    """A file to write, or stdout for `-`.

    Raises:
        ViewerConsumerError: it exists and may not be overwritten, or cannot be written.
    """
    if path == STDOUT:
        yield sys.stdout.buffer
        return
    check_overwrite(path, force=force)
    try:
        with path.open("wb") as file:
            yield file
    except OSError as error:
        raise ViewerConsumerError(f"{path}: cannot be written: {error.strerror or error}") from None


def _known_reasons(reasons: Iterable[str]) -> frozenset[str]:
    known = [reject.label for reject in Reject]
    for reason in reasons:
        if reason not in known:
            raise UsageError(f'--reason: there is no "{reason}"; there are {", ".join(known)}')
    return frozenset(reasons)


def _found(source: DeadLetterSource, place: str, list_command: str) -> DeadLetterRecord:
    record = source.at(*_parsed(place))
    if record is None:
        raise ViewerConsumerError(f"there is no dead letter at {place}; see where they are with: {list_command}")
    return DeadLetterRecord(*record)


def _json(dead_letter: DeadLetterRecord) -> str:
    return json.dumps(as_json(dead_letter))


def _parsed(place: str) -> tuple[int, int]:
    partition, colon, offset = place.partition(":")
    if not (colon and partition.isdecimal() and offset.isdecimal() and len(place) < 40):
        raise UsageError(f'PLACE: must be partition:offset of the dead-letter topic, as 3:17, not "{place[:60]}"')
    return int(partition), int(offset)
