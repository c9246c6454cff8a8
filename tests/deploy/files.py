"""Read the files of `deploy/` for these tests."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DASHBOARDS = DEPLOY / "grafana" / "dashboards"
RULES = DEPLOY / "prometheus" / "rules.yml"


def load_yaml(path: Path) -> list[Any]:
    """Return the documents of a YAML file."""
    return list(yaml.safe_load_all(path.read_text()))


def compose() -> dict[str, Any]:
    (loaded,) = load_yaml(DEPLOY / "compose.yaml")
    assert isinstance(loaded, dict)
    return loaded


def dashboards() -> dict[str, dict[str, Any]]:
    """Return the dashboards by the names of their files."""
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(DASHBOARDS.glob("*.json"))}


def write_dashboard(name: str, dashboard: dict[str, Any]) -> None:
    (DASHBOARDS / name).write_text(dashboard_text(dashboard), encoding="utf-8")


def dashboard_text(dashboard: dict[str, Any]) -> str:
    """Return the text of a dashboard's file."""
    return json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"


def panels() -> list[dict[str, Any]]:
    """Return the panels of all dashboards."""
    return [panel for dashboard in dashboards().values() for panel in dashboard["panels"]]


def expressions_of(panel: dict[str, Any]) -> list[str]:
    """Return the PromQL of a panel, as Grafana sends it with all values selected."""
    queries = [target["expr"].replace("$__rate_interval", "1m") for target in panel.get("targets", [])]
    return [re.sub(r"\$(?:job|instance|stream)\b", ".*", query) for query in queries]


def dashboard_expressions() -> list[str]:
    """Return the PromQL of all panels."""
    return [query for panel in panels() for query in expressions_of(panel)]


def rules() -> list[dict[str, Any]]:
    """Return the alerts and recording rules of Prometheus."""
    return [rule for group in load_yaml(RULES)[0]["groups"] for rule in group["rules"]]


def dockerfile() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile in order, with continuation lines joined."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split()[0], line.split(maxsplit=1)[1].strip()) for line in lines]
