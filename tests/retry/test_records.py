"""The record that is made of a dead letter, and the dead letters of which none is made."""

import pytest

from consumer.kafka.record import UNREADABLE_HEADERS, OutgoingRecord
from consumer.output.dead_letter_reader import DeadLetterRecord
from consumer.retry.records import Refusal, Target, retried_record
from tests.retry.letters import DEAD_LETTERS, GROUP, INPUT, dead_letter

TARGET = Target(DEAD_LETTERS, INPUT, partitions=4, group=GROUP)
RETRY = ("viewer_consumer.retry", b"dead-letters/3/17")
BEFORE = ("viewer_consumer.retry", b"dead-letters/1/2")


def test_a_record_is_as_it_was_with_a_header_that_says_where_its_dead_letter_is() -> None:
    own = [("trace", b"\xff"), ("empty", None), ("__streams.errors.message", b"of another application")]
    expected = OutgoingRecord(2, 1_000, b"key", b"value", [*own, RETRY])
    assert retried_record(dead_letter(headers=own), TARGET) == expected


def test_keys_and_values_that_are_not_there_stay_away() -> None:
    record = retried_record(dead_letter(value=None)._replace(key=None), TARGET)
    assert record == OutgoingRecord(2, 1_000, None, None, [RETRY])


def test_with_now_it_has_no_time_of_its_own() -> None:
    now = TARGET._replace(now=True)
    assert retried_record(dead_letter(), now) == OutgoingRecord(2, None, b"key", b"value", [RETRY])
    assert isinstance(retried_record(dead_letter(timestamp_ms="-1"), now), OutgoingRecord)


def test_one_that_was_sent_before_is_sent_again_only_if_asked_for_and_says_both() -> None:
    letter = dead_letter(headers=[BEFORE])
    assert retried_record(letter, TARGET) is Refusal.RETRIED
    again = retried_record(letter, TARGET._replace(again=True))
    assert again == OutgoingRecord(2, 1_000, b"key", b"value", [BEFORE, RETRY])


@pytest.mark.parametrize(
    ("letter", "refusal"),
    [
        (DeadLetterRecord(0, 0, 0, None, b"x", []), Refusal.FOREIGN),
        (DeadLetterRecord(0, 0, 0, None, b"x", [("__streams.errors.exception", None)]), Refusal.FOREIGN),
        (dead_letter(partition="two"), Refusal.FOREIGN),
        (dead_letter(partition="2" * 5_000), Refusal.FOREIGN),
        (dead_letter(partition="٢"), Refusal.FOREIGN),
        (dead_letter(timestamp_ms=""), Refusal.FOREIGN),
        (dead_letter(application="others"), Refusal.OTHER_GROUP),
        (dead_letter(topic="others"), Refusal.OTHER_TOPIC),
        (dead_letter(partition="4"), Refusal.NO_PARTITION),
        (dead_letter(partition="-1"), Refusal.NO_PARTITION),
        (dead_letter(more=[("viewer_consumer.value_bytes", b"990000")]), Refusal.CUT),
        (dead_letter(more=[("viewer_consumer.key_bytes", b"990000")]), Refusal.CUT),
        (dead_letter(more=[("viewer_consumer.headers_dropped", b"3")]), Refusal.CUT),
        (dead_letter(headers=[(UNREADABLE_HEADERS, None)]), Refusal.HEADERS_LOST),
        (dead_letter(timestamp_ms="-1"), Refusal.NO_TIMESTAMP),
        (dead_letter(timestamp_ms="0"), Refusal.NO_TIMESTAMP),
    ],
)
def test_one_that_cannot_be_sent_as_it_was_is_refused(letter: DeadLetterRecord, refusal: Refusal) -> None:
    assert retried_record(letter, TARGET) is refusal


def test_a_record_that_says_it_was_cut_is_not_mistaken_for_a_cut_dead_letter() -> None:
    own = [("viewer_consumer.value_bytes", b"5")]
    assert isinstance(retried_record(dead_letter(headers=own), TARGET), OutgoingRecord)
