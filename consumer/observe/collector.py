"""Create gauges from the newest snapshot at every scrape, so that series vanish with their stream or partition."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from consumer.observe import catalogue
from consumer.observe.catalogue import MetricSpec
from consumer.observe.labels import label_of
from consumer.observe.liveness import current_health
from consumer.observe.snapshot import OutputStatus, PartitionStatus, Snapshot, SnapshotBoard, StreamStatus


class SnapshotCollector:
    """Prometheus collector over a board; register it once, in any registry.

    Args:
        board: where the loop publishes.
        monotonic: the clock of the board's ticks, in seconds.
        wall_clock: Unix time in seconds, for the one metric that is a time.
        window_duration_ms: length of the window of the streams' statistics.
    """

    def __init__(
        self,
        board: SnapshotBoard,
        monotonic: Callable[[], float],
        wall_clock: Callable[[], float],
        window_duration_ms: int,
    ) -> None:
        self._board = board
        self._monotonic = monotonic
        self._wall_clock = wall_clock
        self._window_duration_ms = window_duration_ms

    def describe(self) -> Iterable[Metric]:
        """Nothing: series are known only at a scrape."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All metric families of the newest snapshot."""
        snapshot = self._board.latest()
        yield from self._worker(snapshot)
        yield from _partitions(snapshot.partitions)
        yield from _streams(snapshot.streams)

    def _worker(self, snapshot: Snapshot) -> Iterator[Metric]:
        tick = self._wall_clock() - (self._monotonic() - self._board.last_tick_s)
        yield _single(catalogue.READY, float(current_health(self._board, self._monotonic()).ready))
        yield _single(catalogue.LOOP_TICK, tick)
        yield _single(catalogue.RESTORING_PARTITIONS, snapshot.restoring)
        yield _single(catalogue.STOPPED_PARTITIONS, snapshot.stopped)
        yield _single(catalogue.BREAKER_OPEN_PARTITIONS, snapshot.tripped)
        yield _single(catalogue.CLOCK_WAITING_PARTITIONS, snapshot.clock_waiting)
        yield _single(catalogue.WINDOW_DURATION, self._window_duration_ms / 1000)
        yield _single(catalogue.STREAM_SERIES_LEFT_OUT, snapshot.streams_left_out)
        yield _single(catalogue.HISTORY_BUCKETS, snapshot.history_buckets)
        yield from _output(snapshot.output)


def _output(output: OutputStatus) -> Iterator[Metric]:
    yield _single(catalogue.PAUSED_PARTITIONS, output.paused_partitions)
    yield _single(catalogue.PENDING_OUTPUT_RECORDS, output.pending_records)
    yield _single(catalogue.PENDING_OUTPUT_BYTES, output.pending_bytes)
    yield _single(catalogue.OPEN_TRANSACTION_AGE, output.open_transaction_s)
    yield _single(catalogue.OPEN_TRANSACTION_RECORDS, output.open_transaction_records)
    last_commit = _family(catalogue.LAST_COMMIT)
    if output.last_commit_s is not None:
        last_commit.add_metric((), output.last_commit_s)
    yield last_commit


def _family(spec: MetricSpec) -> GaugeMetricFamily:
    return GaugeMetricFamily(spec.name, spec.help, labels=spec.labels, unit=spec.unit)


def _single(spec: MetricSpec, value: float) -> GaugeMetricFamily:
    family = _family(spec)
    family.add_metric((), value)
    return family


def _partitions(partitions: Iterable[PartitionStatus]) -> Iterator[GaugeMetricFamily]:
    lag, time_lag = _family(catalogue.LAG), _family(catalogue.TIME_LAG)
    age, streams, buckets = _family(catalogue.CHECKPOINT_AGE), _family(catalogue.STREAMS), _family(catalogue.BUCKETS)
    viewers, state_bytes = _family(catalogue.VIEWERS), _family(catalogue.STATE_BYTES)
    viewers_held, activities_held = _family(catalogue.VIEWERS_HELD), _family(catalogue.ACTIVITIES_HELD)
    held_records = _family(catalogue.HELD_RECORDS)
    for one in partitions:
        label = (str(one.partition),)
        held_records.add_metric(label, one.held_records)
        if one.end_offset is not None:
            # The end offset may be older than the position.
            lag.add_metric(label, max(0, one.end_offset - one.next_offset))
        if one.time_lag_s is not None:
            time_lag.add_metric(label, one.time_lag_s)
        age.add_metric(label, one.checkpoint_age_s)
        streams.add_metric(label, one.streams)
        buckets.add_metric(label, one.buckets)
        viewers.add_metric(label, one.viewers)
        viewers_held.add_metric(label, one.viewers_held)
        activities_held.add_metric(label, one.activities_held)
        state_bytes.add_metric(label, one.state_bytes)
    yield from (lag, time_lag, age, streams, buckets, viewers, viewers_held, activities_held, state_bytes, held_records)


def _streams(streams: Iterable[StreamStatus]) -> Iterator[GaugeMetricFamily]:
    viewers, peak = _family(catalogue.STREAM_VIEWERS), _family(catalogue.STREAM_PEAK)
    average, minimum = _family(catalogue.STREAM_BITRATE_AVG), _family(catalogue.STREAM_BITRATE_MIN)
    maximum, buffering = _family(catalogue.STREAM_BITRATE_MAX), _family(catalogue.STREAM_BUFFER_EVENTS)
    stalled = _family(catalogue.STREAM_STALL)
    for one in streams:
        label = (label_of(one.stream_id),)
        viewers.add_metric(label, one.concurrent_viewers)
        peak.add_metric(label, one.window_peak_concurrent_viewers)
        average.add_metric(label, one.window_bitrate_avg_bps)
        minimum.add_metric(label, one.window_bitrate_min_bps)
        maximum.add_metric(label, one.window_bitrate_max_bps)
        buffering.add_metric(label, one.window_buffer_events)
        stalled.add_metric(label, one.window_stall_ms / 1000)
    yield from (viewers, peak, average, minimum, maximum, buffering, stalled)
