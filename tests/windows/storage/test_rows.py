"""Rows, byte by byte. Rules: bucket 10, grace 5, window 30, idle 40."""

import pytest

from consumer.windows.layout import BUCKET, FIRST_STAT, Times
from consumer.windows.partition import PartitionWindows
from consumer.windows.storage import rows as row_format
from consumer.windows.storage.batch import Record, RowError
from consumer.windows.storage.checksum import Checksum
from tests.windows.test_time import RULES, Drawn
from tests.windows.topic import Topic, loaded

KEY = (1, 2)


def stats(count: int, **by_name: list[int]) -> bytes:
    """Return the stat columns in their order; 0 if not given."""
    names = (BUCKET.names or ())[3:]
    return b"".join(bytes(by_name.get(name, [0] * count)) for name in names)


def row_of_two_buckets() -> bytes:
    """Return a row: stream time 13, one viewer; |10..20| and |0..10|, both open."""
    starts = bytes([2 * 1, 1])
    columns = stats(2, peak=[0, 1], joins=[0, 1], buffer_events=[1, 0], stall_ms=[7, 0])
    return bytes([1, 0, 1, 1, 2 * 13, 1, 0, 2, 2, 2]) + starts + columns


def two_buckets() -> PartitionWindows:
    drawn = Drawn()
    drawn.see("a", 3, "J")
    drawn.see("a", 13, "S", 7)
    return drawn.windows


def keys(windows: PartitionWindows, part_bytes: int = 1_000) -> list[tuple[bytes, bool]]:
    """Return the keys of the records to write, and whether they have a row."""
    return [(key, value is not None) for key, value in windows.changed_rows(part_bytes).records]


def store(windows: PartitionWindows, topic: Topic, part_bytes: int = 1_000) -> None:
    rows = windows.changed_rows(part_bytes)
    topic.write(rows.records)
    assert topic.checksum() == rows.all_rows
    windows.mark_stored(rows)


