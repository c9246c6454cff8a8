import threading

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from prometheus_client import CollectorRegistry, Histogram

from consumer.observe import catalogue
from consumer.observe.catalogue import CATALOGUE, MetricType
from consumer.observe.metrics import MAX_ERROR_LABELS, BatchHistogram, WorkerMetrics
from consumer.observe.snapshot import SnapshotBoard
from consumer.windows.events import BITRATE, BUFFER, EVENT_TYPES, HEARTBEAT, JOIN, LEAVE, SKIPPED_SHIFT, count_facts
from tests.observe.samples import families, openmetrics_families, partition, snapshot, stream, worker_metrics


def value(metrics: WorkerMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def full_board() -> SnapshotBoard:
    board = SnapshotBoard(1000.0)
    board.publish(snapshot(stream("a", 3), partitions=(partition(0),)))
    return board


def test_every_declared_metric_is_exported_and_no_other_of_ours() -> None:
    exported = {family.name: family for family in worker_metrics(full_board()).registry.collect()}
    ours = {name for name in exported if name.startswith("viewer_")}
    declared = {spec.name.removesuffix("_total").removesuffix("_info"): spec for spec in CATALOGUE}
    assert ours == set(declared)
    for name, spec in declared.items():
        family = exported[name]
        assert (family.type, family.documentation, family.unit) == (spec.type.value, spec.help, spec.unit)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(spec.labels), sample


@pytest.mark.parametrize("spec", CATALOGUE, ids=lambda spec: spec.name)
def test_names_keep_the_conventions(spec: catalogue.MetricSpec) -> None:
    assert spec.name.endswith("_total") == (spec.type is MetricType.COUNTER)
    assert spec.name.endswith("_info") == (spec.type is MetricType.INFO)
    assert not spec.unit or spec.name.endswith(f"_{spec.unit}")
    for unit in ("seconds", "bytes", "bps"):
        assert spec.name.endswith(f"_{unit}") == (spec.unit == unit)
    assert spec.name.startswith(("viewer_stream_", "viewer_consumer_"))
    assert spec.name.startswith("viewer_stream_") == (spec.labels == ("stream_id",))
    assert spec.help.endswith(".")
    assert bool(spec.buckets) == (spec.type is MetricType.HISTOGRAM)
    assert list(spec.buckets) == sorted(set(spec.buckets))


def test_closed_label_sets_stand_at_zero_from_the_start() -> None:
    metrics = worker_metrics()
    for kind in ("join", "leave", "bitrate", "buffer", "heartbeat", "several"):
        assert value(metrics, "viewer_consumer_events_total", type=kind) == 0
    for reason in ("stream_time", "stream_idle"):
        assert value(metrics, "viewer_consumer_late_events_total", reason=reason) == 0
    for reason in ("truncated", "unknown_schema"):
        assert value(metrics, "viewer_consumer_rejects_total", reason=reason) == 0
    for reason in ("watermark", "stream_idle"):
        assert value(metrics, "viewer_consumer_summaries_total", close_reason=reason) == 0
    for kind in ("assigned", "revoked", "lost"):
        assert value(metrics, "viewer_consumer_rebalances_total", kind=kind) == 0
    assert value(metrics, "viewer_consumer_aborts_total", error="other") == 0


def test_types_add_up_to_events_and_skipped_samples_are_counted_by_field() -> None:
    metrics = worker_metrics()
    no_bitrate, no_duration = BITRATE << SKIPPED_SHIFT, BUFFER << SKIPPED_SHIFT
    facts = [HEARTBEAT, no_bitrate, no_bitrate | no_duration, JOIN | no_duration, BITRATE | BUFFER, LEAVE | BITRATE]
    metrics.count_events(count_facts(np.array(facts, np.uint8)))
    by_type = {kind: value(metrics, "viewer_consumer_events_total", type=kind) for kind in EVENT_TYPES}
    assert by_type == {"join": 1, "leave": 0, "bitrate": 0, "buffer": 0, "heartbeat": 3, "several": 2}
    assert value(metrics, "viewer_consumer_skipped_samples_total", field="bitrate_bps") == 2
    assert value(metrics, "viewer_consumer_skipped_samples_total", field="duration_ms") == 2


def test_each_count_lands_on_its_own_series() -> None:
    metrics = worker_metrics()
    metrics.count_events(count_facts(np.array([JOIN, LEAVE, LEAVE, *[BITRATE] * 3, *[BUFFER] * 4], np.uint8)))
    metrics.count_events(count_facts(np.array([JOIN] * 10, np.uint8)))
    metrics.count_late("stream_time", 5, 2500)
    metrics.count_late("stream_idle", 6, 1500)
    metrics.count_presence(1, 2, 3, 4)
    metrics.count_ignored(8)
    metrics.count_rejects("truncated", 9)
    metrics.count_summaries("stream_idle", 10)
    metrics.count_rebalance("lost")
    metrics.count_checkpoint(rows=11, size_bytes=2_000, seconds=0.5)
    metrics.count_clock_step()
    metrics.observe_restore(0.3, rows=12, replayed=13)
    metrics.count_retry("COORDINATOR_LOAD_IN_PROGRESS")
    metrics.observe_commit(0.004, np.array([0.2, 0.3]))
    metrics.count_abort("_FENCED")
    metrics.observe_poll_gap(0.7)
    metrics.observe_poll_gap(0.2)

    assert [value(metrics, "viewer_consumer_events_total", type=kind) for kind in ("join", "leave")] == [11, 2]
    assert [value(metrics, "viewer_consumer_events_total", type=kind) for kind in ("bitrate", "buffer")] == [3, 4]
    assert value(metrics, "viewer_consumer_late_events_total", reason="stream_time") == 5
    assert value(metrics, "viewer_consumer_late_events_total", reason="stream_idle") == 6
    assert value(metrics, "viewer_consumer_largest_lateness_seconds") == 2.5
    assert value(metrics, "viewer_consumer_viewer_timeouts_total") == 1
    assert value(metrics, "viewer_consumer_orphan_leaves_total") == 2
    assert value(metrics, "viewer_consumer_implicit_joins_total") == 3
    assert value(metrics, "viewer_consumer_untracked_events_total") == 4
    assert value(metrics, "viewer_consumer_ignored_events_total") == 8
    assert value(metrics, "viewer_consumer_rejects_total", reason="truncated") == 9
    assert value(metrics, "viewer_consumer_summaries_total", close_reason="stream_idle") == 10
    assert value(metrics, "viewer_consumer_rebalances_total", kind="lost") == 1
    assert value(metrics, "viewer_consumer_checkpoints_total") == 1
    assert value(metrics, "viewer_consumer_checkpoint_rows_total") == 11
    assert value(metrics, "viewer_consumer_checkpoint_bytes_total") == 2_000
    assert value(metrics, "viewer_consumer_checkpoint_seconds_total") == 0.5
    assert value(metrics, "viewer_consumer_clock_steps_total") == 1
    assert value(metrics, "viewer_consumer_restored_rows_total") == 12
    assert value(metrics, "viewer_consumer_replayed_records_total") == 13
    assert value(metrics, "viewer_consumer_restore_duration_seconds_bucket", le="0.5") == 1
    assert value(metrics, "viewer_consumer_transaction_retries_total", error="COORDINATOR_LOAD_IN_PROGRESS") == 1
    assert value(metrics, "viewer_consumer_commits_total") == 1
    assert value(metrics, "viewer_consumer_aborts_total", error="_FENCED") == 1
    assert value(metrics, "viewer_consumer_commit_duration_seconds_count") == 1
    assert value(metrics, "viewer_consumer_freshness_seconds_count") == 2
    assert value(metrics, "viewer_consumer_freshness_seconds_bucket", le="0.25") == 1
    assert value(metrics, "viewer_consumer_poll_gap_seconds_count") == 2
    assert value(metrics, "viewer_consumer_largest_poll_gap_seconds") == 0.7
    assert value(metrics, "viewer_consumer_build_info", version="1.2.3", librdkafka="2.16.0") == 1


def test_a_reason_outside_the_closed_list_is_refused() -> None:
    metrics = worker_metrics()
    with pytest.raises(KeyError):
        metrics.count_rejects("invented", 1)
    assert value(metrics, "viewer_consumer_rejects_total", reason="invented") is None


def test_names_of_errors_are_capped() -> None:
    metrics = worker_metrics()
    for number in range(100):
        metrics.count_abort(f"ERROR_{number}")
    aborts = [
        sample
        for family in metrics.registry.collect()
        if family.name == "viewer_consumer_aborts"
        for sample in family.samples
        if sample.name.endswith("_total")
    ]
    assert len(aborts) == MAX_ERROR_LABELS
    assert sum(sample.value for sample in aborts) == 100
    assert value(metrics, "viewer_consumer_aborts_total", error="other") == 100 - (MAX_ERROR_LABELS - 1)


def test_both_text_formats_parse() -> None:
    metrics = worker_metrics(full_board())
    text = {family.name for family in families(metrics.registry)}
    openmetrics = {family.name for family in openmetrics_families(metrics.registry)}
    for name in ("viewer_stream_concurrent_viewers", "viewer_consumer_freshness_seconds", "process_cpu_seconds"):
        assert name in text
        assert name in openmetrics
    assert "python_gc_collections" in text


def test_workers_share_no_registry() -> None:
    one, other = worker_metrics(), worker_metrics()
    one.count_ignored(1)
    assert value(other, "viewer_consumer_ignored_events_total") == 0


BOUNDS = catalogue.FRESHNESS.buckets


@settings(max_examples=100)
@given(
    st.lists(
        st.lists(st.one_of(st.sampled_from(BOUNDS), st.floats(-1, 100)), max_size=20),
        max_size=5,
    )
)
def test_an_array_at_a_time_counts_as_one_by_one_does(batches: list[list[float]]) -> None:
    spec = catalogue.FRESHNESS
    ours = BatchHistogram(spec)
    registry = CollectorRegistry()
    theirs = Histogram(spec.name, spec.help, buckets=spec.buckets, registry=registry)
    for batch in batches:
        ours.observe_many(np.array(batch))
        for one in batch:
            theirs.observe(one)
    (family,) = ours.collect()
    for sample in family.samples:
        expected = registry.get_sample_value(sample.name, sample.labels)
        assert sample.value == pytest.approx(expected), sample


def test_a_scrape_amid_counting_sees_whole_batches() -> None:
    histogram = BatchHistogram(catalogue.FRESHNESS)
    batch = np.full(1000, 0.5)
    done = threading.Event()

    def count() -> None:
        for _ in range(300):
            histogram.observe_many(batch)
        done.set()

    writer = threading.Thread(target=count)
    writer.start()
    seen = 0.0
    while not done.is_set():
        (family,) = histogram.collect()
        samples = {sample.name.removeprefix(catalogue.FRESHNESS.name): sample.value for sample in family.samples}
        assert samples["_count"] % 1000 == 0
        assert samples["_sum"] == samples["_count"] * 0.5
        assert samples["_count"] >= seen
        seen = samples["_count"]
    writer.join()
