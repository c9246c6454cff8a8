"""Named points of a worker's work at which it kills or stops itself.

A point is a function of the real code, wrapped in the worker's own process: production code knows nothing of it. To
add one, add a line to `POINTS`.
"""

import functools
import importlib
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

SEND_TIMEOUT_S = 0.05
"""What was produced is on the brokers after so long: it lingers 5 ms."""

IN_THE_MIDST_S = 0.002
"""About half the time that a commit takes."""


class Point(NamedTuple):
    """A place in the code."""

    owner: str
    """The module, or `module:Class`."""
    function: str
    when: Literal["before", "during", "after"] = "after"
    linger_s: float = 0.0
    """So long the worker waits before it dies, so that what is on its way arrives."""
    often: bool = True
    """Passed many times a second while events come; else once in a rebalance."""
    with_result: bool = False
    """Only where the function returned something."""


_TRANSACTION = "consumer.kafka.transaction"
_WORKER = "consumer.worker.loop:Worker"

POINTS: dict[str, Point] = {
    "after_poll": Point("consumer.kafka.live_input:LiveInput", "poll", with_result=True),
    "after_windows": Point("consumer.worker.processing:RecordProcessor", "_process_run"),
    "after_produce": Point(f"{_TRANSACTION}:TransactionOwner", "produce_columns", linger_s=SEND_TIMEOUT_S),
    "before_commit": Point(f"{_TRANSACTION}:TransactionOwner", "commit", "before"),
    "after_send_offsets": Point(f"{_TRANSACTION}:TransactionOwner", "_send_offsets", linger_s=SEND_TIMEOUT_S),
    "in_commit": Point(f"{_TRANSACTION}:TransactionOwner", "commit", "during"),
    "after_commit": Point(f"{_TRANSACTION}:TransactionOwner", "commit"),
    "in_checkpoint": Point("consumer.worker.checkpointing:StateWriter", "_write_checkpoint", linger_s=SEND_TIMEOUT_S),
    "in_on_assigned": Point(_WORKER, "on_assigned", "before", often=False),
    "in_restore": Point("consumer.state.restore:Restore", "_receive_state", often=False),
    "in_replay": Point("consumer.state.replay:Replay", "receive", often=False),
    "after_restore": Point("consumer.worker.restoring:PartitionRestorer", "_live", often=False),
    "after_on_assigned": Point(_WORKER, "on_assigned", often=False),
    "in_on_revoke": Point(_WORKER, "on_revoked", "before", often=False),
    "after_on_revoke": Point(_WORKER, "on_revoked", often=False),
}


class Order(NamedTuple):
    """What a worker is to do to itself: `NAME:3` kills it at the third pass, `NAME:3:stop` stops it."""

    name: str
    passes: int
    stop: bool = False

    def __str__(self) -> str:
        return f"{self.name}:{self.passes}" + (":stop" if self.stop else "")


def order(text: str) -> Order:
    """Read one.

    Raises:
        ValueError: there is no such point, or it isn't written so.
    """
    name, passes, *how = text.split(":")
    if name not in POINTS or how not in ([], ["stop"]):
        raise ValueError(f"must be NAME:PASSES or NAME:PASSES:stop, NAME one of {', '.join(POINTS)}; not {text}")
    return Order(name, int(passes), stop=bool(how))


def arm(wanted: Order) -> None:
    """Wrap the point's function, so that this process does to itself what it is told when it gets there."""
    point = POINTS[wanted.name]
    module, _, class_name = point.owner.partition(":")
    owner = importlib.import_module(module)
    if class_name:
        owner = getattr(owner, class_name)
    setattr(owner, point.function, _wrapped(getattr(owner, point.function), point, _Countdown(wanted, point)))


class _Countdown:
    def __init__(self, wanted: Order, point: Point) -> None:
        self._left = wanted.passes
        self._signal = signal.SIGSTOP if wanted.stop else signal.SIGKILL
        self._point = point

    def pass_by(self) -> None:
        self._left -= 1
        if self._left:
            return
        if self._point.when == "during":
            threading.Thread(target=self._act, args=(IN_THE_MIDST_S,), daemon=True).start()
        else:
            self._act(self._point.linger_s)

    def _act(self, after_s: float) -> None:
        time.sleep(after_s)
        os.kill(os.getpid(), self._signal)


def _wrapped(function: Callable[..., Any], point: Point, countdown: _Countdown) -> Callable[..., Any]:
    @functools.wraps(function)
    def stand_in(*args: Any, **kwargs: Any) -> Any:
        if point.when != "after":
            countdown.pass_by()
        result = function(*args, **kwargs)
        if point.when == "after" and (not point.with_result or result):
            countdown.pass_by()
        return result

    return stand_in
