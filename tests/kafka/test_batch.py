"""The columns of messages equal what the messages return one by one."""

from itertools import groupby

import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from consumer.kafka.batch import Batch, batch_of_records
from consumer.kafka.embedded import EmbeddedBroker
from consumer.kafka.messages import batch_of, headers_of, headers_of_all
from consumer.kafka.record import UNREADABLE_HEADERS, Record
from tests.support.raw_records import write_with_header
from tests.support.topics import unique


@st.composite
def batches(draw: st.DrawFn) -> list[Message]:
    """Batches as the client library returns them: runs of one partition, with growing offsets and some gaps."""
    next_offset = dict.fromkeys(range(3), 0)
    messages = []
    for partition, gaps in draw(
        st.lists(st.tuples(st.integers(0, 2), st.lists(st.sampled_from([0, 0, 0, 1, 5]), min_size=1)))
    ):
        for gap in gaps:
            offset = next_offset[partition] + gap
            next_offset[partition] = offset + 1
            value = draw(st.one_of(st.none(), st.binary(max_size=3)))
            stamp = (1, draw(st.integers(0, 2**41))) if draw(st.booleans()) else (0, -1)
            messages.append(Message("t", partition, offset, None, value, [("h", b"x")], None, stamp))
    return messages


@given(batches())
def test_the_columns_equal_the_messages(messages: list[Message]) -> None:
    batch = batch_of(messages)
    check_columns(batch, messages)
    records = batch.records(0, len(batch))
    assert records == [
        Record(each.partition() or 0, each.offset() or 0, each.timestamp()[1], each.key(), each.value(), [("h", b"x")])
        for each in messages
    ]
    check_columns(batch_of_records(records), messages)


def check_columns(batch: Batch, messages: list[Message]) -> None:
    assert len(batch) == len(messages)
    assert batch.values.some(range(len(batch))) == [message.value() for message in messages]
    assert batch.offsets.tolist() == [message.offset() for message in messages]
    assert batch.timestamps_ms.tolist() == [message.timestamp()[1] for message in messages]
    assert batch.header("h").some(range(len(batch))) == [b"x"] * len(messages)
    assert batch.header("other").some(range(len(batch))) == [None] * len(messages)
    cut = [(partition, len(list(some))) for partition, some in groupby(messages, Message.partition)]
    assert [(run.partition, run.end - run.begin) for run in batch.runs] == cut
    assert [run.begin for run in batch.runs] == [0, *[run.end for run in batch.runs[:-1]]][: len(cut)]


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        (b"name", [("name", b"x")]),
        (b"", [("", b"x")]),
        (b"na\xffme", [(UNREADABLE_HEADERS, None)]),
        (b"\xed\xa0\x80", [(UNREADABLE_HEADERS, None)]),
    ],
)
def test_header_names_that_are_not_utf_8_do_no_harm(name: bytes, headers: list[tuple[str, bytes | None]]) -> None:
    with EmbeddedBroker(["t"]) as broker:
        # So many that the interpreter has specialized the calls.
        write_with_header(broker.bootstrap_servers, "t", b"v", name, b"x", times=100)
        consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": unique("group")})
        try:
            consumer.assign([TopicPartition("t", 0, 0)])
            messages: list[Message] = []
            while len(messages) < 100:
                messages += consumer.consume(100, 10.0)
            for _ in range(2):  # a second call gets the same
                assert headers_of_all(messages[:50]) == [headers] * 50
                assert [headers_of(message) for message in messages] == [headers] * 100
        finally:
            consumer.close()


def test_readable_headers_are_kept_beside_unreadable_ones() -> None:
    names = [b"a", b"\xff", b"\xff", b"b", b"\xff"]
    with EmbeddedBroker(["t"]) as broker:
        for name in names:
            write_with_header(broker.bootstrap_servers, "t", b"v", name, b"x")
        consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": unique("group")})
        try:
            consumer.assign([TopicPartition("t", 0, 0)])
            messages: list[Message] = []
            while len(messages) < len(names):
                messages += consumer.consume(len(names), 10.0)
        finally:
            consumer.close()
    unreadable = [(UNREADABLE_HEADERS, None)]
    assert headers_of_all(messages) == [[("a", b"x")], unreadable, unreadable, [("b", b"x")], unreadable]


@given(batches(), st.data())
def test_runs_are_split_where_topic_or_partition_changes_and_each_is_a_batch(
    messages: list[Message], data: st.DataObject
) -> None:
    """Two topics alternate, run by run, so that the same partition comes back."""
    topics = data.draw(st.lists(st.sampled_from("tu"), min_size=len(messages), max_size=len(messages)))
    moved = [
        Message(
            topic, message.partition(), message.offset(), b"k%d" % i, message.value(), [("h", b"%d" % i)], None, (0, -1)
        )
        for i, (topic, message) in enumerate(zip(topics, messages, strict=True))
    ]
    batch = batch_of(moved)
    by_place = [(place, list(run)) for place, run in groupby(moved, lambda each: (each.topic(), each.partition()))]
    assert [(run.topic, run.partition) for run in batch.runs] == [place for place, _ in by_place]
    for run, (_, originals) in zip(batch.runs, by_place, strict=True):
        part = batch.part(run)
        assert part.records(0, len(part)) == batch.records(run.begin, run.end)
        assert part.keys_and_values(part.runs[0]) == [(each.key(), each.value()) for each in originals]
        assert part.header("h").some(range(len(part))) == [each.headers()[0][1] for each in originals]  # type: ignore[index]  # they have one
        assert part.offsets.tolist() == [each.offset() for each in originals]
