"""Counters and histograms that the loop updates, in a separate registry."""

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import HistogramMetricFamily, Metric

from consumer.observe import catalogue
from consumer.observe.catalogue import MetricSpec
from consumer.windows.events import EVENT_TYPES, SAMPLES, FactCounts

LATE_REASONS = ("stream_time", "stream_idle", "clamped")
"""Closed by the stream's own time, or by the idle watermark that its partition's time sets; or closed at the record's
time, at which an event ahead of its record is taken, but not at the event's own."""
REBALANCE_KINDS = ("assigned", "revoked", "lost")
MAX_ERROR_LABELS = 32
OTHER_ERROR = "other"


class WorkerMetrics:
    """Metrics of the loop, one method per kind of event; calls take microseconds and never wait for a scrape.

    Args:
        versions: value of each label of the build information.
        reject_reasons: the closed list of reasons of rejects.
        close_reasons: the closed list of reasons for which a bucket closes.
    """

    def __init__(
        self, versions: Mapping[str, str], reject_reasons: Iterable[str], close_reasons: Iterable[str]
    ) -> None:
        # name[] in a scrape's query must find the snapshot's families too, which do not describe themselves.
        self.registry = CollectorRegistry(support_collectors_without_names=True)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._info(versions)
        self._counters: dict[str, Counter] = {}
        """By name, without prefix and suffix."""

        self._events = list(self._by_label(catalogue.EVENTS, EVENT_TYPES).values())
        self._skipped = list(self._by_label(catalogue.SKIPPED_SAMPLES, SAMPLES).values())
        self._reread = self._counter(catalogue.REREAD_RECORDS)
        self._late = self._by_label(catalogue.LATE_EVENTS, LATE_REASONS)
        self._rejects = self._by_label(catalogue.REJECTS, reject_reasons)
        self._summaries = self._by_label(catalogue.SUMMARIES, close_reasons)
        self._rebalances = self._by_label(catalogue.REBALANCES, REBALANCE_KINDS)
        self._aborts = _ByError(self._counter(catalogue.ABORTS))
        self._retries = _ByError(self._counter(catalogue.RETRIES))
        self._presence = [
            self._counter(spec)
            for spec in (
                catalogue.TIMEOUTS,
                catalogue.ORPHAN_LEAVES,
                catalogue.IMPLICIT_JOINS,
                catalogue.UNTRACKED_EVENTS,
            )
        ]
        self._ignored = self._counter(catalogue.IGNORED_EVENTS)
        self._commits = self._counter(catalogue.COMMITS)
        self._checkpoints = self._counter(catalogue.CHECKPOINTS)
        self._checkpoint_rows = self._counter(catalogue.CHECKPOINT_ROWS)
        self._checkpoint_bytes = self._counter(catalogue.CHECKPOINT_BYTES)
        self._checkpoint_seconds = self._counter(catalogue.CHECKPOINT_SECONDS)
        self._clock_steps = self._counter(catalogue.CLOCK_STEPS)
        self._restored_rows = self._counter(catalogue.RESTORED_ROWS)
        self._replayed_records = self._counter(catalogue.REPLAYED_RECORDS)

        self._freshness = BatchHistogram(catalogue.FRESHNESS)
        self.registry.register(self._freshness)
        self._commit_duration = self._histogram(catalogue.COMMIT_DURATION)
        self._restore_duration = self._histogram(catalogue.RESTORE_DURATION)
        self._poll_gap = self._histogram(catalogue.POLL_GAP)
        self._largest_poll_gap = _Largest(self._gauge(catalogue.LARGEST_POLL_GAP))
        self._largest_lateness = _Largest(self._gauge(catalogue.LARGEST_LATENESS))
        self._clamped = self._counter(catalogue.CLAMPED_EVENTS)
        self._largest_skew = _Largest(self._gauge(catalogue.LARGEST_CLOCK_SKEW))

    def counts(self, names: Iterable[str] | None = None) -> dict[str, dict[str, float]]:
        """The counters of these names, or all, by label value; a counter without a label has the label value `""`.

        Any thread may call it. Names are those of the catalogue, without prefix and suffix.
        """
        return {
            name: {
                "".join(sample.labels.values()): sample.value
                for family in self._counters[name].collect()
                for sample in family.samples
                if sample.name.endswith("_total")
            }
            for name in (self._counters if names is None else names)
        }

    def totals(self, names: Iterable[str]) -> dict[str, float]:
        """The counters of these names, each summed over its label."""
        return {name: sum(by_label.values()) for name, by_label in self.counts(names).items()}

    def count_events(self, counts: FactCounts) -> None:
        """Add processed events by type, and their skipped samples by field."""
        for children, numbers in ((self._events, counts.by_type), (self._skipped, counts.skipped)):
            for child, number in zip(children, numbers.tolist(), strict=True):
                if number:
                    child.inc(number)

    def count_late(self, reason: str, number: int, largest_lateness_ms: int) -> None:
        """Add late events of one of `LATE_REASONS`, with the largest distance behind stream time."""
        self._late[reason].inc(number)
        self._largest_lateness.see(largest_lateness_ms / 1000)

    def count_clamped(self, number: int, largest_skew_ms: int) -> None:
        """Add events that were ahead of their records, with the largest distance."""
        self._clamped.inc(number)
        self._largest_skew.see(largest_skew_ms / 1000)

    def count_presence(self, timeouts: int, orphan_leaves: int, implicit_joins: int, untracked: int) -> None:
        """Add counters of sessions counting."""
        for counter, number in zip(self._presence, (timeouts, orphan_leaves, implicit_joins, untracked), strict=True):
            if number:
                counter.inc(number)

    def count_ignored(self, number: int) -> None:
        """Add records of a type that the settings ignore."""
        self._ignored.inc(number)

    def count_reread(self, number: int) -> None:
        """Add records that were counted before, and were read again after their memory was dropped."""
        self._reread.inc(number)

    def count_rejects(self, reason: str, number: int) -> None:
        """Add rejects of one reason of the closed list."""
        self._rejects[reason].inc(number)

    def count_summaries(self, close_reason: str, number: int) -> None:
        """Add committed summaries of buckets that closed for one reason."""
        self._summaries[close_reason].inc(number)

    def count_rebalance(self, kind: str) -> None:
        """Add one change of the assignment, of one of `REBALANCE_KINDS`."""
        self._rebalances[kind].inc()

    def count_checkpoint(self, rows: int, size_bytes: int, seconds: float) -> None:
        """Add one committed checkpoint, the records of rows in it, their bytes, and the time to write them."""
        self._checkpoints.inc()
        self._checkpoint_rows.inc(rows)
        self._checkpoint_bytes.inc(size_bytes)
        self._checkpoint_seconds.inc(seconds)

    def count_clock_step(self) -> None:
        """Add one clock step of a quiet partition."""
        self._clock_steps.inc()

    def observe_restore(self, duration_s: float, rows: int, replayed: int) -> None:
        """Add one restored partition: its duration, row records read, input records replayed."""
        self._restore_duration.observe(duration_s)
        self._restored_rows.inc(rows)
        self._replayed_records.inc(replayed)

    def observe_commit(self, duration_s: float, freshness_s: npt.NDArray[np.float64]) -> None:
        """Add one committed transaction, and the freshness of each summary in it."""
        self._commits.inc()
        self._commit_duration.observe(duration_s)
        self._freshness.observe_many(freshness_s)

    def count_abort(self, error: str) -> None:
        """Add one aborted transaction by the name of its error; the number of names is limited."""
        self._aborts.count(error)

    def count_retry(self, error: str) -> None:
        """Add one retried call by the name of its error; the number of names is limited."""
        self._retries.count(error)

    def observe_poll_gap(self, gap_s: float) -> None:
        """Add one time between two polls."""
        self._poll_gap.observe(gap_s)
        self._largest_poll_gap.see(gap_s)

    def _counter(self, spec: MetricSpec) -> Counter:
        counter = Counter(spec.name, spec.help, spec.labels, registry=self.registry)
        self._counters[catalogue.short_name(spec)] = counter
        return counter

    def _by_label(self, spec: MetricSpec, values: Iterable[str]) -> dict[str, Counter]:
        """Children of a closed list, created now so that their series start at 0."""
        counter = self._counter(spec)
        return {value: counter.labels(value) for value in values}

    def _gauge(self, spec: MetricSpec) -> Gauge:
        return Gauge(spec.name, spec.help, spec.labels, unit=spec.unit, registry=self.registry)

    def _histogram(self, spec: MetricSpec) -> Histogram:
        return Histogram(
            spec.name, spec.help, spec.labels, unit=spec.unit, buckets=spec.buckets, registry=self.registry
        )

    def _info(self, versions: Mapping[str, str]) -> None:
        spec = catalogue.BUILD_INFO
        info = Info(spec.name.removesuffix("_info"), spec.help, registry=self.registry)
        info.info({label: versions[label] for label in spec.labels})


