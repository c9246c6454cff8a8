"""Text output of the command `dlq`."""

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from consumer.errors import UsageError, ViewerConsumerError
from consumer.intake.rejects import Reject
from consumer.kafka.protocols import DeadLetterSource
from consumer.output.dead_letter_reader import DeadLetterFilter, DeadLetterRecord, as_counts, as_json, as_line, as_text

Print = Callable[[str], None]


def print_dead_letters(
    source: DeadLetterSource,
    wanted: DeadLetterFilter,
    write_line: Print,
    *,
    most: int | None = None,
    count: bool = False,
    json_lines: bool = False,
) -> None:
    """Print the dead letters that pass the filter, one per line; or their number by reason and partition.

    Raises:
        ViewerConsumerError: they cannot be read.
    """
    dead_letters = islice(_dead_letters(source, wanted), most)
    if count:
        for line in as_counts(dead_letters):
            write_line(line)
        return
    for dead_letter in dead_letters:
        write_line(_json(dead_letter) if json_lines else as_line(dead_letter))


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
    partition, offset = _parsed(place)
    record = source.at(partition, offset)
    if record is None:
        raise ViewerConsumerError(f"there is no dead letter at {place}; see where they are with: {list_command}")
    dead_letter = DeadLetterRecord(*record)
    for line in [_json(dead_letter)] if as_json_line else as_text(dead_letter):
        write_line(line)


def known_reasons(reasons: Iterable[str]) -> frozenset[str]:
    """Return the reasons as a set, after checking that each exists.

    Raises:
        UsageError: one of them does not exist.
    """
    known = [reject.label for reject in Reject]
    for reason in reasons:
        if reason not in known:
            raise UsageError(f'--reason: there is no "{reason}"; there are {", ".join(known)}')
    return frozenset(reasons)


def _dead_letters(source: DeadLetterSource, wanted: DeadLetterFilter) -> Iterator[DeadLetterRecord]:
    dead_letters = (DeadLetterRecord(*record) for record in source.read(wanted.since_ms))
    return filter(wanted.matches, dead_letters)


def _json(dead_letter: DeadLetterRecord) -> str:
    return json.dumps(as_json(dead_letter))


def _parsed(place: str) -> tuple[int, int]:
    partition, colon, offset = place.partition(":")
    if not (colon and partition.isdecimal() and offset.isdecimal() and len(place) < 40):
        raise UsageError(f'PLACE: must be partition:offset of the dead-letter topic, as 3:17, not "{place[:60]}"')
    return int(partition), int(offset)
