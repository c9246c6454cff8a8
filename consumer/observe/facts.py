"""What of a worker does not change while it runs, for page and API."""

from collections.abc import Sequence
from typing import NamedTuple


class WorkerFacts(NamedTuple):
    """Its name, versions and settings."""

    host: str
    version: str
    librdkafka: str
    group_id: str
    input_topic: str
    output_topic: str
    dead_letter_topic: str
    counting: str
    bucket_ms: int
    grace_ms: int
    window_duration_ms: int
    max_stream_series: int
    close_reasons: Sequence[str]
    """By code."""
