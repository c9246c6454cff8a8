"""Read the files of `deploy/` for these tests."""

import json
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "viewer-consumer.json"
RULES = DEPLOY / "prometheus" / "rules.yml"


def load_yaml(path: Path) -> list[Any]:
    """Return the documents of a YAML file."""
    return list(yaml.safe_load_all(path.read_text()))


def compose() -> dict[str, Any]:
    (loaded,) = load_yaml(DEPLOY / "compose.yaml")
    assert isinstance(loaded, dict)
    return loaded


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return loaded


def dashboard_expressions() -> list[str]:
    """Return the PromQL of every panel, as Grafana sends it with all values selected."""
    expressions = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", [])]
    return [
        expression.replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$stream", ".*")
        for expression in expressions
    ]


def dockerfile() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile in order, with continuation lines joined."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split()[0], line.split(maxsplit=1)[1].strip()) for line in lines]
