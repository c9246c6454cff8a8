"""Dashboards, alerts and recording rules use metrics that exist, in PromQL that parses."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, ProcessCollector

from consumer.observe.catalogue import CATALOGUE, MetricSpec
from tests.deploy.files import DEPLOY, RULES, dashboard_expressions, dashboards, load_yaml, panels, rules
from tests.deploy.metric_names import label_names, metric_names
from tests.observe.tools import require_tool

OF_PROMETHEUS = {"up", "ALERTS"}
LABELS_OF_PROMETHEUS = {"job", "instance", "le", "alertname", "alertstate"}
LABELS = {label for spec in CATALOGUE for label in spec.labels} | LABELS_OF_PROMETHEUS
RECORDED = {rule["record"] for rule in rules() if "record" in rule}


def known_series() -> set[str]:
    process = {
        sample.name for family in ProcessCollector(registry=CollectorRegistry()).collect() for sample in family.samples
    }
    return {name for spec in CATALOGUE for name in spec.series_names()} | process | OF_PROMETHEUS | RECORDED


def test_dashboards_use_only_existing_metrics_and_labels() -> None:
    expressions = dashboard_expressions()
    assert len(expressions) > 60
    for expression in expressions:
        assert metric_names(expression) <= known_series(), expression
        assert metric_names(expression), expression
        assert label_names(expression) <= LABELS, expression
    for panel in panels():
        for target in panel.get("targets", []):
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= LABELS


def test_the_dashboards_variables_use_only_existing_metrics_and_labels() -> None:
    queries = [
        variable["query"]["query"]
        for dashboard in dashboards().values()
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "query"
    ]
    assert len(queries) == 4
    for query in queries:
        selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", query).groups()  # type: ignore[union-attr]  # no match fails the test
        assert metric_names(selector) <= known_series()
        assert metric_names(selector)
        assert {label} | label_names(selector) <= LABELS


@pytest.mark.parametrize("spec", CATALOGUE, ids=lambda spec: spec.name)
def test_every_metric_is_on_a_dashboard(spec: MetricSpec) -> None:
    shown = {name for expression in dashboard_expressions() for name in metric_names(expression)}
    assert shown & set(spec.series_names())


def test_the_rules_use_only_existing_metrics_and_labels() -> None:
    for expression in (rule["expr"] for rule in rules()):
        assert metric_names(expression) <= known_series(), expression
        assert label_names(expression) <= LABELS, expression


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    alerts = {rule["alert"] for rule in rules() if "alert" in rule}
    (tests,) = load_yaml(RULES.with_name("rules_test.yml"))
    cases = [case for test in tests["tests"] for case in test.get("alert_rule_test", [])]
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


def test_promtool_parses_every_query_of_the_dashboards(tmp_path: Path) -> None:
    rules = [{"record": f"query:{number}", "expr": one} for number, one in enumerate(dashboard_expressions())]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboards", "rules": rules}]}))
    promtool("check", "rules", "rules.yml", cwd=tmp_path)
