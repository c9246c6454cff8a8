"""The dashboards: every alert has a panel that leads to its runbook entry, and Grafana is given all of them."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.files import (
    DASHBOARDS,
    DEPLOY,
    compose,
    dashboard_text,
    dashboards,
    expressions_of,
    load_yaml,
    panels,
    rules,
)
from tests.deploy.metric_names import metric_names
from tests.deploy.runbook_panels import runbook, with_runbook

ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDED = {rule["record"] for rule in rules() if "record" in rule}

each_dashboard = pytest.mark.parametrize("dashboard", dashboards().values(), ids=list(dashboards()))


def runbook_links(links: list[dict[str, Any]]) -> dict[str, str]:
    """Addresses of runbook links by alert."""
    return {link["title"].removeprefix("Runbook: "): link["url"] for link in links}


def text_panel(url: str) -> dict[str, Any]:
    """The panel that an address of a dashboard shows alone."""
    uid, number = re.fullmatch(r"/d/([\w-]+)\?viewPanel=(\d+)", url).groups()  # type: ignore[union-attr]  # no match fails the test
    (dashboard,) = [one for one in dashboards().values() if one["uid"] == uid]
    (panel,) = [one for one in dashboard["panels"] if one["id"] == int(number)]
    assert isinstance(panel, dict)
    return panel


def panels_of(alert: str) -> list[dict[str, Any]]:
    return [panel for panel in panels() if alert in runbook_links(panel.get("links", []))]


def test_there_is_a_dashboard_for_viewers_and_one_for_operators() -> None:
    assert list(dashboards()) == ["operators.json", "viewers.json"]
    assert len({dashboard["uid"] for dashboard in dashboards().values()}) == 2


@each_dashboard
def test_the_datasource_is_a_variable(dashboard: dict[str, Any]) -> None:
    first, *others = dashboard["templating"]["list"]
    assert (first["name"], first["type"], first["query"]) == ("datasource", "datasource", "prometheus")
    parts = [*others, *(part for part in dashboard["panels"] if part["type"] not in ("row", "text"))]
    parts += [target for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert len(parts) > 20
    assert all(part["datasource"] == {"type": "prometheus", "uid": "${datasource}"} for part in parts)


@each_dashboard
def test_queries_use_only_variables_that_the_dashboard_has(dashboard: dict[str, Any]) -> None:
    known = {f"${variable['name']}" for variable in dashboard["templating"]["list"]} | {"$__rate_interval"}
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            assert set(re.findall(r"\$\w+", target["expr"])) <= known, target["expr"]


@each_dashboard
def test_panels_do_not_overlap(dashboard: dict[str, Any]) -> None:
    taken: dict[tuple[int, int], int] = {}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["id"]) == panel["id"]


@each_dashboard
def test_dashboards_link_to_each_other(dashboard: dict[str, Any]) -> None:
    (link,) = dashboard["links"]
    assert link["type"] == "dashboards"
    assert set(link["tags"]) <= set(dashboard["tags"])


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_has_a_panel_that_shows_what_it_watches_and_leads_to_its_runbook_entry(alert: str) -> None:
    found = panels_of(alert)
    watched = metric_names(ALERTS[alert]["expr"])
    shown = {name for panel in found for query in expressions_of(panel) for name in metric_names(query)}
    assert watched <= shown
    for panel in found:
        entry = text_panel(runbook_links(panel["links"])[alert])
        assert entry["title"] == alert
        assert entry["options"] == {"mode": "markdown", "content": runbook()[alert]}


@pytest.mark.parametrize("alert", ALERTS)
def test_a_panel_shows_the_threshold_of_its_alert(alert: str) -> None:
    compared = {float(number) for number in re.findall(r"[<>] ([\d.]+)", ALERTS[alert]["expr"])} - {0.0}
    steps = [step for panel in panels_of(alert) for step in _thresholds(panel)]
    assert not compared or compared & {step["value"] for step in steps}


def _thresholds(panel: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", [])
    return found


def test_a_firing_alert_leads_to_its_runbook_entry() -> None:
    links: dict[str, str] = {}
    for panel in panels():
        if panel["title"] == "Firing alerts":
            for override in panel["fieldConfig"]["overrides"]:
                ((alert, url),) = runbook_links(override["properties"][0]["value"]).items()
                assert override["matcher"] == {"id": "byRegexp", "options": f"/^{alert}\\b/"}
                links[alert] = url
    assert set(links) == set(ALERTS)
    assert all(text_panel(url)["title"] == alert for alert, url in links.items())


@pytest.mark.parametrize("name", dashboards())
def test_the_dashboards_have_the_runbook_of_the_readme(name: str) -> None:
    text = (DASHBOARDS / name).read_text(encoding="utf-8")
    assert text == dashboard_text(with_runbook(dashboards()[name])), "run `make rules`"


def test_grafana_is_given_prometheus_and_both_dashboards() -> None:
    grafana = compose()["services"]["grafana"]
    mounts = dict(reversed(mount.split(":")[:2]) for mount in grafana["volumes"])
    provisioning = DEPLOY / mounts["/etc/grafana/provisioning"]
    (sources,) = load_yaml(provisioning / "datasources" / "prometheus.yml")
    (source,) = sources["datasources"]
    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://prometheus:9090", True)
    (providers,) = load_yaml(provisioning / "dashboards" / "dashboards.yml")
    (provider,) = providers["providers"]
    assert (DEPLOY / mounts[provider["options"]["path"]]).resolve() == DASHBOARDS
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == provider["options"]["path"]
    assert home.name in dashboards()


def test_prometheus_of_the_compose_file_loads_the_rules() -> None:
    (config,) = load_yaml(DEPLOY / "prometheus" / "prometheus.yml")
    assert config["rule_files"] == ["rules.yml"]
    assert "./prometheus:/etc/prometheus:ro" in compose()["services"]["prometheus"]["volumes"]


def test_recorded_series_are_used() -> None:
    queries = [rule["expr"] for rule in rules()] + [query for panel in panels() for query in expressions_of(panel)]
    assert {name for query in queries for name in metric_names(query)} >= RECORDED
