"""What workers are told by files, and tell by their logs."""

from pathlib import Path

from tests.chaos.faulty_worker import shift_s
from tests.chaos.judge import Stop
from tests.chaos.workers import WorkerProcess


def test_the_clock_is_what_it_was_set_to(tmp_path: Path) -> None:
    worker = WorkerProcess("one", [], tmp_path)
    clock = tmp_path / "one.clock"
    assert shift_s(clock) == 0
    for set_to in (-3_600.0, 86_400.0, 0.0):
        worker.set_clock(set_to)
        assert shift_s(clock) == set_to


def test_stopped_partitions_are_read_from_the_log(tmp_path: Path) -> None:
    worker = WorkerProcess("one", [], tmp_path)
    assert list(worker.stops()) == []
    with worker.log.open("w") as log:
        log.write('%4|a line of the client library\n{"partition": 2, "event": "partition restored"}\n')
        log.write('{"partition": 3, "reason": "no journal", "event": "partition stopped"}\n')
    assert list(worker.stops()) == [Stop(3, "no journal")]
    assert list(worker.stops(worker.log_size)) == []
