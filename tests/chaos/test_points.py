"""Every named point is there in the code, and a worker that is armed does to itself what it is told."""

import importlib
import inspect
import signal
import subprocess
import sys

import pytest

from tests.chaos.points import POINTS, Point, order
from tests.cli.command import environment

SCRIPT = """
import sys, tests.chaos.points as points
points.POINTS["here"] = points.Point("base64", "b64encode", sys.argv[2])
points.arm(points.order(sys.argv[1]))
import base64
for number in range(5):
    base64.b64encode(b"")
    print(number, flush=True)
"""


def function_of(point: Point) -> object:
    module, _, class_name = point.owner.partition(":")
    owner = importlib.import_module(module)
    return getattr(getattr(owner, class_name) if class_name else owner, point.function)


@pytest.mark.parametrize("name", POINTS)
def test_the_point_is_there(name: str) -> None:
    assert inspect.isfunction(function_of(POINTS[name]))


@pytest.mark.parametrize("text", ["nowhere:1", "after_poll", "after_poll:1:go", "after_poll:x"])
def test_an_order_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        order(text)


@pytest.mark.parametrize("when", ["before", "after"])
def test_at_its_last_pass_it_kills_itself(when: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "here:3", when], capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.split() == ["0", "1"]
