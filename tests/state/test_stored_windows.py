"""A stored stream as `state show` displays it."""

import numpy as np
import pytest

from consumer.settings.model import load_settings
from consumer.settings.window_rules import window_rules
from consumer.state.checkpoint import Checkpoint, Identity
from consumer.state.contents import Contents
from consumer.state.result_settings import result_settings_of
from consumer.state.stored_windows import stored_stream
from consumer.windows.partition import PartitionWindows
from tests.reference.sessions_counting import Event
from tests.windows.columns import columns

KEY = (1, 2)


@pytest.mark.parametrize(
    ("counting", "open_figures"),
    [
        # Presence of a bucket is computed when it closes; before that a 0 would be wrong.
        ("sessions", (None, None, None)),
        ("events", (2, 1, 0)),
    ],
)
def test_values_that_an_open_bucket_does_not_have_yet_are_none(
    counting: str, open_figures: tuple[int | None, ...]
) -> None:
    settings = load_settings(None, ["windows.bucket_ms=1000", f"windows.counting={counting}"], {})
    windows = PartitionWindows(window_rules(settings.windows), KEY)
    #  bucket 0: closed by the event at 20 s     bucket 20: open
    #  a joins ────────────────────────────────── b joins
    events = [Event("s", "a", 100, "J"), Event("s", "b", 20_000, "J")]
    windows.apply(columns(events), 0, len(events), np.arange(len(events)))
    rows = windows.changed_rows()
    contents = Contents()
    contents.add(rows.records)
    checkpoint = Checkpoint(
        number=1,
        next_offset=2,
        times=windows.times(),
        hash_key=KEY,
        rows=rows.all_rows,
        settings=result_settings_of(settings),
        identity=Identity("cluster", "topic", "group"),
        written_ms=0,
    )
    stream = stored_stream(contents, checkpoint, settings, b"s")
    assert stream is not None
    stats = {
        bucket.bucket_start_ms: (bucket.peak_concurrent_viewers, bucket.joins, bucket.leaves)
        for bucket in stream.buckets
    }
    assert stats[0] == (1, 1, 0)
    assert stats[20_000] == open_figures
    assert {bucket.bucket_start_ms for bucket in stream.buckets if bucket.open} >= {20_000}
