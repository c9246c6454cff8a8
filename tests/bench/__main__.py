"""`make bench`: measure the worker on a real broker; print one line per measurement with its goal."""

import argparse
import os
from argparse import Namespace
from collections.abc import Callable, Mapping

from tests.bench.audience import measure_audience
from tests.bench.compare import measure_commits, measure_throughput
from tests.bench.freshness import measure_freshness
from tests.bench.gaps import measure_gaps
from tests.bench.leaks import measure_leaks
from tests.bench.load import load_ending_now
from tests.bench.page import measure_page
from tests.bench.phases import measure_phases, state_bytes_per_stream
from tests.bench.poison import measure_rejects
from tests.bench.report import Goal, report_value
from tests.bench.restore import measure_replays, measure_restores
from tests.bench.soak import measure_soak
from tests.support.broker import real_broker

PART = 4


def measure_alone(_bootstrap_servers: str, options: Namespace) -> None:
    """Measure decoding and windows in this process."""
    load = load_ending_now(options.events, options.streams, options.duration_s * 1000)
    # A part of the load that is as dense as the whole.
    part = load._replace(events=load.events // PART, duration_ms=load.duration_ms // PART)
    for batch in (1_000, 10_000):
        goal = Goal(">=", 20) if batch > 1_000 and options.counting == "events" else None
        costs = measure_phases(part, batch, options.counting)
        report_value(f"decoding alone, {batch:,} a batch: M events per second", [1e3 / costs.decode_ns])
        report_value(f"windows alone, {batch:,} a batch: M events per second", [1e3 / costs.windows_ns], "", goal)
    state_bytes = state_bytes_per_stream(load._replace(events=20 * load.streams), options.counting)
    report_value("state with default windows: bytes per stream", [state_bytes])


PARTS: Mapping[str, Callable[[str, Namespace], None]] = {
    "alone": measure_alone,
    "throughput": measure_throughput,
    "audience": measure_audience,
    "commits": measure_commits,
    "rejects": measure_rejects,
    "restore": measure_restores,
    "replay": measure_replays,
    "gaps": measure_gaps,
    "freshness": measure_freshness,
    "page": measure_page,
    "leaks": measure_leaks,
    "soak": measure_soak,
}
NOT_BY_DEFAULT = {"leaks", "soak"}


def main() -> None:
    """Run the chosen measurements and print their results."""
    options = _options()
    with real_broker() as bootstrap_servers:
        for name in options.only or [name for name in PARTS if name not in NOT_BY_DEFAULT]:
            PARTS[name](bootstrap_servers, options)


def _options() -> Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, help="default: all but leaks and soak")
    parser.add_argument("--counting", choices=("events", "sessions"), default="sessions")
    parser.add_argument("--events", type=int, default=4_000_000)
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument(
        "--wandering", action="store_true", help="throughput, commits: each event is of a random viewer and stream"
    )
    parser.add_argument(
        "--duration-s", type=int, default=120, help="length of the load in event time; of the soak in wall time"
    )
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--restore-streams", type=int, default=1_000_000, help="largest number of streams to restore")
    parser.add_argument("--rate", type=int, default=150_000, help="events per second of the freshness part")
    parser.add_argument("--soak-rate", type=int, default=20_000, help="events per second of the soak")
    parser.add_argument(
        "--cpu", type=int, default=max(os.sched_getaffinity(0)), help="CPU core of the measured process"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
