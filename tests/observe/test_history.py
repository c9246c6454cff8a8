import threading

import numpy as np
import pytest

from consumer.observe.history import BucketHistory
from consumer.windows.layout import CLOSED
from tests.observe.samples import closed_rows


def starts(history: BucketHistory, stream: str, *partitions: int, most: int = 100) -> list[int]:
    (rows,) = history.buckets_of([stream.encode()], partitions, most)
    return [int(start) for start in rows["bucket"]["start_ms"]]


def filled(size: int = 8) -> BucketHistory:
    history = BucketHistory(CLOSED, size)
    history.begin(0, 1_000)
    history.begin(1, 2_000)
    return history


def test_buckets_of_a_stream_come_by_start_whatever_closed_between() -> None:
    history = filled()
    history.add(0, [b"a", b"b", b"a"], closed_rows(0, 0, 10))
    history.add(0, [b"b", b"a"], closed_rows(10, 20))
    assert starts(history, "a", 0) == [0, 10, 20]
    assert starts(history, "b", 0) == [0, 10]
    assert starts(history, "c", 0) == []
    assert starts(history, "a", 0, most=2) == [10, 20]
    assert len(history) == 5


def test_several_streams_are_answered_in_the_order_of_the_question() -> None:
    history = filled()
    history.add(0, [b"a", b"b", b"c"], closed_rows(0, 10, 20))
    found = history.buckets_of([b"c", b"none", b"a"], [0], 10)
    assert [rows["bucket"]["start_ms"].tolist() for rows in found] == [[20], [], [0]]
    assert history.buckets_of([], [0], 10) == []


def test_the_ring_keeps_the_newest_at_every_place_of_its_end() -> None:
    for step in (1, 2, 3, 5, 7, 8, 9, 20):
        history = filled(8)
        for begin in range(0, 60, step):
            times = range(begin, begin + step)
            history.add(0, [b"a"] * step, closed_rows(*times))
            last = begin + step
            assert starts(history, "a", 0) == list(range(max(0, last - 8), last))
        assert len(history) == 8


def test_only_partitions_asked_for_are_shown() -> None:
    history = filled()
    history.add(0, [b"a"], closed_rows(0))
    history.add(1, [b"a"], closed_rows(10))
    assert starts(history, "a", 0) == [0]
    assert starts(history, "a", 1) == [10]
    assert starts(history, "a", 0, 1) == [0, 10]
    assert starts(history, "a") == []


def test_a_partition_that_comes_back_begins_empty() -> None:
    history = filled()
    history.add(0, [b"a"], closed_rows(0))
    history.add(1, [b"b"], closed_rows(0))
    history.begin(0, 5_000)
    assert starts(history, "a", 0, 1) == []
    assert starts(history, "b", 0, 1) == [0]
    history.add(0, [b"a"], closed_rows(30))
    assert starts(history, "a", 0, 1) == [30]
    assert [history.since_ms(partition) for partition in (0, 1, 2)] == [5_000, 2_000, None]


def test_what_is_not_a_partition_of_this_worker_is_not_shown() -> None:
    history = BucketHistory(CLOSED, 8)
    history.add(3, [b"a"], closed_rows(0))
    assert starts(history, "a", 3) == []


def test_streams_whose_keys_share_sixteen_bits_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    history = filled()
    history.add(0, [b"a", b"b"], closed_rows(0, 10))
    history._keys[:2] = [5, 5 | 1 << 40]
    monkeypatch.setattr("consumer.observe.history.hash", {b"a": 5, b"b": 5 | 1 << 40}.__getitem__, raising=False)
    assert starts(history, "a", 0) == [0]
    assert starts(history, "b", 0) == [10]


def test_a_reader_never_sees_what_is_being_written() -> None:
    """The loop adds all the time; each row has one number in several fields, and rows of a stream are consecutive."""
    history, stop = filled(64), threading.Event()

    def add_on() -> None:
        start = 0
        while not stop.is_set():
            rows = closed_rows(*range(start, start + 7))
            rows["bucket"]["peak"] = rows["offset"] = rows["bucket"]["start_ms"]
            history.add(0, [b"a"] * 7, rows)
            start += 7

    writer = threading.Thread(target=add_on)
    writer.start()
    try:
        for _ in range(300):
            (rows,) = history.buckets_of([b"a"], [0], 1_000)
            times = rows["bucket"]["start_ms"]
            assert (np.diff(times) == 1).all()
            assert (rows["bucket"]["peak"] == times).all()
            assert (rows["offset"] == times).all()
    finally:
        stop.set()
        writer.join()
