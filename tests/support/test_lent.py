"""A batch of a fake is gone at the next poll, as one of the real reader."""

import pytest
from confluent_kafka import Message

from tests.support.lent import BatchLender


def test_what_is_kept_of_a_batch_is_spoiled() -> None:
    lender = BatchLender()
    batch = lender.lend([Message(topic="t", partition=0, offset=5, key=b"k", value=b"v", timestamp=(1, 9))])
    part = batch.part(batch.runs[0])
    assert (batch.offsets[0], part.values.some([0]), part.originals.keys([0]).all()) == (5, [b"v"], [b"k"])
    lender.take_back()
    assert batch.offsets[0] != 5
    assert part.values.text.tobytes() != b"v"
    with pytest.raises(AssertionError, match="before the next poll"):
        part.originals.keys([0])
    lender.take_back()
