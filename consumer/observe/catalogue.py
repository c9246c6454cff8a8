"""Every metric that the worker exports, declared once; tests compare dashboards and rules with this list."""

from dataclasses import dataclass
from enum import Enum

PREFIX = "viewer_consumer_"


class MetricType(Enum):
    """The Prometheus types in use; the value is the word of the `# TYPE` line."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """A metric: full name with unit and suffix, and label names."""

    name: str
    type: MetricType
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram, without +Inf."""

    def series_names(self) -> tuple[str, ...]:
        """Names of its samples, as used in queries."""
        if self.type is MetricType.HISTOGRAM:
            return tuple(self.name + suffix for suffix in ("_bucket", "_sum", "_count"))
        return (self.name,)


def short_name(spec: MetricSpec) -> str:
    """A counter's name without prefix and suffix, as the API has it."""
    return spec.name.removeprefix(PREFIX).removesuffix("_total")


def _counter(name: str, text: str, *labels: str) -> MetricSpec:
    return MetricSpec(f"{PREFIX}{name}_total", MetricType.COUNTER, text, labels)


def _gauge(name: str, text: str, *labels: str, unit: str = "") -> MetricSpec:
    return MetricSpec(f"{PREFIX}{name}", MetricType.GAUGE, text, labels, unit)


def _seconds(name: str, text: str, *buckets: float) -> MetricSpec:
    return MetricSpec(f"{PREFIX}{name}_seconds", MetricType.HISTOGRAM, text, (), "seconds", buckets)


def _stream(name: str, text: str, unit: str = "") -> MetricSpec:
    return MetricSpec(f"viewer_stream_{name}", MetricType.GAUGE, text, ("stream_id",), unit)


