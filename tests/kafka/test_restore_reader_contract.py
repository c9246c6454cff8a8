"""What only restore readers do, on real Kafka and on the fake; reading is in `test_partition_reader_contract.py`."""

from consumer.kafka.protocols import Bounds, LookUp, RestoreReader
from tests.kafka.stage import Stage
from tests.support.waiting import until


def known(look_up: LookUp, partition: int) -> Bounds:
    until(lambda: look_up.bounds(partition) is not None, "the bounds are known")
    bounds = look_up.bounds(partition)
    assert bounds is not None
    return bounds


def read(reader: RestoreReader, place: tuple[str, int], end: int) -> list[bytes | None]:
    """Return the values up to an end."""
    values: list[bytes | None] = []

    def enough() -> bool:
        batch = reader.poll(100, 0.02)
        assert {(run.topic, run.partition) for run in batch.runs} <= {place}
        values.extend(each.value for each in batch.records(0, len(batch)))
        return reader.last_seen_end(place) >= end

    until(enough, f"all records below offset {end} are read")
    return values


def polled(reader: RestoreReader) -> list[bytes | None]:
    batch = reader.poll(100, 0.02)
    return [each.value for each in batch.records(0, len(batch))]


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
    stage.wait_until_written(stage.state, b"aborted")  # else the coordinator may have no transaction to abort yet
    owner.abort()
    reader = stage.restore_reader()
    end = known(reader.look_up([1]), 1).state_end
    reader.begin((stage.state, 1), 0)
    assert read(reader, (stage.state, 1), end) == [b"1", b"2", None]


def test_offset_0_is_the_beginning_of_a_log_whose_oldest_records_were_deleted(stage: Stage) -> None:
    stage.write(0, b"a", b"b", b"c")
    stage.delete_before(0, 2)
    reader = stage.restore_reader()
    reader.begin((stage.topic, 0), 0)
    assert read(reader, (stage.topic, 0), 3) == [b"c"]
    assert reader.pop_failures() == {}


def test_state_and_input_of_a_partition_are_read_side_by_side(stage: Stage) -> None:
    stage.write(0, b"a")
    owner = stage.owner()
    owner.produce(stage.state, b"k", b"1", None, 0)
    owner.commit({(stage.topic, 0): 0}, stage.metadata())
    reader = stage.restore_reader()
    reader.begin((stage.topic, 0), 0)
    reader.begin((stage.state, 0), 0)
    values: list[bytes | None] = []

    def both() -> bool:
        values.extend(polled(reader))
        return len(values) == 2

    until(both, "both are read")
    assert set(values) == {b"a", b"1"}
    reader.pause([(stage.state, 0)])
    stage.write(0, b"b")
    until(lambda: polled(reader) == [b"b"], "the input is still read")


def test_a_place_that_has_failed_can_be_begun_again_and_its_failure_is_forgotten(stage: Stage) -> None:
    stage.write(0, b"a", b"b", b"c")
    stage.delete_before(0, 2)
    reader, place = stage.restore_reader(), (stage.topic, 0)
    reader.begin(place, 1)
    until(lambda: (reader.poll(10, 0.05), bool(reader.pop_failures()))[1], "the failure is told")
    reader.begin(place, 1)
    for _ in range(10):
        assert not len(reader.poll(10, 0.05))
    reader.begin(place, 2)
    assert reader.pop_failures() == {}, "it was of an earlier beginning"
    assert read(reader, place, 3) == [b"c"]
