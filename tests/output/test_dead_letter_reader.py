"""Reading dead letters back: filters, and protection of the terminal from their contents."""

import base64
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.output.dead_letter import Cause, rejected_records
from consumer.output.dead_letter_reader import (
    UNKNOWN,
    DeadLetterFilter,
    DeadLetterRecord,
    as_counts,
    as_json,
    as_lines,
    as_text,
)
from consumer.runtime.joined import joined
from consumer.runtime.record_columns import header_columns
from consumer.runtime.text import escaped, time_text


def dead_letter(
    reason: str = "truncated", input_partition: int = 2, timestamp_ms: int = 1_700_000_001_000, offset: int = 5
) -> DeadLetterRecord:
    """Return a dead letter as Kafka returns it."""
    cause = Cause("viewer-events", input_partition, "my-group", reason, "it ends", "id 7")
    rejected = rejected_records(
        offsets=np.array([17]),
        timestamps_ms=np.array([1_700_000_000_000]),
        keys=joined([b"key"]),
        values=joined([b"\0\1ab"]),
        headers=header_columns([()]),
        causes=[cause.headers()],
        kinds=np.array([0]),
    )
    ((key, value, ours),) = (letter for columns in rejected.dead_letters(1_000_000) for letter in columns.records())
    headers = [(name, content.encode() if isinstance(content, str) else content) for name, content in ours]
    return DeadLetterRecord(3, offset, timestamp_ms, key, value, headers)


def test_a_line_shows_position_time_and_reason_and_the_message_is_below() -> None:
    assert list(as_lines(dead_letter())) == [
        "3:5  2023-11-14T22:13:21.000Z  truncated  from 2:17  id 7  4 bytes",
        "    it ends",
    ]
    nobodys = DeadLetterRecord(0, 0, -1, None, None, [])
    assert list(as_lines(nobodys)) == [f"0:0  no time  {UNKNOWN}  from :  -  no value"]


def test_a_long_message_is_shown_whole_in_80_columns() -> None:
    message = "the record doesn't begin as input.format says; " * 5
    talkative = dead_letter()._replace(headers=[("__streams.errors.message", message.encode())])
    _, *lines = as_lines(talkative)
    assert len(lines) == 4
    assert max(map(len, lines)) <= 80
    assert " ".join(line.strip() for line in lines) == message.strip()


def test_one_dead_letter_is_shown_completely() -> None:
    lines = list(as_text(dead_letter()))
    assert lines[:6] == [
        "dead letter  3:5 at 2023-11-14T22:13:21.000Z",
        "reason       truncated: it ends",
        "came from    viewer-events 2:17",
        "at           2023-11-14T22:13:20.000Z",
        "schema       id 7",
        "rejected by my-group",
    ]
    assert lines[-3] == "key          key"
    assert lines[-2] == "value        4 bytes"
    assert lines[-1].split() == ["00000000", "00", "01", "61", "62", "..ab"]


def test_json_holds_every_byte() -> None:
    found = json.loads(json.dumps(as_json(dead_letter())))
    assert (found["partition"], found["offset"], found["reason"], found["input_offset"]) == (3, 5, "truncated", "17")
    assert base64.b64decode(found["value"]) == b"\0\1ab"


@pytest.mark.parametrize(
    ("wanted", "offsets"),
    [
        (DeadLetterFilter(), [0, 1, 2]),
        (DeadLetterFilter(reasons=frozenset({"future"})), [1]),
        (DeadLetterFilter(reasons=frozenset({"future", "truncated"})), [0, 1, 2]),
        (DeadLetterFilter(partitions=frozenset({2})), [0, 1]),
        (DeadLetterFilter(since_ms=2_000), [1, 2]),
        (DeadLetterFilter(since_ms=2_000, until_ms=3_000), [1]),
        (DeadLetterFilter(reasons=frozenset({"truncated"}), partitions=frozenset({4}), until_ms=3_001), [2]),
    ],
)
def test_filters_select_dead_letters(wanted: DeadLetterFilter, offsets: list[int]) -> None:
    dead_letters = [
        dead_letter("truncated", 2, 1_000, 0),
        dead_letter("future", 2, 2_000, 1),
        dead_letter("truncated", 4, 3_000, 2),
    ]
    assert [each.offset for each in dead_letters if wanted.matches(each)] == offsets


def test_counts_are_by_reason_and_partition() -> None:
    dead_letters = [dead_letter(), dead_letter(), dead_letter("future"), dead_letter("truncated", 4)]
    assert list(as_counts(dead_letters)) == [
        "         2  truncated  partition 2",
        "         1  future  partition 2",
        "         1  truncated  partition 4",
    ]


def test_headers_of_the_original_record_are_not_mistaken_for_ours() -> None:
    forged = dead_letter()._replace(headers=[("__streams.errors.exception", b"forged"), *dead_letter().headers])
    assert forged.reason == "truncated"


@given(
    st.builds(
        DeadLetterRecord,
        *(st.integers(0, 9), st.integers(0, 9), st.integers(-(2**63), 2**63 - 1)),
        *(st.none() | st.binary(max_size=30), st.none() | st.binary(max_size=30)),
        st.lists(
            st.tuples(
                st.sampled_from(["viewer_consumer.timestamp_ms", "__streams.errors.message", "x\x1b[2J", "\n"]),
                st.none()
                | st.binary(max_size=30)
                | st.sampled_from([b"\x1b]0;x\x07", b"9" * 5_000, b"-1", "٣".encode()]),
            ),
            max_size=4,
        ),
    )
)
def test_control_characters_in_a_dead_letter_are_not_sent_to_the_terminal(any_letter: DeadLetterRecord) -> None:
    lines = [*as_lines(any_letter), *as_text(any_letter), *as_counts([any_letter])]
    assert all(line.isprintable() for line in lines)
    assert json.dumps(as_json(any_letter)).isascii()


def test_control_characters_become_visible() -> None:
    assert escaped("Zürich\x1b[31m\n\u202e") == "Zürich\\x1b[31m\\n\\u202e"


def test_times_outside_the_calendar_are_shown_as_numbers() -> None:
    assert time_text(2**62) == f"{2**62} ms"
    assert time_text(-1_500) == "1969-12-31T23:59:58.500Z"
