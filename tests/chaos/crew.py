"""All workers together: stopped and started again, with no other fault of a worker in between."""

import contextlib
from collections.abc import Iterator, Sequence

from tests.chaos.judge import Stop
from tests.chaos.producer import Flow
from tests.chaos.waits import LIMIT_S
from tests.chaos.workers import WorkerProcess
from tests.support.waiting import until


class Crew:
    """The workers of a deployment, and the events that are written for them."""

    def __init__(self, workers: Sequence[WorkerProcess], flow: Flow) -> None:
        self._workers = workers
        self._flow = flow

    @contextlib.contextmanager
    def stopped(self, *, dirty: bool) -> Iterator[None]:
        """No worker runs inside; all run afterwards. Faults of single workers wait.

        Args:
            dirty: they are killed; else they commit and leave.
        """
        with contextlib.ExitStack() as stack:
            for worker in self._workers:
                stack.enter_context(worker.reserved)
            stack.enter_context(self._flow.paused())
            if not dirty:
                for worker in self._workers:
                    worker.ask_to_stop()
            for worker in self._workers:
                if dirty:
                    worker.kill()
                else:
                    worker.terminate()
            try:
                yield
            finally:
                for worker in self._workers:
                    worker.start()

    def place(self) -> list[int]:
        """Where their logs are now, for `wait_for_stop`."""
        return [worker.log_size for worker in self._workers]

    def wait_for_stop(self, wanted: Stop, since: Sequence[int]) -> str:
        """Wait until a worker stops a partition for such a reason; return the whole reason.

        Raises:
            AssertionError: none did in time.
        """
        found: list[str] = []

        def is_stopped() -> bool:
            for worker, begin in zip(self._workers, since, strict=True):
                found.extend(
                    reason
                    for partition, reason in worker.stops(begin)
                    if partition == wanted.partition and wanted.reason in reason
                )
            return bool(found)

        until(is_stopped, f'a worker stops partition {wanted.partition} with "{wanted.reason}"', LIMIT_S)
        return found[0]
