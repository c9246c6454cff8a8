"""Compare what the intake made of each record with the plain-Python judge, which uses fastavro."""

from collections import Counter
from collections.abc import Sequence

from consumer.intake.intake import Decoded
from consumer.intake.rejects import WAITING, Reject
from tests.fuzz.feeds import Feed
from tests.intake.reference import Event, row

UNREADABLE = frozenset({"truncated", "trailing_bytes", "bad_number", "bad_length", "unknown_branch"})
LOWEST = b"\xff" * 9 + b"\x01"


def read_by_fastavro_alone(data: bytes, reject: str) -> bool:
    """Whether only fastavro reads it: numbers may overflow, index -1 is the last branch, -2^63 items are none."""
    return reject in {"bad_number", "unknown_branch"} or (reject == "bad_length" and LOWEST in data)


class Wrong(AssertionError):  # noqa: N818  # a finding, not an error of the program
    """The intake and the judge differ; the message names the record."""


def judge_batch(
    feed: Feed, values: Sequence[bytes | None], stamps: Sequence[int], clock_ms: int, decoded: Decoded, one_in: int = 1
) -> Counter[str]:
    """Count the outcomes of the records, by reason.

    Every record that was taken is judged; of the others the reasons are, and one in `one_in` is judged.

    Raises:
        Wrong: the judge says otherwise, or a reject has no reason.
    """
    found: Counter[str] = Counter()
    if decoded.waiting != len(values):
        raise Wrong(f"record {decoded.waiting} waits: {decoded.waiting_reason}")
    codes = decoded.events.reject.tolist()
    for i, (value, stamp, code) in enumerate(zip(values, stamps, codes, strict=True)):
        if code == 0 or i % one_in == 0:
            event = row(decoded.events, i)
            _judge(feed, value, stamp, clock_ms, event)
            found[event.reject] += 1
        else:
            found[_label(code)] += 1
        if 0 < code < WAITING and not decoded.explain(i).message:
            raise Wrong(f"a reject without a reason: {code}")
    return found


def _label(code: int) -> str:
    return Reject(code).label if code < WAITING else "ignored"


def _judge(feed: Feed, value: bytes | None, stamp: int, clock_ms: int, event: Event) -> None:
    framed = _framing(feed, value)
    if framed or value is None:
        expected: Event | None = Event(reject=framed)
    else:
        payload = value[len(feed.head) :]
        expected = feed.judge.read(payload)
        if event.reject in UNREADABLE:
            if expected is None or read_by_fastavro_alone(payload, event.reject):
                return
        elif expected is not None and not expected.reject and _is_ahead(feed, expected, stamp, clock_ms):
            expected = Event(reject="future")
    if event != expected:
        raise Wrong(f"{event}, but the judge says {expected}: {value!r}, {feed.source.format}, at {stamp}")


def _framing(feed: Feed, value: bytes | None) -> str:
    """Return the reason why a record has no payload; empty if it has one."""
    size = {"confluent": 5, "single-object": 10, "raw": 0}[feed.source.format]
    if value is None:
        return "null_value"
    if len(value) > feed.source.max_payload_bytes:
        return "oversized"
    magic = {"confluent": 1, "single-object": 2, "raw": 0}[feed.source.format]
    if len(value) < size or value[:magic] != feed.head[:magic]:
        return "bad_framing"
    return "" if value[:size] == feed.head else "unknown_schema"


def _is_ahead(feed: Feed, event: Event, stamp: int, clock_ms: int) -> bool:
    latest_ms = clock_ms if stamp == -1 else min(clock_ms, stamp)
    return event.timestamp_ms > latest_ms + feed.source.max_future_ms
