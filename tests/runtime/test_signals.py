import math
import signal
import subprocess
import sys
import threading
import time

import pytest

from consumer.runtime.signals import StopRequest, hold_signals, stop_on_signals
from tests.observe.samples import Clock
from tests.support.waiting import until

BOTH = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("number", BOTH)
def test_a_signal_asks_to_stop(number: signal.Signals) -> None:
    with stop_on_signals() as stop:
        assert not stop.is_set()
        signal.raise_signal(number)
        assert stop.is_set()


def test_handlers_are_restored_at_the_end() -> None:
    handlers = [signal.getsignal(number) for number in BOTH]
    with stop_on_signals():
        assert signal.getsignal(signal.SIGTERM) != handlers[1]
    assert [signal.getsignal(number) for number in BOTH] == handlers


def test_signals_that_came_before_they_were_handled_are_handled_then() -> None:
    hold_signals()
    signal.raise_signal(signal.SIGTERM)
    with stop_on_signals() as stop:
        until(stop.is_set, "the signal that waited is there", 5)


@pytest.mark.parametrize("init_process", [False, True])
@pytest.mark.parametrize("number", BOTH)
def test_a_second_signal_ends_at_once(number: signal.Signals, *, init_process: bool) -> None:
    """Also as the first process of a container, for which the kernel ignores what has no handler."""
    code = (
        "import os, signal; from consumer.runtime import signals\n"
        f"if {init_process}: signals._INIT_PROCESS = os.getpid()\n"
        "with signals.stop_on_signals() as stop:\n"
        f"    signal.raise_signal({int(number)}); print(stop.is_set(), flush=True)\n"
        f"    signal.raise_signal({int(number)}); print('still there', flush=True)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert ran.stdout == b"True\n"
    assert ran.returncode == (128 + number if init_process else -number)


def test_a_request_has_so_much_time_from_the_first_on() -> None:
    clock = Clock(100.0)
    stop = StopRequest(20.0, clock)
    assert stop.left_s() == math.inf
    stop.set()
    clock.now_s += 15.0
    stop.set()
    assert stop.left_s() == 5.0
    clock.now_s += 15.0
    assert stop.left_s() == 0.0


def test_a_wait_ends_with_a_request_from_a_handler_or_a_thread() -> None:
    stop = StopRequest()
    assert not stop.wait(0.0)
    threading.Timer(0.1, stop.set).start()
    began_s = time.monotonic()
    assert stop.wait(30.0)
    assert time.monotonic() - began_s < 10


@pytest.mark.parametrize("init_process", [False, True])
def test_released_signals_end_a_process_that_was_started_with_them_blocked(*, init_process: bool) -> None:
    """As in the image, where a command may be the first process."""
    code = (
        "import os, signal, time; from consumer.runtime import signals\n"
        f"if {init_process}: signals._INIT_PROCESS = os.getpid()\n"
        "signal.raise_signal(signal.SIGTERM); print('waits', flush=True)\n"
        "signals.release_signals(); print('still there', flush=True)\n"
    )
    command = ["env", "--block-signal=TERM,INT", sys.executable, "-c", code]
    ran = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert ran.stdout == b"waits\n"
    assert ran.returncode == (128 + signal.SIGTERM if init_process else -signal.SIGTERM)


def test_a_command_that_is_no_worker_ends_by_a_signal_in_the_image_too() -> None:
    """Its entry point blocks signals; the command lets them through."""
    command = [sys.executable, "-m", "consumer", "simulate", "--to", "-", "--speed", "1"]
    with subprocess.Popen(
        ["env", "--block-signal=TERM,INT", *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        process.stdout.read()
        assert process.wait(60) == 130
