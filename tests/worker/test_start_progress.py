"""A start that takes long says what it does: to probes at once, in the log every ten seconds."""

from structlog.testing import capture_logs

from consumer.observe.snapshot import SnapshotBoard
from consumer.runtime.jit import Progress
from consumer.worker.kernel_compiler import KernelCompiler
from consumer.worker.start_progress import LINE_EVERY_S, LOADING, StartProgress
from tests.worker.rig import FakeClock


class Compiling(KernelCompiler):
    """Compiles a kernel a second."""

    def __init__(self, clock: FakeClock, missing: int) -> None:
        super().__init__()
        self._clock = clock
        self._missing = missing

    def progress(self) -> Progress:
        return Progress(round(self._clock.now_s - 1_000), 32)


def test_a_start_of_seconds_has_no_line_and_a_longer_one_has_a_few() -> None:
    clock = FakeClock()
    board = SnapshotBoard(clock.now_s)
    shown = StartProgress(board, clock.time, Compiling(clock, missing=32))
    with capture_logs() as lines:
        shown.show()
        assert board.startup == "reading schemas"
        shown.doing = LOADING
        for _ in range(100):  # ten times a second
            clock.now_s += (LINE_EVERY_S - 1) / 100
            shown.show()
        assert lines == []
        assert (board.startup, board.last_tick_s) == ("compiling 9 of 32, once for this machine", clock.now_s)
        for _ in range(160):
            clock.now_s += 0.1
            shown.show()
    assert [(line["event"], line["log_level"], line["doing"]) for line in lines] == [
        ("starting", "info", "compiling 10 of 32, once for this machine"),
        ("starting", "info", "compiling 20 of 32, once for this machine"),
    ]


def test_a_start_that_finds_all_kernels_in_the_cache_does_not_say_that_it_compiles() -> None:
    clock = FakeClock()
    board = SnapshotBoard(clock.now_s)
    shown = StartProgress(board, clock.time, Compiling(clock, missing=0))
    shown.doing = LOADING
    shown.show()
    assert board.startup == LOADING
