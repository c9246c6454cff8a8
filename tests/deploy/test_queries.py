"""Dashboard and alert rules use metrics that exist, in PromQL that parses."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, ProcessCollector

from consumer.observe.catalogue import CATALOGUE
from tests.deploy.files import DEPLOY, RULES, dashboard, dashboard_expressions, load_yaml
from tests.observe.tools import require_tool

OF_A_SCRAPE = {"up"}
LABELS_OF_A_SCRAPE = {"job", "instance", "le"}
LABELS = {label for spec in CATALOGUE for label in spec.labels} | LABELS_OF_A_SCRAPE


def known_series() -> set[str]:
    process = {
        sample.name for family in ProcessCollector(registry=CollectorRegistry()).collect() for sample in family.samples
    }
    return {name for spec in CATALOGUE for name in spec.series_names()} | process | OF_A_SCRAPE


def metric_names(expression: str) -> set[str]:
    without_strings = re.sub(r'"[^"]*"', '""', expression)
    return set(re.findall(r"\b(?:viewer_\w+|process_\w+|python_\w+|up)\b", without_strings))


def label_names(expression: str) -> set[str]:
    without_strings = re.sub(r'"[^"]*"', '""', expression)
    matched = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", without_strings)
    grouped = re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", without_strings)
    return set(matched) | {name.strip() for names in grouped for name in names.split(",")}


def rule_expressions() -> list[str]:
    return [rule["expr"] for group in load_yaml(RULES)[0]["groups"] for rule in group["rules"]]


def test_the_dashboard_uses_only_existing_metrics_and_labels() -> None:
    expressions = dashboard_expressions()
    assert len(expressions) > 20
    for expression in expressions:
        assert metric_names(expression) <= known_series(), expression
        assert metric_names(expression), expression
        assert label_names(expression) <= LABELS, expression
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= LABELS


def test_the_dashboards_variables_use_only_existing_metrics_and_labels() -> None:
    for variable in dashboard()["templating"]["list"]:
        metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"]).groups()  # type: ignore[union-attr]  # no match fails the test
        assert metric in known_series()
        assert label in LABELS


@pytest.mark.parametrize(
    "subject",
    [
        "viewer_stream_concurrent_viewers",
        "viewer_stream_window_peak_concurrent_viewers",
        "viewer_stream_window_bitrate_avg_bps",
        "viewer_stream_window_bitrate_min_bps",
        "viewer_stream_window_bitrate_max_bps",
        "viewer_stream_window_buffer_events",
        "viewer_consumer_events_total",
        "viewer_consumer_late_events_total",
        "viewer_consumer_rejects_total",
        "viewer_consumer_summaries_total",
        "viewer_consumer_lag_records",
        "viewer_consumer_time_lag_seconds",
        "viewer_consumer_freshness_seconds_bucket",
        "viewer_consumer_commit_duration_seconds_bucket",
        "viewer_consumer_aborts_total",
        "viewer_consumer_rebalances_total",
        "viewer_consumer_streams",
        "process_resident_memory_bytes",
    ],
)
def test_the_dashboard_has_the_panels_that_operators_need(subject: str) -> None:
    assert any(subject in metric_names(expression) for expression in dashboard_expressions())


def test_the_dashboards_panels_do_not_overlap() -> None:
    taken: dict[tuple[int, int], str] = {}
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


def test_the_rules_use_only_existing_metrics_and_labels() -> None:
    for expression in rule_expressions():
        assert metric_names(expression) <= known_series(), expression
        assert label_names(expression) <= LABELS, expression


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    alerts = {rule["alert"] for group in load_yaml(RULES)[0]["groups"] for rule in group["rules"]}
    cases = [
        case for test in load_yaml(RULES.with_name("rules_test.yml"))[0]["tests"] for case in test["alert_rule_test"]
    ]
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == alerts
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == alerts


def promtool(*arguments: str, cwd: Path) -> None:
    program = require_tool("promtool", package="prometheus")
    done = subprocess.run([program, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), ("check", "rules", "rules.yml"), ("test", "rules", "rules_test.yml")],
    ids=" ".join,
)
def test_promtool_passes_the_rule_tests(arguments: tuple[str, ...]) -> None:
    promtool(*arguments, cwd=DEPLOY / "prometheus")


def test_promtool_parses_every_query_of_the_dashboard(tmp_path: Path) -> None:
    rules = [{"record": f"query:{number}", "expr": one} for number, one in enumerate(dashboard_expressions())]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", "rules.yml", cwd=tmp_path)
