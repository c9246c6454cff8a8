"""Load stored rows into windows to inspect them; a worker's own restore reads them as they arrive."""

from collections.abc import Sequence
from typing import NamedTuple

from consumer.settings.model import MAX_BUCKETS_KEPT, Settings
from consumer.settings.window_rules import window_rules
from consumer.state.checkpoint import Checkpoint
from consumer.state.contents import Contents
from consumer.state.result_settings import settings_of
from consumer.windows.layout import LIMB
from consumer.windows.partition import PartitionWindows
from consumer.windows.rules import WindowRules
from consumer.windows.storage.checksum import Checksum


class StoredBucket(NamedTuple):
    """A bucket in a stored row."""

    bucket_start_ms: int
    open: bool
    """Whether its summary is not published yet."""
    peak_concurrent_viewers: int | None
    """This and the two below are None until the bucket closes if viewers are counted by id."""
    joins: int | None
    leaves: int | None
    bitrate_sample_count: int
    avg_bitrate_bps: float
    min_bitrate_bps: int
    max_bitrate_bps: int
    buffer_event_count: int
    buffer_stall_ms: int


class StoredStream(NamedTuple):
    """A stream as of the checkpoint."""

    time_ms: int
    """The partition's idle watermark included."""
    viewers: int
    buckets: list[StoredBucket]
    """Oldest first."""


def loaded_windows(
    checkpoint: Checkpoint, settings: Settings, rows: Sequence[tuple[bytes, bytes]], widest: bool = False
) -> tuple[PartitionWindows, Checksum]:
    """Load rows into windows under the settings they were stored with; return the windows and the rows' checksum.

    Args:
        checkpoint: the checkpoint of the rows.
        settings: the current settings, for what checkpoints do not store.
        rows: the newest record of each key.
        widest: use the longest possible window, so that it shows all buckets.

    Raises:
        RowError: a row cannot be read.
        StateError: the checkpoint's settings cannot be read.
    """
    rules = window_rules(settings_of(checkpoint.settings, settings).windows)
    windows = PartitionWindows.loading(_widest(rules) if widest else rules, checkpoint.hash_key, checkpoint.times)
    windows.load(rows)
    return windows, windows.finish_load()


def stored_stream(
    contents: Contents, checkpoint: Checkpoint, settings: Settings, stream_id: bytes
) -> StoredStream | None:
    """A stream from its stored row; None if there is none.

    Raises:
        RowError, StateError: as `loaded_windows`.
    """
    rows = contents.rows_of(stream_id)
    if not rows:
        return None
    windows, _ = loaded_windows(checkpoint, settings, rows, widest=True)
    view = windows.view_of(stream_id)
    if view is None:
        return None
    last_closed_ms = view.last_closed_start_ms
    buckets = []
    for bucket in windows.window_of(stream_id):
        start_ms, samples = int(bucket["start_ms"]), int(bucket["bitrate_samples"])
        bitrate_sum = int(bucket["bitrate_sum_low"]) + int(bucket["bitrate_sum_high"]) * LIMB
        is_open = last_closed_ms is None or start_ms > last_closed_ms
        known = not (is_open and windows.counts_sessions)
        buckets.append(
            StoredBucket(
                bucket_start_ms=start_ms,
                open=is_open,
                peak_concurrent_viewers=int(bucket["peak"]) if known else None,
                joins=int(bucket["joins"]) if known else None,
                leaves=int(bucket["leaves"]) if known else None,
                bitrate_sample_count=samples,
                avg_bitrate_bps=bitrate_sum / samples if samples else 0.0,
                min_bitrate_bps=int(bucket["bitrate_min_bps"]),
                max_bitrate_bps=int(bucket["bitrate_max_bps"]),
                buffer_event_count=int(bucket["buffer_events"]),
                buffer_stall_ms=int(bucket["stall_ms"]),
            )
        )
    return StoredStream(view.time_ms, view.concurrent_viewers, buckets)


def _widest(rules: WindowRules) -> WindowRules:
    return rules._replace(window_duration_ms=rules.bucket_ms * MAX_BUCKETS_KEPT)
