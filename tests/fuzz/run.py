"""Millions of mutated records through the whole intake: no crash, no hang, no reject without a reason."""

import faulthandler
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from consumer.runtime.joined import joined
from tests.fuzz.feeds import Feed, make_feed
from tests.fuzz.judging import Wrong, judge_batch
from tests.fuzz.mutations import mutated
from tests.intake.payloads import framed_key

BATCH = 1_000
BATCHES_A_FEED = 20
CLOCK_MS = 50_000_000_000
"""In the middle of the random timestamps, so that some events are in the future."""

KEYS = [b"", b"key", "Schlüssel".encode(), framed_key("key"), framed_key("日本|", 7), framed_key("")]
HANG_AFTER_S = 120.0
STAMPS = (-1, CLOCK_MS, CLOCK_MS, CLOCK_MS + 45_000, 2**40, 0, 2**63 - 1, -(2**63))


class Counters(NamedTuple):
    """What a run has seen."""

    records: int
    by_reason: Counter[str]
    """The reason of accepted records is empty."""
    seconds: float


def fuzz(records: int, seed: int, one_in: int, say: Callable[[str], None], first_feed: int = 0) -> Counters:
    """Run at least this many records; the same seed gives the same records, and a feed can be repeated by its number.

    Raises:
        Wrong: the judge differs, or a record would stop the worker; says how to see it again.
    """
    began_s, done, number = time.monotonic(), 0, first_feed
    found: Counter[str] = Counter()
    while done < records:
        faulthandler.dump_traceback_later(HANG_AFTER_S, exit=True)
        try:
            found += run_feed(seed, number, one_in)
        except Exception as error:
            raise Wrong(f"--seed {seed} --first {number} --records 1: {type(error).__name__}: {error}") from error
        done += BATCH * BATCHES_A_FEED
        number += 1
        if number % 10 == 0:
            say(f"{done:,} records, {done / (time.monotonic() - began_s):,.0f} a second")
    faulthandler.cancel_dump_traceback_later()
    return Counters(done, found, time.monotonic() - began_s)


def run_feed(seed: int, number: int, one_in: int) -> Counter[str]:
    """Run all batches of one feed."""
    rng = random.Random(f"{seed}/{number}")
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as directory:
        feed = make_feed(rng, Path(directory))
    for _ in range(BATCHES_A_FEED):
        found += run_batch(feed, rng, one_in)
    return found


def run_batch(feed: Feed, rng: random.Random, one_in: int) -> Counter[str]:
    """Decode and judge one batch of mutated records."""
    values: list[bytes | None] = [mutated(record, feed.seeds, rng) for record in rng.choices(feed.seeds, k=BATCH)]
    values[rng.randrange(BATCH)] = None
    stamps = rng.choices(STAMPS, k=BATCH)
    keys = [None if rng.randrange(20) == 0 else mutated(key, KEYS, rng) for key in rng.choices(KEYS, k=BATCH)]
    decoded = feed.intake.decode(joined(values), stamps, CLOCK_MS, keys=joined(keys))
    return judge_batch(feed, values, stamps, CLOCK_MS, decoded, one_in, keys)
