"""How long the loop does not poll while it has much to do at once."""

import time
from argparse import Namespace

from tests.bench.load import Load, load_ending_now
from tests.bench.measured import scraped
from tests.bench.report import Goal, report_value
from tests.bench.stage import Stage, stage
from tests.support.waiting import until

STREAMS = 100_000
NEARLY_ALL = 99_900
"""A few streams are never drawn."""

BUCKET_MS = 10_000
MARGIN_MS = 3_000
SPAN_MS = 5_000
"""In spite of the disorder all events are in one bucket."""

JUMP_MS = 82_000
"""After the first events: the idle watermark is then 25 s after the begin of the bucket, past its end and grace."""

GOAL = Goal("<", 1.0)
WITHIN_S = 60.0
NO_CHECKPOINT = "commit.checkpoint_interval_ms=86400000"


def measure_gaps(bootstrap_servers: str, options: Namespace) -> None:
    """Measure 100,000 buckets that close at once, and a checkpoint of 100,000 rows."""
    for name, measure in (("100,000 buckets close at once", _closing), ("a checkpoint of 100,000 rows", _checkpoint)):
        gaps = []
        for _ in range(options.rounds):
            with stage(bootstrap_servers, options, 1) as made:
                gaps.append(measure(made))
        report_value(f"largest gap between polls, {name}", gaps, "s", GOAL)


def _closing(made: Stage) -> float:
    """One event takes the idle watermark past the only bucket, but past none that viewers are carried into."""
    load = _fill(made)
    made.fill(Load(1, 1, 1, load.start_ms + JUMP_MS))
    group = made.new_group()
    with made.worker(group, load.events, [NO_CHECKPOINT]) as process:
        address = process.mark("made").address
        until(lambda: _counted(address, "summaries_total") >= NEARLY_ALL, "all are closed", WITHIN_S)
        gap_s = _counted(address, "largest_poll_gap_seconds")
        process.stop()
    return gap_s


def _checkpoint(made: Stage) -> float:
    load = _fill(made)
    group = made.new_group()
    with made.worker(group, load.events, ["commit.checkpoint_interval_ms=3000"]) as process:
        address = process.mark("made").address
        process.mark("counted")
        until(lambda: _counted(address, "checkpoint_rows_total") >= NEARLY_ALL, "all rows are written", WITHIN_S)
        gap_s = _counted(address, "largest_poll_gap_seconds")
        process.stop()
    return gap_s


def _counted(address: str, name: str) -> float:
    return scraped(address)[f"viewer_consumer_{name}"]


def _fill(made: Stage) -> Load:
    """Write events of every stream, all in one bucket, so early that a later event is not in the future."""
    load = load_ending_now(10 * STREAMS, STREAMS, SPAN_MS)
    bucket_ms = int(time.time() * 1000) // BUCKET_MS * BUCKET_MS - 3_600_000
    load = load._replace(start_ms=bucket_ms + MARGIN_MS)
    made.fill(load)
    return load
