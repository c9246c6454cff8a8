"""`make rules`: the runbook of deploy/README.md as text panels of the dashboards.

A dashboard knows no address of this repository, so it has the entries itself; a test compares them.
"""

import re
from typing import Any

from tests.deploy.files import DEPLOY, dashboards, write_dashboard


def runbook() -> dict[str, str]:
    """The entries by alert, as Markdown that needs no other file: links become their text."""
    page = (DEPLOY / "README.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^## Runbook\n(.*?)(?=^## )", page, re.MULTILINE | re.DOTALL)
    entries = re.findall(r"^### (\w+)\n\n(.*?)(?=^### |\Z)", section, re.MULTILINE | re.DOTALL)
    return {alert: re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text).strip() for alert, text in entries}


def with_runbook(dashboard: dict[str, Any]) -> dict[str, Any]:
    """The dashboard with the entries of the alerts that its text panels are named after."""
    entries = runbook()
    return {**dashboard, "panels": [_with_entry(panel, entries) for panel in dashboard["panels"]]}


def _with_entry(panel: dict[str, Any], entries: dict[str, str]) -> dict[str, Any]:
    if panel["type"] != "text":
        return panel
    return {**panel, "options": {**panel["options"], "content": entries[panel["title"]]}}


if __name__ == "__main__":
    for name, dashboard in dashboards().items():
        write_dashboard(name, with_runbook(dashboard))
