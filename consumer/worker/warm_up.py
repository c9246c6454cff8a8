"""Call every kernel with the types that a worker uses, so that it is compiled or loaded from the cache."""

import numpy as np

from consumer.intake import intake
from consumer.kafka import c_producer, column_reader
from consumer.output import summary_encoding
from consumer.windows.events import EventColumns
from consumer.windows.partition import PartitionWindows
from consumer.windows.rules import WindowRules

_STREAMS = 200
"""More streams than a new partition has room for, with ids long enough to need packing."""
_LATER_MS = 10
_NEWEST = b"%08d" % (_LATER_MS + _STREAMS - 1)
"""A stream that is still held behind the later events."""
_RULES = WindowRules(1, 1, 0, 0, _STREAMS, sessions=True, viewer_timeout_ms=1)


def warm_up() -> None:
    """Run all compiled code once with the types a worker uses."""
    column_reader.warm_up()
    c_producer.warm_up()
    intake.warm_up()
    summary_encoding.warm_up()
    without_sessions = PartitionWindows(_RULES._replace(sessions=False), (0, 0))
    without_sessions.apply(_events(0), 0, _STREAMS, np.arange(_STREAMS, dtype=np.int64))
    windows = PartitionWindows(_RULES, (0, 0))
    for start_ms in (0, _LATER_MS):
        windows.apply(_events(start_ms), 0, _STREAMS, np.arange(_STREAMS, dtype=np.int64))
    windows.pack()
    windows.views()
    windows.view_of(_NEWEST)
    windows.window_of(_NEWEST)
    _store_and_load(windows)
    windows.limit_closed(1)
    windows.step(10 * _STREAMS, 0)
    windows.continue_jump()
    windows.limit_closed(_STREAMS)
    windows.continue_jump()
    windows.change_rules(_RULES._replace(grace_ms=1), 0)
    windows.close_all()


def _store_and_load(windows: PartitionWindows) -> None:
    rows = windows.changed_rows(part_bytes=1)
    windows.mark_stored(rows)
    loading = PartitionWindows.loading(_RULES, windows.hash_key, windows.times())
    loading.load(rows.records)
    loading.take_over(_RULES, windows.hash_key, windows.times())
    loading.finish_load()


def _events(start_ms: int) -> EventColumns:
    text = bytearray(b"".join(b"%08d" % number for number in range(start_ms, start_ms + _STREAMS)))
    starts = np.arange(0, len(text), 8, dtype=np.int64)
    sizes = np.full(_STREAMS, 8, np.int32)
    zeros = np.zeros(_STREAMS, np.uint8)
    return EventColumns(
        text=np.frombuffer(text, np.uint8),
        stream_start=starts,
        stream_size=sizes,
        viewer_start=starts,
        viewer_size=sizes,
        timestamp_ms=np.arange(start_ms, start_ms + _STREAMS, dtype=np.int64),
        facts=zeros,
        bitrate_bps=np.zeros(_STREAMS, np.int64),
        duration_ms=np.zeros(_STREAMS, np.int64),
        clamped_ms=np.zeros(_STREAMS, np.int64),
        reject=zeros,
        reject_field=zeros,
    )
