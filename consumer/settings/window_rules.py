"""Convert settings to window rules."""

from consumer.settings.model import WindowSettings
from consumer.windows.rules import WindowRules


def window_rules(windows: WindowSettings) -> WindowRules:
    """The window rules of the settings."""
    return WindowRules(
        window_duration_ms=windows.window_duration_ms,
        bucket_ms=windows.bucket_ms,
        grace_ms=windows.grace_ms,
        stream_idle_ms=windows.stream_idle_ms,
        max_streams=windows.max_streams,
        sessions=windows.counting == "sessions",
        viewer_timeout_ms=windows.viewer_timeout_ms,
        max_viewers=windows.max_viewers,
        max_events_per_viewer_bucket=windows.max_events_per_viewer_bucket,
    )
