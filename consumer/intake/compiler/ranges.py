"""Valid ranges of the fields."""

from consumer.intake.compiler.mapping import BITRATE_BPS, DURATION_MS, TIMESTAMP_MS
from consumer.windows.events import MAX_ABS_TIMESTAMP_MS, MAX_BITRATE_BPS, MAX_DURATION_MS

RANGES = {
    TIMESTAMP_MS: (-MAX_ABS_TIMESTAMP_MS, MAX_ABS_TIMESTAMP_MS),
    BITRATE_BPS: (0, MAX_BITRATE_BPS),
    DURATION_MS: (0, MAX_DURATION_MS),
}
"""Smallest and largest valid value, by field."""
