"""CPU that the page of a worker with 2,000 streams takes while somebody looks at it: the server's threads, alone."""

import logging
import subprocess
import sys
import time
from argparse import Namespace

import structlog

from tests.bench.report import Goal, report_value
from tests.page.stage import Stage

STREAMS = 2_000
SECONDS = 20
ROWS = (20, 60)
"""A usual screen, and a tall one."""

# What the page does, in a process of its own.
_POLLS = """
import sys, time, urllib.request
base, rows, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3])
for second in range(seconds):
    began = time.monotonic()
    paths = [f"streams?search=&sort=-concurrent_viewers&offset=0&limit={rows}&history=30"]
    for path in paths + ["worker"] * (second % 2):
        request = urllib.request.Request(f"{base}/api/v1/{path}", headers={"Accept-Encoding": "gzip"})
        urllib.request.urlopen(request, timeout=30).read()
    time.sleep(max(0.0, began + 1 - time.monotonic()))
"""


def measure_page(_bootstrap_servers: str, _options: Namespace) -> None:
    """A full history, one page that updates each second."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    stage = Stage([f"channel-{number:04d}" for number in range(STREAMS)])
    try:
        stage.close_buckets(66)
        for rows in ROWS:
            began_s = time.process_time()
            subprocess.run(
                [sys.executable, "-c", _POLLS, stage.server.address, str(rows), str(SECONDS)], check=True, timeout=300
            )
            percent = (time.process_time() - began_s) / SECONDS * 100
            report_value(f"page of {STREAMS:,} streams, {rows} rows, each second", [percent], "% CPU", Goal("<", 2))
    finally:
        stage.close()