def test_every_statistic_of_a_bucket_is_stored_on_its_own() -> None:
    names = BUCKET.names or ()
    fields = dict(BUCKET.fields or {})
    assert [fields[name][:2] for name in names[3:]] == [
        (fields["start_ms"][0], 8 * word) for word in range(FIRST_STAT, BUCKET.itemsize // 8)
    ]


def test_a_row_is_a_sequence_of_varint_sections() -> None:
    assert two_buckets().changed_rows().records == [(b"r\0\0a", row_of_two_buckets())]


def test_a_handwritten_row_is_read_as_the_state_it_describes() -> None:
    windows, checksum = loaded(RULES, KEY, Times(13), [(b"r\0\0a", row_of_two_buckets())])
    assert checksum == two_buckets().changed_rows().all_rows
    assert windows.view_of(b"a") == two_buckets().view_of(b"a")
    assert windows.window_of(b"a")["stall_ms"].tolist() == [0, 7]
    assert windows.next_step_ms() == 20


def test_closed_buckets_are_not_published_again_after_a_restore() -> None:
    drawn = Drawn()
    drawn.see("a", 3)
    drawn.see("a", 16)
    drawn.windows.step(60, 2)
    assert drawn.closed() == [("a", 0, "WATERMARK", 1)]
    windows, _ = loaded(RULES, KEY, drawn.windows.times(), drawn.windows.changed_rows().records)
    windows.step(10_000, 3)
    assert windows.pop_closed().rows["bucket"]["start_ms"].tolist() == [10]


def test_empty_windows_have_no_rows() -> None:
    windows = PartitionWindows(RULES, KEY)
    rows = windows.changed_rows()
    assert (rows.records, rows.all_rows) == ([], Checksum(0, 0))
    assert windows.times() == Times(None, None, None)
    again, checksum = loaded(RULES, windows.hash_key, windows.times(), [])
    assert (checksum, again.times(), again.hash_key) == (Checksum(0, 0), windows.times(), KEY)


def test_only_changed_streams_are_written() -> None:
    drawn, topic = Drawn(), Topic()
    drawn.see("a", 3)
    drawn.see("b", 4)
    assert keys(drawn.windows) == [(b"r\0\0a", True), (b"r\0\0b", True)]
    store(drawn.windows, topic)
    assert keys(drawn.windows) == []
    drawn.see("b", 5)
    assert keys(drawn.windows) == [(b"r\0\0b", True)]


def test_a_late_event_changes_no_row() -> None:
    drawn, topic = Drawn(), Topic()
    drawn.see("a", 30)
    store(drawn.windows, topic)
    assert drawn.see("a", 3) == "late"
    assert keys(drawn.windows) == []


def test_closing_by_the_idle_watermark_changes_a_row() -> None:
    drawn, topic = Drawn(), Topic()
    drawn.see("quiet", 3)
    drawn.see("busy", 54)
    store(drawn.windows, topic)
    drawn.see("busy", 60)
    assert (b"r\0\0quiet", True) in keys(drawn.windows)


def test_buckets_closed_under_less_grace_are_stored_as_closed() -> None:
    drawn, topic = Drawn(), Topic()
    drawn.see("a", 3)
    drawn.see("a", 16)
    store(drawn.windows, topic)
    more_grace = RULES._replace(grace_ms=100)
    drawn.windows.change_rules(more_grace, 2)
    store(drawn.windows, topic)
    again = Drawn()
    again.windows, _ = loaded(more_grace, KEY, drawn.windows.times(), topic.records)
    assert again.see("a", 9) == "late"
    assert again.see("a", 10) == "accepted"


def test_times_closed_by_the_idle_watermark_under_less_grace_are_stored() -> None:
    drawn = Drawn()
    drawn.see("a", 0)
    drawn.see("a", 100)
    more_grace = RULES._replace(grace_ms=100)
    drawn.windows.change_rules(more_grace, 2)
    again = Drawn()
    again.windows, _ = loaded(more_grace, KEY, drawn.windows.times(), drawn.windows.changed_rows().records)
    assert again.see("new", 49) == "late_idle"
    assert again.see("new", 50) == "accepted"


def test_a_forgotten_stream_has_a_tombstone_until_that_is_stored() -> None:
    drawn, topic = Drawn(), Topic()
    drawn.see("once", 3)
    store(drawn.windows, topic)
    drawn.windows.step(80, 1)
    assert keys(drawn.windows) == [(b"r\0\0once", False)]
    assert keys(drawn.windows) == [(b"r\0\0once", False)]
    store(drawn.windows, topic)
    assert keys(drawn.windows) == []


def test_a_stream_that_was_never_stored_needs_no_tombstone() -> None:
    drawn = Drawn()
    drawn.see("once", 3)
    drawn.windows.step(80, 1)
    assert keys(drawn.windows) == []


def test_a_stream_that_comes_back_is_written_as_a_row() -> None:
    drawn, topic = Drawn(), Topic()
    drawn.see("again", 3)
    store(drawn.windows, topic)
    drawn.windows.step(80, 1)
    drawn.see("again", 81)
    assert keys(drawn.windows) == [(b"r\0\0again", False), (b"r\0\0again", True)]
    store(drawn.windows, topic)
    windows, _ = loaded(RULES, KEY, drawn.windows.times(), topic.records)
    assert windows.view_of(b"again") == drawn.windows.view_of(b"again")


def test_ids_of_forgotten_streams_survive_the_packing_of_ids() -> None:
    drawn, topic = Drawn(), Topic()
    for number in range(50):
        drawn.see(f"first-{number:020d}", 3)
    store(drawn.windows, topic)
    drawn.windows.step(80, 1)
    for number in range(200):
        drawn.see(f"other-{number:020d}", 81)
    assert keys(drawn.windows)[:50] == [(b"r\0\0first-%020d" % number, False) for number in range(50)]


def test_large_rows_are_split_into_parts_and_joined_again() -> None:
    windows = two_buckets()
    rows = windows.changed_rows(part_bytes=10)
    assert keys(windows, 10) == [(b"r\0" + bytes([part]) + b"a", True) for part in range(3)]
    whole = row_of_two_buckets()[row_format.HEADER_BYTES :]
    assert [value for _, value in rows.records] == [b"\1\0\3" + whole[at : at + 10] for at in (0, 10, 20)]
    again, checksum = loaded(RULES, KEY, windows.times(), rows.records)
    assert checksum == rows.all_rows
    assert again.view_of(b"a") == windows.view_of(b"a")


@pytest.mark.parametrize(("first", "then"), [(10, 1_000), (1_000, 10), (5, 10), (10, 5)])
def test_a_row_may_have_more_or_fewer_parts_than_before(first: int, then: int) -> None:
    drawn, topic = Drawn(), Topic()
    drawn.see("a", 3, "J")
    drawn.see("a", 13, "S", 7)
    store(drawn.windows, topic, first)
    drawn.see("a", 14)
    store(drawn.windows, topic, then)
    for records in (topic.records, list(topic.newest().items())):
        windows, checksum = loaded(RULES, KEY, drawn.windows.times(), records)
        assert checksum == topic.checksum()
        assert windows.view_of(b"a") == drawn.windows.view_of(b"a")


def test_every_part_of_a_forgotten_stream_gets_a_tombstone() -> None:
    drawn, topic = Drawn(), Topic()
    drawn.see("a", 3)
    store(drawn.windows, topic, part_bytes=10)
    drawn.windows.step(80, 1)
    assert {has_value for _, has_value in keys(drawn.windows)} == {False}
    store(drawn.windows, topic)
    assert topic.newest() == {}
    windows, checksum = loaded(RULES, KEY, drawn.windows.times(), topic.records)
    assert (windows.stats().streams, checksum) == (0, Checksum(0, 0))


WHOLE = row_of_two_buckets()
STARTS = 10
"""Positions of the bucket starts in that row."""


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        (b"r\0\0a", WHOLE[:2], "ends too early"),
        (b"r\0\0a", b"", "ends too early"),
        (b"r\0\0a", WHOLE[:-1] + b"\x80", "ends too early"),
        (b"r\0\0a", WHOLE[:-2] + b"\x81\1", "ends too early"),
        (b"r\0\0a", WHOLE[:4] + b"\xff" * 10 + WHOLE[5:], "ends too early"),
        (b"r\0\0a", WHOLE + b"\0", "has bytes behind its end"),
        (b"r\0\0a", b"\2" + WHOLE[1:], "is of a version that this program doesn't know"),
        (b"r\0\0a", WHOLE[:3] + b"\7" + WHOLE[4:], "has a section that this program doesn't know"),
        (b"r\0\0a", WHOLE[:7], "has a section that this program doesn't know, or lacks one"),
        (b"r\0\0a", WHOLE[:8] + b"\7" + WHOLE[9:], "has an impossible number of buckets"),
        (b"r\0\0a", WHOLE[:9] + b"\3" + WHOLE[10:], "has an impossible number of buckets"),
        (b"r\0\0a", WHOLE[:-1], "has an impossible number of buckets"),
        (b"r\0\0a", WHOLE[:4] + b"\xff" * 8 + b"\1" + WHOLE[5:], "has a time that no event can have"),
        (b"r\0\0a", WHOLE[:STARTS] + b"\xff" * 7 + b"\1" + WHOLE[11:], "has a time that no event can have"),
        (b"r\0\0a", WHOLE[: STARTS + 1] + b"\0" + WHOLE[12:], "has buckets that are not in order of time"),
        (b"r\0\0a", WHOLE[:STARTS] + b"\4" + WHOLE[11:], "are ahead of their stream"),
        (b"x\0\0a", WHOLE, "has a key that is not one of a row"),
        (b"r\0", WHOLE, "has a key that is not one of a row"),
        (b"r\0\1a", WHOLE, "has a part that is not one of its parts"),
        (b"r\0\0a", b"\1\0\0" + WHOLE[3:], "has a part that is not one of its parts"),
    ],
)
def test_a_damaged_row_is_an_error_that_says_what_is_wrong(key: bytes, value: bytes, problem: str) -> None:
    with pytest.raises(RowError, match=problem) as caught:
        loaded(RULES, KEY, Times(13), [(b"r\0\0fine", WHOLE), (key, value)])
    stream_id = key[3:].decode()
    assert str(caught.value).startswith(f"the stored row of stream {stream_id!r} ")


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        ([(b"r\0\0a", b"\1\0\2x")], "lacks a part"),
        ([(b"r\0\1a", b"\1\0\2x")], "lacks a part"),
        ([(b"r\0\0a", b"\1\0\2x"), (b"r\0\1a", b"\1\0\3y")], "parts that don't belong together"),
        ([(b"r\0\1a", b"\1\0\2x"), (b"r\0\0a", WHOLE)], "has a part that is not one of its parts"),
        ([(b"r\0\0a", b"\1\0\2x"), (b"r\0\1a", b"\1\0\2y")], "has a section that this program doesn't know"),
    ],
)
def test_damaged_parts_are_an_error_that_says_what_is_wrong(records: list[Record], problem: str) -> None:
    with pytest.raises(RowError, match=f"the stored row of stream 'a' .*{problem}"):
        loaded(RULES, KEY, Times(13), records)


def test_the_checksum_covers_every_bucket_and_its_contents() -> None:
    checksums = set()
    for stream_id, value, end_ms in (("a", 1, 30), ("b", 1, 30), ("a", 2, 30), ("a", 1, 20)):
        drawn = Drawn()
        drawn.see(stream_id, 3, "B", value)
        drawn.see(stream_id, end_ms)
        checksums.add(drawn.windows.published_checksum())
        drawn.windows.reset_published_checksum()
        assert drawn.windows.published_checksum() == Checksum(0, 0)
    # The time at which a bucket closes is not part of it.
    assert len(checksums) == 3
    assert {counters.count for counters in checksums} == {1}


def test_the_checksum_covers_reasons_and_offsets() -> None:
    by_step, later, by_record = Drawn(), Drawn(), Drawn()
    for drawn in (by_step, later, by_record):
        drawn.see("a", 3)
    by_step.windows.step(60, 1)
    later.windows.step(60, 2)
    by_record.see("b", 60)
    checksums = {drawn.windows.published_checksum() for drawn in (by_step, later, by_record)}
    assert len(checksums) == 3