# Counted by the loop.
EVENTS = _counter(
    "events", "Events processed into windows: those that say several things at once are of type several.", "type"
)
REREAD_RECORDS = _counter(
    "reread_records",
    "Records read again because their transaction was lost or aborted; the other counters have them twice.",
)
LATE_EVENTS = _counter("late_events", "Events dropped because their bucket was already closed.", "reason")
CLAMPED_EVENTS = _counter(
    "clamped_events", "Events ahead of their record's Kafka timestamp; they are taken at that timestamp."
)
TIMEOUTS = _counter("viewer_timeouts", "Viewers removed after viewer_timeout_ms without an event (sessions counting).")
ORPHAN_LEAVES = _counter("orphan_leaves", "Leave events of viewers who were not present (sessions counting).")
IMPLICIT_JOINS = _counter(
    "implicit_joins", "Viewers who became present by an event other than a join (sessions counting)."
)
UNTRACKED_EVENTS = _counter(
    "untracked_events", "Events beyond max_viewers or max_events_per_viewer_bucket; they do not change presence."
)
IGNORED_EVENTS = _counter("ignored_events", "Records whose event type is listed in input.events.ignore.")
SKIPPED_SAMPLES = _counter(
    "skipped_samples",
    "Bitrates and durations that are no numbers (null, missing, NaN, infinite, negative); their events count.",
    "field",
)
REJECTS = _counter("rejects", "Records sent to the dead-letter topic.", "reason")
SUMMARIES = _counter("summaries", "Committed summaries of closed buckets.", "close_reason")
COMMITS = _counter("commits", "Kafka transactions committed.")
ABORTS = _counter("aborts", "Kafka transactions aborted.", "error")
REBALANCES = _counter("rebalances", "Rebalances.", "kind")
RETRIES = _counter("transaction_retries", "Transactional calls that were retried.", "error")
CHECKPOINTS = _counter("checkpoints", "Checkpoints committed.")
CHECKPOINT_ROWS = _counter("checkpoint_rows", "State records written in committed checkpoints.")
CHECKPOINT_BYTES = _counter("checkpoint_bytes", "Bytes of state records in committed checkpoints.")
CHECKPOINT_SECONDS = _counter("checkpoint_seconds", "Time spent to write committed checkpoints into transactions.")
CLOCK_STEPS = _counter("clock_steps", "Steps by which the clock advanced the time of a quiet partition.")
RESTORED_ROWS = _counter("restored_rows", "State records read to restore partitions.")
REPLAYED_RECORDS = _counter("replayed_records", "Input records replayed to restore partitions.")
LARGEST_LATENESS = _gauge(
    "largest_lateness_seconds", "Largest distance between a late event and its stream's time.", unit="seconds"
)
LARGEST_CLOCK_SKEW = _gauge(
    "largest_clock_skew_seconds", "Largest distance of a clamped event ahead of its record.", unit="seconds"
)
FRESHNESS = _seconds(
    "freshness",
    "From the Kafka timestamp of the record that closed a bucket to the commit of its summary.",
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
COMMIT_DURATION = _seconds(
    "commit_duration",
    "From the start of a commit to its outcome.",
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
RESTORE_DURATION = _seconds(
    "restore_duration",
    "From the assignment of a partition to its first processed record.",
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 300.0),
)
POLL_GAP = _seconds(
    "poll_gap",
    "From the end of one poll to the start of the next.",
    *(0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
LARGEST_POLL_GAP = _gauge(
    "largest_poll_gap_seconds", "Longest time between two polls since the worker started.", unit="seconds"
)
BUILD_INFO = MetricSpec(
    f"{PREFIX}build_info", MetricType.INFO, "Versions of the worker and of librdkafka.", ("version", "librdkafka")
)

# From a snapshot: the worker.
READY = _gauge("ready", "1 if /readyz answers 200, else 0.")
LOOP_TICK = _gauge("loop_tick_timestamp_seconds", "Unix time of the last turn of the loop.", unit="seconds")
RESTORING_PARTITIONS = _gauge("restoring_partitions", "Assigned partitions whose state is being restored.")
BREAKER_OPEN_PARTITIONS = _gauge("breaker_open_partitions", "Assigned partitions whose circuit breaker is open.")
STOPPED_PARTITIONS = _gauge("stopped_partitions", "Assigned partitions stopped because state and Kafka disagree.")
PAUSED_PARTITIONS = _gauge(
    "paused_partitions", "Live partitions that are not read: output is pending, or a jump of time is being closed."
)
CLOCK_WAITING_PARTITIONS = _gauge(
    "clock_waiting_partitions", "Live partitions that wait: their next records are ahead of this machine's clock."
)
PENDING_OUTPUT_RECORDS = _gauge("pending_output_records", "Summaries and dead letters that are not committed.")
PENDING_OUTPUT_BYTES = _gauge(
    "pending_output_bytes", "Memory of summaries and dead letters that are not committed.", unit="bytes"
)
OPEN_TRANSACTION_AGE = _gauge(
    "open_transaction_age_seconds", "Age of the open transaction; 0 if none is open.", unit="seconds"
)
OPEN_TRANSACTION_RECORDS = _gauge(
    "open_transaction_records", "Summaries and dead letters in the open transaction; 0 if none is open."
)
LAST_COMMIT = _gauge(
    "last_commit_timestamp_seconds", "Unix time of the last commit; absent before the first.", unit="seconds"
)
WINDOW_DURATION = _gauge(
    "window_duration_seconds", "Length of the window that the gauges of streams show.", unit="seconds"
)
STREAM_SERIES_LEFT_OUT = _gauge(
    "stream_series_left_out", "Streams without series of their own, beyond max_stream_series."
)
HISTORY_BUCKETS = _gauge("history_buckets", "Closed buckets kept in memory for the page.")

# From a snapshot: a partition; the series vanish when it is revoked.
LAG = _gauge(
    "lag_records",
    "Offsets between the next record to process and the end of the partition; absent while the end is not known.",
    "partition",
)
HELD_RECORDS = _gauge(
    "held_records", "Offsets behind a producer's open transaction; they cannot be read until it ends.", "partition"
)
TIME_LAG = _gauge(
    "time_lag_seconds", "Age of the last processed record, by its Kafka timestamp.", "partition", unit="seconds"
)
CHECKPOINT_AGE = _gauge(
    "checkpoint_age_seconds", "Time since the last checkpoint, or since the restore.", "partition", unit="seconds"
)
STREAMS = _gauge("streams", "Streams in memory.", "partition")
BUCKETS = _gauge("buckets", "Buckets in memory.", "partition")
VIEWERS = _gauge("viewers", "Concurrent viewers, all streams.", "partition")
VIEWERS_HELD = _gauge("viewers_held", "Viewers in memory: present, or with events in open buckets.", "partition")
ACTIVITIES_HELD = _gauge("activities_held", "Distinct viewer events kept until their bucket closes.", "partition")
STATE_BYTES = _gauge("state_bytes", "Memory used by the windows.", "partition", unit="bytes")

# From a snapshot: a stream; the series vanish with it.
STREAM_VIEWERS = _stream("concurrent_viewers", "Viewers now.")
STREAM_PEAK = _stream("window_peak_concurrent_viewers", "Largest number of viewers in the window.")
STREAM_BITRATE_AVG = _stream("window_bitrate_avg_bps", "Average bitrate reported in the window.", "bps")
STREAM_BITRATE_MIN = _stream("window_bitrate_min_bps", "Smallest bitrate reported in the window.", "bps")
STREAM_BITRATE_MAX = _stream("window_bitrate_max_bps", "Largest bitrate reported in the window.", "bps")
STREAM_BUFFER_EVENTS = _stream("window_buffer_events", "Buffer events in the window.")
STREAM_STALL = _stream("window_stall_seconds", "Stall time of all viewers reported in the window.", "seconds")

CATALOGUE = (
    EVENTS,
    REREAD_RECORDS,
    LATE_EVENTS,
    CLAMPED_EVENTS,
    TIMEOUTS,
    ORPHAN_LEAVES,
    IMPLICIT_JOINS,
    UNTRACKED_EVENTS,
    IGNORED_EVENTS,
    SKIPPED_SAMPLES,
    REJECTS,
    SUMMARIES,
    COMMITS,
    ABORTS,
    REBALANCES,
    RETRIES,
    CHECKPOINTS,
    CHECKPOINT_ROWS,
    CHECKPOINT_BYTES,
    CHECKPOINT_SECONDS,
    CLOCK_STEPS,
    RESTORED_ROWS,
    REPLAYED_RECORDS,
    LARGEST_LATENESS,
    LARGEST_CLOCK_SKEW,
    FRESHNESS,
    COMMIT_DURATION,
    RESTORE_DURATION,
    POLL_GAP,
    LARGEST_POLL_GAP,
    BUILD_INFO,
    READY,
    LOOP_TICK,
    RESTORING_PARTITIONS,
    STOPPED_PARTITIONS,
    PAUSED_PARTITIONS,
    CLOCK_WAITING_PARTITIONS,
    PENDING_OUTPUT_RECORDS,
    PENDING_OUTPUT_BYTES,
    OPEN_TRANSACTION_AGE,
    OPEN_TRANSACTION_RECORDS,
    LAST_COMMIT,
    BREAKER_OPEN_PARTITIONS,
    WINDOW_DURATION,
    STREAM_SERIES_LEFT_OUT,
    HISTORY_BUCKETS,
    LAG,
    HELD_RECORDS,
    TIME_LAG,
    CHECKPOINT_AGE,
    STREAMS,
    BUCKETS,
    VIEWERS,
    VIEWERS_HELD,
    ACTIVITIES_HELD,
    STATE_BYTES,
    STREAM_VIEWERS,
    STREAM_PEAK,
    STREAM_BITRATE_AVG,
    STREAM_BITRATE_MIN,
    STREAM_BITRATE_MAX,
    STREAM_BUFFER_EVENTS,
    STREAM_STALL,
)
