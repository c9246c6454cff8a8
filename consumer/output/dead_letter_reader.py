"""Read dead letters back: parse their headers, filter them, and print them.

Their content is untrusted. Text is printed with every terminal control sequence escaped.
"""

import base64
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from consumer.output.dead_letter import APPLICATION, EXCEPTION, MESSAGE, OFFSET, PARTITION, SCHEMA, TIMESTAMP_MS, TOPIC

UNKNOWN = "(unknown)"
"""Stands for a reason where a record of the topic has none: somebody else may write there, too."""

HEX_BYTES_A_LINE = 16
MAX_SHOWN_BYTES = 4_096
"""Of a value in text; JSON has all of it."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class DeadLetterRecord(NamedTuple):
    """A record of the dead-letter topic."""

    partition: int
    offset: int
    timestamp_ms: int
    """When it was set aside; -1 where Kafka has none."""
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]

    @property
    def place(self) -> str:
        """Where it is in the dead-letter topic."""
        return f"{self.partition}:{self.offset}"

    def said(self, name: str) -> str:
        """What the last header of a name says; ours stand behind those that the record came with."""
        found = next((content for key, content in reversed(self.headers) if key == name), None)
        return "" if found is None else found.decode("utf-8", "replace")

    @property
    def reason(self) -> str:
        """From the closed list of reasons."""
        return self.said(EXCEPTION) or UNKNOWN

    @property
    def came_from(self) -> str:
        """Partition and offset of the input."""
        return f"{self.said(PARTITION)}:{self.said(OFFSET)}"


class DeadLetterFilter(NamedTuple):
    """Which letters are asked for; empty and None are all."""

    reasons: frozenset[str] = frozenset()
    partitions: frozenset[int] = frozenset()
    """Of the input."""
    since_ms: int | None = None
    until_ms: int | None = None
    """Not included."""

    def takes(self, letter: DeadLetterRecord) -> bool:
        """Whether a letter is among them."""
        if self.reasons and letter.reason not in self.reasons:
            return False
        if self.partitions and letter.said(PARTITION) not in map(str, self.partitions):
            return False
        if self.since_ms is not None and letter.timestamp_ms < self.since_ms:
            return False
        return self.until_ms is None or letter.timestamp_ms < self.until_ms


def as_line(letter: DeadLetterRecord) -> str:
    """One letter in a list."""
    schema = letter.said(SCHEMA) or "-"
    size = "no value" if letter.value is None else f"{len(letter.value):,} bytes"
    parts = (letter.place, time_text(letter.timestamp_ms), letter.reason, f"from {letter.came_from}", schema, size)
    return "  ".join(map(visible, parts))


def as_counts(letters: Iterable[DeadLetterRecord]) -> Iterator[str]:
    """How many there are of each reason and partition of the input, the most first."""
    counts = Counter((letter.reason, letter.said(PARTITION) or "?") for letter in letters)
    for (reason, partition), count in sorted(counts.items(), key=lambda each: (-each[1], each[0])):
        yield f"{count:10,}  {visible(reason)}  partition {visible(partition)}"


def as_text(letter: DeadLetterRecord) -> Iterator[str]:
    """One letter with all that it holds, in lines."""
    yield f"dead letter  {letter.place} at {time_text(letter.timestamp_ms)}"
    yield f"reason       {visible(letter.reason)}: {visible(letter.said(MESSAGE))}"
    yield f"came from    {visible(letter.said(TOPIC))} {visible(letter.came_from)}"
    yield f"at           {visible(time_text(_number(letter.said(TIMESTAMP_MS))))}"
    yield f"schema       {visible(letter.said(SCHEMA) or '-')}"
    yield f"rejected by {visible(letter.said(APPLICATION))}"
    for name, content in letter.headers:
        yield f"header       {visible(name)} = {'null' if content is None else shown(content)}"
    yield f"key          {'null' if letter.key is None else shown(letter.key)}"
    if letter.value is None:
        yield "value        null"
        return
    yield f"value        {len(letter.value):,} bytes"
    yield from _hex_lines(letter.value[:MAX_SHOWN_BYTES])
    if len(letter.value) > MAX_SHOWN_BYTES:
        yield f"             … {len(letter.value) - MAX_SHOWN_BYTES:,} bytes more; --json has them"


def as_json(letter: DeadLetterRecord) -> Mapping[str, Any]:
    """One letter as JSON has it; bytes are in base64."""
    return {
        "partition": letter.partition,
        "offset": letter.offset,
        "timestamp_ms": letter.timestamp_ms,
        "reason": letter.reason,
        "message": letter.said(MESSAGE),
        "input_topic": letter.said(TOPIC),
        "input_partition": letter.said(PARTITION),
        "input_offset": letter.said(OFFSET),
        "input_timestamp_ms": letter.said(TIMESTAMP_MS),
        "application": letter.said(APPLICATION),
        "schema": letter.said(SCHEMA),
        "key": _base64(letter.key),
        "value": _base64(letter.value),
        "headers": [[name, _base64(content)] for name, content in letter.headers],
    }


def shown(content: bytes) -> str:
    """Bytes as text where they are text, else as hexadecimal digits; cut where there are very many."""
    part = content[:MAX_SHOWN_BYTES]
    try:
        return visible(part.decode())
    except UnicodeDecodeError:
        return f"0x{part.hex()}"


def visible(text: str) -> str:
    """Text in which nothing commands a terminal or breaks the line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def time_text(timestamp_ms: int) -> str:
    """A time for people, in UTC; in milliseconds where a calendar has no such day."""
    if timestamp_ms == -1:
        return "no time"
    try:
        time = _EPOCH + timedelta(milliseconds=timestamp_ms)
    except OverflowError:
        return f"{timestamp_ms} ms"
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _number(text: str) -> int:
    return int(text) if text.removeprefix("-").isdecimal() and len(text) < 20 else -1


def _hex_lines(content: bytes) -> Iterator[str]:
    for at in range(0, len(content), HEX_BYTES_A_LINE):
        part = content[at : at + HEX_BYTES_A_LINE]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        yield f"  {at:08x}  {part.hex(' '):{3 * HEX_BYTES_A_LINE - 1}}  {text}"


def _base64(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()
