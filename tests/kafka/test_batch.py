"""Columns of messages against what the messages say one by one."""

from itertools import groupby

from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from consumer.kafka.batch import batch_of


@st.composite
def batches(draw: st.DrawFn) -> list[Message]:
    """As the client library returns them: stretches of one partition, offsets growing with a gap now and then."""
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
def test_the_columns_are_what_the_messages_say(messages: list[Message]) -> None:
    batch = batch_of(messages)
    assert batch.values == [message.value() for message in messages]
    assert batch.offsets.tolist() == [message.offset() for message in messages]
    assert batch.timestamps_ms.tolist() == [message.timestamp()[1] for message in messages]
    assert batch.headers() == [[("h", b"x")]] * len(messages)
    cut = [(partition, len(list(some))) for partition, some in groupby(messages, Message.partition)]
    assert [(run.partition, run.end - run.begin) for run in batch.runs] == cut
    assert [run.begin for run in batch.runs] == [0, *[run.end for run in batch.runs[:-1]]][: len(cut)]