class BatchHistogram:
    """A histogram that observes an array per call.

    Only the loop writes; a reader sees either all of a batch or none of it.
    """

    def __init__(self, spec: MetricSpec) -> None:
        self._spec = spec
        self._bounds = np.array(spec.buckets)
        self._counts_and_sum = (np.zeros(len(spec.buckets) + 1, np.int64), 0.0)

    def observe_many(self, values: npt.NDArray[np.float64]) -> None:
        """Observe all values; a bucket includes its upper bound."""
        if not values.size:
            return
        counts, total = self._counts_and_sum
        places = np.searchsorted(self._bounds, values, side="left")
        self._counts_and_sum = (counts + np.bincount(places, minlength=counts.size), total + float(values.sum()))

    def collect(self) -> Iterable[Metric]:
        """The current metric family."""
        counts, total = self._counts_and_sum
        bounds = [*map(str, self._spec.buckets), "+Inf"]
        buckets = list(zip(bounds, np.cumsum(counts).tolist(), strict=True))
        yield HistogramMetricFamily(self._spec.name, self._spec.help, buckets, total, unit=self._spec.unit)

    def describe(self) -> Iterable[Metric]:
        """The name only, so that the registry refuses duplicates."""
        yield HistogramMetricFamily(self._spec.name, self._spec.help, unit=self._spec.unit)


class _ByError:
    """A counter by error name, which brokers and client library choose; names beyond a limit share one series."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._children = {OTHER_ERROR: counter.labels(OTHER_ERROR)}

    def count(self, error: str) -> None:
        if error not in self._children and len(self._children) < MAX_ERROR_LABELS:
            self._children[error] = self._counter.labels(error)
        self._children.get(error, self._children[OTHER_ERROR]).inc()


class _Largest:
    """A gauge that only grows."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._value = 0.0

    def see(self, value: float) -> None:
        if value > self._value:
            self._value = value
            self._gauge.set(value)
