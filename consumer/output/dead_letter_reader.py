"""Read dead letters back: parse their headers, filter them, and print them.

Their content is untrusted. Text is printed with every terminal control sequence escaped.
"""

import base64
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from textwrap import wrap
from typing import Any, NamedTuple

from consumer.output.dead_letter import APPLICATION, EXCEPTION, MESSAGE, OFFSET, PARTITION, SCHEMA, TIMESTAMP_MS, TOPIC
from consumer.runtime.text import escaped, time_text

UNKNOWN = "(unknown)"
"""The reason shown for records without one, which other programs may have written."""

HEX_BYTES_A_LINE = 16
MESSAGE_WIDTH = 80
MAX_SHOWN_BYTES = 4_096
"""Limit of a value shown as text; JSON holds all of it."""


class DeadLetterRecord(NamedTuple):
    """A record of the dead-letter topic."""

    partition: int
    offset: int
    timestamp_ms: int
    """Its Kafka timestamp; -1 if it has none."""
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]

    @property
    def place(self) -> str:
        """Its partition and offset in the dead-letter topic."""
        return f"{self.partition}:{self.offset}"

    def header(self, name: str) -> str:
        """The text of the last header with a name: the worker's headers follow the record's own."""
        found = next((content for key, content in reversed(self.headers) if key == name), None)
        return "" if found is None else found.decode("utf-8", "replace")

    @property
    def reason(self) -> str:
        """The reason, from the closed list."""
        return self.header(EXCEPTION) or UNKNOWN

    @property
    def came_from(self) -> str:
        """Partition and offset in the input."""
        return f"{self.header(PARTITION)}:{self.header(OFFSET)}"


class DeadLetterFilter(NamedTuple):
    """A filter; empty and None match all."""

    reasons: frozenset[str] = frozenset()
    partitions: frozenset[int] = frozenset()
    """Partitions of the input."""
    since_ms: int | None = None
    until_ms: int | None = None
    """Exclusive."""

    def matches(self, dead_letter: DeadLetterRecord) -> bool:
        """Whether a dead letter passes the filter."""
        if self.reasons and dead_letter.reason not in self.reasons:
            return False
        if self.partitions and dead_letter.header(PARTITION) not in map(str, self.partitions):
            return False
        if self.since_ms is not None and dead_letter.timestamp_ms < self.since_ms:
            return False
        return self.until_ms is None or dead_letter.timestamp_ms < self.until_ms


def as_lines(dead_letter: DeadLetterRecord) -> Iterator[str]:
    """A dead letter as a line, and its message in lines of `MESSAGE_WIDTH` below."""
    yield _line(dead_letter)
    indent = " " * 4
    yield from wrap(
        escaped(dead_letter.header(MESSAGE)),
        MESSAGE_WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )


def _line(dead_letter: DeadLetterRecord) -> str:
    schema = dead_letter.header(SCHEMA) or "-"
    size = "no value" if dead_letter.value is None else f"{len(dead_letter.value):,} bytes"
    parts = (
        dead_letter.place,
        _time(dead_letter.timestamp_ms),
        dead_letter.reason,
        f"from {dead_letter.came_from}",
        schema,
        size,
    )
    return "  ".join(map(escaped, parts))


def as_counts(dead_letters: Iterable[DeadLetterRecord]) -> Iterator[str]:
    """Counts by reason and input partition, largest first."""
    counts = Counter((dead_letter.reason, dead_letter.header(PARTITION) or "?") for dead_letter in dead_letters)
    for (reason, partition), count in sorted(counts.items(), key=lambda each: (-each[1], each[0])):
        yield f"{count:10,}  {escaped(reason)}  partition {escaped(partition)}"


def as_text(dead_letter: DeadLetterRecord) -> Iterator[str]:
    """All contents of a dead letter, in lines."""
    yield f"dead letter  {dead_letter.place} at {_time(dead_letter.timestamp_ms)}"
    yield f"reason       {escaped(dead_letter.reason)}: {escaped(dead_letter.header(MESSAGE))}"
    yield f"came from    {escaped(dead_letter.header(TOPIC))} {escaped(dead_letter.came_from)}"
    yield f"at           {escaped(_time(_number(dead_letter.header(TIMESTAMP_MS))))}"
    yield f"schema       {escaped(dead_letter.header(SCHEMA) or '-')}"
    yield f"rejected by {escaped(dead_letter.header(APPLICATION))}"
    for name, content in dead_letter.headers:
        yield f"header       {escaped(name)} = {'null' if content is None else shown(content)}"
    yield f"key          {'null' if dead_letter.key is None else shown(dead_letter.key)}"
    if dead_letter.value is None:
        yield "value        null"
        return
    yield f"value        {len(dead_letter.value):,} bytes"
    yield from _hex_lines(dead_letter.value[:MAX_SHOWN_BYTES])
    if len(dead_letter.value) > MAX_SHOWN_BYTES:
        yield f"             … {len(dead_letter.value) - MAX_SHOWN_BYTES:,} bytes more; --json has them"


def as_json(dead_letter: DeadLetterRecord) -> Mapping[str, Any]:
    """A dead letter as a JSON object; bytes in base64."""
    return {
        "partition": dead_letter.partition,
        "offset": dead_letter.offset,
        "timestamp_ms": dead_letter.timestamp_ms,
        "reason": dead_letter.reason,
        "message": dead_letter.header(MESSAGE),
        "input_topic": dead_letter.header(TOPIC),
        "input_partition": dead_letter.header(PARTITION),
        "input_offset": dead_letter.header(OFFSET),
        "input_timestamp_ms": dead_letter.header(TIMESTAMP_MS),
        "application": dead_letter.header(APPLICATION),
        "schema": dead_letter.header(SCHEMA),
        "key": _base64(dead_letter.key),
        "value": _base64(dead_letter.value),
        "headers": [[name, _base64(content)] for name, content in dead_letter.headers],
    }


def shown(content: bytes) -> str:
    """Bytes as text if they are UTF-8, else as hexadecimal digits; long ones are cut."""
    part = content[:MAX_SHOWN_BYTES]
    try:
        return escaped(part.decode())
    except UnicodeDecodeError:
        return f"0x{part.hex()}"


def _time(timestamp_ms: int) -> str:
    return "no time" if timestamp_ms == -1 else time_text(timestamp_ms)


def _number(text: str) -> int:
    return int(text) if text.removeprefix("-").isdecimal() and len(text) < 20 else -1


def _hex_lines(content: bytes) -> Iterator[str]:
    for at in range(0, len(content), HEX_BYTES_A_LINE):
        part = content[at : at + HEX_BYTES_A_LINE]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        yield f"  {at:08x}  {part.hex(' '):{3 * HEX_BYTES_A_LINE - 1}}  {text}"


def _base64(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()
