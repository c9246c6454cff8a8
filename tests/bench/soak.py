"""Run for a long time at an even pace, with streams that start and end: memory must not grow."""

import re
import subprocess
import time
from argparse import Namespace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tests.bench.freshness import paced
from tests.bench.pinned import ANY_CPU
from tests.bench.report import report_value, say
from tests.bench.stage import Stage, stage
from tests.support.broker import kafka_jars

STREAMS = 10_000
LIFETIME_S = 60
"""After a minute all streams have been replaced."""

EVERY_S = 10.0
MIN_SAMPLES = 6

Column = npt.NDArray[np.float64]


class Sample(NamedTuple):
    """Memory and disk usage at one time."""

    at_s: float
    resident_mib: float
    """Memory of the worker."""
    state_mib: float
    """Size of the state topic on the broker's disk."""


def measure_soak(bootstrap_servers: str, options: Namespace) -> None:
    """Sample memory and the size of the state topic."""
    with stage(bootstrap_servers, options, options.partitions) as made:
        group = made.new_group()
        with made.worker(group, 1, cpu=ANY_CPU) as process:
            process.mark("restored")
            with paced(made, options.soak_rate, options.duration_s, STREAMS, LIFETIME_S) as sender:
                began_s, samples = time.monotonic(), []
                while sender.poll() is None:
                    at_s = time.monotonic() - began_s
                    samples.append(Sample(at_s, process.resident_mib(), _disk_mib(made, f"{group}-state")))
                    time.sleep(EVERY_S)
            process.stop()
        if sender.returncode != 0:
            raise SystemExit("the sender failed")
    say(f"{options.duration_s} s, {options.soak_rate:,} events a second")
    say(f"{STREAMS:,} streams live, each for {LIFETIME_S} s")
    times_s = np.array([sample.at_s for sample in samples])
    _say_course("resident memory", times_s, np.array([sample.resident_mib for sample in samples]))
    _say_course("state topic on disk", times_s, np.array([sample.state_mib for sample in samples]))


def _say_course(name: str, at_s: Column, values_mib: Column) -> None:
    third = max(1, len(values_mib) // 3)
    report_value(f"{name}, first third", values_mib[:third].tolist(), "MiB")
    report_value(f"{name}, last third", values_mib[-third:].tolist(), "MiB")
    if len(values_mib) > MIN_SAMPLES:
        # Only the second half: memory has to grow until the first streams are forgotten, after about four minutes.
        half = len(values_mib) // 2
        slope = np.polyfit(at_s[half:], values_mib[half:], 1)[0] * 600
        report_value(f"{name}, slope of the later half in 10 minutes", [slope], "MiB")


def _disk_mib(made: Stage, topic: str) -> float:
    """Return the size of the broker's log directories, in MiB."""
    tool = ["java", "-cp", f"{kafka_jars()}/*", "org.apache.kafka.tools.LogDirsCommand", "--describe"]
    tool += ["--bootstrap-server", made.bootstrap_servers, "--topic-list", topic]
    output = subprocess.run(tool, capture_output=True, text=True, timeout=60, check=True).stdout
    return sum(int(size) for size in re.findall(r'"size":(\d+)', output)) / 2**20
