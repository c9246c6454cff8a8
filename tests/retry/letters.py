"""Dead letters as a worker writes them, made by hand."""

from collections.abc import Sequence

from consumer.output.dead_letter_reader import DeadLetterRecord

Headers = Sequence[tuple[str, bytes | None]]

GROUP = "group"
INPUT = "events"
DEAD_LETTERS = "dead-letters"


def dead_letter(
    offset: int = 7,
    *,
    value: bytes | None = b"value",
    headers: Headers = (),
    more: Headers = (),
    at_ms: int = 5_000,
    place: tuple[int, int] = (3, 17),
    **changed: str,
) -> DeadLetterRecord:
    """Return the dead letter at 3:17 of the record at that offset of partition 2, whose time was 1,000 ms."""
    ours = {
        "__streams.errors.exception": "truncated",
        "__streams.errors.message": "it ends",
        "__streams.errors.topic": INPUT,
        "__streams.errors.partition": "2",
        "viewer_consumer.application": GROUP,
        "viewer_consumer.schema": "id 7",
        "__streams.errors.offset": str(offset),
        "viewer_consumer.timestamp_ms": "1000",
    }
    added = [(name, changed.pop(name.rpartition(".")[2], content).encode()) for name, content in ours.items()]
    assert not changed
    return DeadLetterRecord(*place, at_ms, b"key", value, [*headers, *added, *more])
