"""The columns of messages equal what the messages return one by one."""

from itertools import groupby

import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from consumer.kafka.batch import UNREADABLE_HEADERS, batch_of, headers_of, headers_of_all, runs_by_place
from consumer.kafka.embedded import EmbeddedBroker
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
    assert batch.values == [message.value() for message in messages]
    assert batch.offsets.tolist() == [message.offset() for message in messages]
    assert batch.timestamps_ms.tolist() == [message.timestamp()[1] for message in messages]
    assert batch.headers() == [[("h", b"x")]] * len(messages)
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
def test_runs_by_partition_are_split_where_the_partition_changes(messages: list[Message], data: st.DataObject) -> None:
    """Two topics alternate, run by run, so that the same partition comes back."""
    topics = data.draw(st.lists(st.sampled_from("tu"), min_size=len(messages), max_size=len(messages)))
    moved = [
        Message(topic, message.partition(), message.offset(), None, b"", None, None, (0, -1))
        for topic, message in zip(topics, messages, strict=True)
    ]
    runs = [(topic, partition, list(run)) for topic, partition, run in runs_by_place(moved)]
    by_place = groupby(moved, lambda message: (message.topic(), message.partition()))
    assert runs == [(*place, list(run)) for place, run in by_place]
