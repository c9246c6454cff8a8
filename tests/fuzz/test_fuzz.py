"""A short run of the fuzzer, a proof that it finds errors, and the stored corpora."""

import random
from pathlib import Path

import numpy as np
import pytest

from consumer.intake.rejects import Reject
from consumer.runtime.joined import joined
from consumer.windows.events import BITRATE, BUFFER
from tests.fuzz.feeds import make_feed
from tests.fuzz.judging import Wrong, judge_batch
from tests.fuzz.run import CLOCK_MS, fuzz
from tests.fuzz.targets import CORPUS, TARGETS

BYTES_ALONE_REACH = set(Reject) - {Reject.SCHEMA_REFUSED, Reject.STREAM_LIMIT, Reject.MALFORMED}
"""The other reasons need a registry, full windows, or a file of lines."""


def test_a_short_run_reaches_nearly_every_reason() -> None:
    counters = fuzz(200_000, seed=7, one_in=8, say=lambda _: None)
    seen = {reason for reason, count in counters.by_reason.items() if count}
    assert seen >= {"", *(reason.label for reason in BYTES_ALONE_REACH)}
    assert sum(counters.by_reason.values()) == counters.records == 200_000


@pytest.mark.parametrize(
    "column",
    ["timestamp_ms", "facts", "bitrate_bps", "duration_ms", "stream_size", "viewer_start", "clamped_ms", "reject"],
)
def test_a_wrong_column_is_found(tmp_path: Path, column: str) -> None:
    feed = make_feed(random.Random(2), tmp_path)
    values: list[bytes | None] = list(feed.seeds)
    stamps = [-1] * len(values)
    decoded = feed.intake.decode(joined(values), stamps, CLOCK_MS)
    assert judge_batch(feed, values, stamps, CLOCK_MS, decoded)[""] > 0
    needed = {"bitrate_bps": BITRATE, "duration_ms": BUFFER}.get(column)
    is_judged = (decoded.events.reject == 0) & (True if needed is None else decoded.events.facts & needed != 0)
    taken = int(np.flatnonzero(is_judged)[0])
    getattr(decoded.events, column)[taken] += 1
    with pytest.raises((Wrong, UnicodeDecodeError)):
        judge_batch(feed, values, stamps, CLOCK_MS, decoded)


@pytest.mark.parametrize(
    ("target", "path"),
    [(name, path) for name in TARGETS for path in sorted((CORPUS / name).glob("*"))],
    ids=lambda part: part if isinstance(part, str) else part.name[:12],
)
def test_the_inputs_of_the_stored_corpora_are_handled(target: str, path: Path) -> None:
    TARGETS[target](path.read_bytes())
