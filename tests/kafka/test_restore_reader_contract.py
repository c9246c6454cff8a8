"""The contract of restore readers, on real Kafka and on the fake that other tests use."""

from consumer.kafka.protocols import Bounds, LookUp, RestoreReader
from tests.kafka.stage import Stage
from tests.support.waiting import until


def known(look_up: LookUp, partition: int) -> Bounds:
    until(lambda: look_up.bounds(partition) is not None, "the bounds are known")
    bounds = look_up.bounds(partition)
    assert bounds is not None
    return bounds


def read(reader: RestoreReader, topic: str, partition: int, end: int) -> list[tuple[int, bytes | None]]:
    """Return the values up to an offset, by offset."""
    records: list[tuple[int, bytes | None]] = []

    def enough() -> bool:
        for message in reader.poll(100, 0.02):
            assert (message.topic(), message.partition()) == (topic, partition)
            records.append((message.offset() or 0, message.value()))
        return reader.reached(topic, partition) >= end

    until(enough, f"all records below offset {end} are read")
    return records


def test_bounds_of_an_untouched_partition_are_empty(stage: Stage) -> None:
    assert known(stage.restore_reader().look_up([0, 1]), 1) == Bounds(None, 0, 0, 0)


def test_bounds_are_those_of_group_state_and_input(stage: Stage) -> None:
    stage.write(0, b"a", b"b", b"c")
    owner = stage.owner()
    owner.produce(stage.state, b"key", b"value", None, 0)
    owner.commit({(stage.topic, 0): 2}, stage.metadata())
    look_up = stage.restore_reader().look_up([0, 1])
    assert known(look_up, 0)._replace(state_end=0) == Bounds(2, 0, 0, 3)
    assert known(look_up, 0).state_end >= 1, "a marker may occupy an offset"
    assert known(look_up, 1) == Bounds(None, 0, 0, 0)


def test_state_is_read_as_committed_up_to_its_end(stage: Stage) -> None:
    owner = stage.owner()
    owner.produce_all(stage.state, [(b"k", b"1"), (b"l", b"2"), (b"k", None)], 1)
    owner.commit({(stage.topic, 1): 0}, stage.metadata())
    owner.produce(stage.state, b"k", b"aborted", None, 1)
    owner.abort()
    reader = stage.restore_reader()
    end = known(reader.look_up([1]), 1).state_end
    reader.read(stage.state, 1, 0)
    assert [value for _, value in read(reader, stage.state, 1, end)] == [b"1", b"2", None]


def test_input_can_be_read_repeatedly_from_any_offset(stage: Stage) -> None:
    stage.write(0, b"a", b"b", b"c")
    reader = stage.restore_reader()
    reader.read(stage.topic, 0, 1)
    assert read(reader, stage.topic, 0, 3) == [(1, b"b"), (2, b"c")]
    reader.stop(stage.topic, 0)
    stage.write(0, b"d")
    assert reader.poll(10, 0.2) == [], "reading was stopped"
    reader.read(stage.topic, 0, 2)
    assert read(reader, stage.topic, 0, 4) == [(2, b"c"), (3, b"d")]


def test_stopping_a_partition_that_is_not_read_does_nothing(stage: Stage) -> None:
    stage.restore_reader().stop(stage.topic, 0)
