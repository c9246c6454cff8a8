"""Compare what the intake made of each record with the plain-Python judge, which uses fastavro."""

from collections import Counter
from collections.abc import Sequence

from consumer.intake.ahead import AHEAD, IN_TIME, UNDECIDED
from consumer.intake.intake import Decoded
from consumer.intake.rejects import WAITING, Reject
from tests.fuzz.feeds import Feed
from tests.intake.reference import Event, row

UNREADABLE = frozenset({"truncated", "trailing_bytes", "bad_number", "bad_length", "unknown_branch"})
NAMING = frozenset(
    {
        *(Reject.BAD_TEXT, Reject.EMPTY_ID, Reject.ID_TOO_LONG, Reject.BAD_KEY, Reject.MISSING_VALUE),
        *(Reject.OUT_OF_RANGE, Reject.BAD_TIME, Reject.TIME_WITHOUT_OFFSET),
    }
)
"""Reasons whose message names the field at fault."""
LOWEST = b"\xff" * 9 + b"\x01"


def read_by_fastavro_alone(data: bytes, reject: str) -> bool:
    """Whether only fastavro reads it: numbers may overflow, index -1 is the last branch, -2^63 items are none."""
    return reject in {"bad_number", "unknown_branch"} or (reject == "bad_length" and LOWEST in data)


class Wrong(AssertionError):  # noqa: N818  # a finding, not an error of the program
    """The intake and the judge differ; the message names the record."""


def judge_batch(
    feed: Feed,
    values: Sequence[bytes | None],
    stamps: Sequence[int],
    clock_ms: int,
    decoded: Decoded,
    one_in: int = 1,
    keys: Sequence[bytes | None] = (),
) -> Counter[str]:
    """Count the outcomes of the records, by reason.

    Every record that was taken is judged; of the others the reasons are, and one in `one_in` is judged.

    Raises:
        Wrong: the judge says otherwise, or a reject has no reason.
    """
    found: Counter[str] = Counter()
    if decoded.waiting != len(values):
        raise Wrong(f"record {decoded.waiting} waits: {decoded.waiting_reason(decoded.waiting)}")
    codes = decoded.events.reject.tolist()
    for i, (value, stamp, code) in enumerate(zip(values, stamps, codes, strict=True)):
        if code == 0 or i % one_in == 0:
            event = row(decoded.events, i)
            _judge(feed, value, keys[i] if keys else None, stamp, event, int(decoded.events.clamped_ms[i]))
            _judge_clock(feed, stamp, clock_ms, event, int(decoded.clock[i]))
            found[event.reject] += 1
        else:
            found[_label(code)] += 1
        if 0 < code < WAITING and not decoded.explain(i).message:
            raise Wrong(f"a reject without a reason: {code}")
        if code in NAMING and i % one_in == 0 and feed.judge.field_at_fault not in decoded.explain(i).message:
            raise Wrong(f"about {feed.judge.field_at_fault}: {decoded.explain(i).message}")
    return found


def _label(code: int) -> str:
    return Reject(code).label if code < WAITING else "ignored"


def _judge(feed: Feed, value: bytes | None, key: bytes | None, stamp: int, event: Event, clamped_ms: int) -> None:
    framed = _framing(feed, value)
    if framed or value is None:
        expected: Event | None = Event(reject=framed)
    else:
        payload = value[len(feed.head) :]
        expected = feed.judge.read(payload, key)
        if event.reject in UNREADABLE:
            if expected is None or read_by_fastavro_alone(payload, event.reject):
                return
        elif expected is not None and not expected.reject:
            own_ms, expected = expected.timestamp_ms, _held_against_record(feed, expected, stamp)
            if not expected.reject and event.timestamp_ms + clamped_ms != own_ms:
                raise Wrong(f"clamped by {clamped_ms} ms to {event.timestamp_ms}: {value!r} is of {own_ms}, at {stamp}")
    if event != expected:
        raise Wrong(f"{event}, but the judge says {expected}: {value!r}, key {key!r}, {feed.source.format}, at {stamp}")


def _framing(feed: Feed, value: bytes | None) -> str:
    """Return the reason why a record has no payload; empty if it has one."""
    size = {"confluent": 5, "apicurio": 9, "single-object": 10, "raw": 0}[feed.source.format]
    if value is None:
        return "null_value"
    if len(value) > feed.source.max_payload_bytes:
        return "oversized"
    magic = {"confluent": 1, "apicurio": 1, "single-object": 2, "raw": 0}[feed.source.format]
    if len(value) < size or value[:magic] != feed.head[:magic]:
        return "bad_framing"
    if feed.source.format == "apicurio" and int.from_bytes(value[1:size], "big") >= 2**31:
        return "bad_framing"
    return "" if value[:size] == feed.head else "unknown_schema"


def _held_against_record(feed: Feed, event: Event, stamp: int) -> Event:
    """What an event is taken as, given its record's Kafka timestamp."""
    if stamp == -1 or event.timestamp_ms <= stamp:
        return event
    if event.timestamp_ms > stamp + feed.source.max_future_ms:
        return Event(reject="future")
    return event._replace(timestamp_ms=stamp)


def _judge_clock(feed: Feed, stamp: int, clock_ms: int, event: Event, code: int) -> None:
    """Whether a record is held against the clock by its Kafka timestamp, else by its event's time."""
    limit_ms = feed.source.max_future_ms
    if stamp == -1 and event.reject:
        expected = UNDECIDED
    else:
        ahead_ms = (event.timestamp_ms if stamp == -1 else stamp) - clock_ms
        expected = AHEAD if ahead_ms > limit_ms else IN_TIME if ahead_ms <= limit_ms // 2 else UNDECIDED
    if code != expected:
        raise Wrong(f"{code} where the judge says {expected}: {event} at {stamp}, the clock says {clock_ms}")
