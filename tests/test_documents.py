"""The documents match the code: metrics, settings, alerts, tests that they name, and links."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from consumer.observe.catalogue import CATALOGUE
from consumer.settings.model import Settings

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    ROOT / name for name in ("README.md", *(f"{folder}/README.md" for folder in ("schemas", "deploy", "tests")))
]
DESIGN = ROOT / "consumer/DESIGN.md"
GROUPS = ("input.fields", "input.events")
"""Sections that the settings table shows as one row each, as `input.fields.*`."""


def section(document: Path, title: str) -> str:
    text = document.read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{document}: no section {title}"
    return found[1]


def anchors(document: Path) -> set[str]:
    """Return the anchors of all headings, as the usual renderers make them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        if key in GROUPS:
            yield f"{key}.*"
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys_of(field.annotation, f"{key}.")
        else:
            yield key


def test_the_metrics_table_has_every_metric_and_no_other() -> None:
    rows = re.findall(
        r"^\| `(\w+)(?:\{[\w,]+\})?` \| (\w+) \|", section(ROOT / "deploy/README.md", "Metrics"), re.MULTILINE
    )
    assert sorted(rows) == sorted((metric.name, metric.type.name.lower()) for metric in CATALOGUE)


def test_the_settings_table_has_every_setting_and_no_other() -> None:
    rows = re.findall(r"^\| `([^`]+)` \|", section(ROOT / "deploy/README.md", "Settings"), re.MULTILINE)
    assert sorted(rows) == sorted(keys_of(Settings))


def test_every_alert_has_a_runbook_entry() -> None:
    alerts = re.findall(r"- alert: (\w+)", (ROOT / "deploy/prometheus/rules.yml").read_text(encoding="utf-8"))
    assert len(alerts) > 10
    assert set(alerts) == set(re.findall(r"^### (\w+)$", section(ROOT / "deploy/README.md", "Runbook"), re.MULTILINE))


def test_every_alert_links_to_its_runbook_entry() -> None:
    rules = (ROOT / "deploy/prometheus/rules.yml").read_text(encoding="utf-8")
    for alert, rule in re.findall(r"- alert: (\w+)\n(.*?)(?=\n\n|\Z)", rules, re.DOTALL):
        assert f'runbook: "deploy/README.md#{alert.lower()}"' in rule


@pytest.mark.parametrize("document", [*DOCUMENTS, DESIGN], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_has_a_target(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def test_the_design_names_tests_that_exist() -> None:
    named = re.findall(r"`(?:tests/)?((?:\w+/)*test_\w+\.py)(?:::(\w+))?", DESIGN.read_text(encoding="utf-8"))
    assert len(named) > 30
    for file, test in named:
        path = ROOT / "tests" / file
        assert path.exists(), file
        text = path.read_text(encoding="utf-8")
        assert not test or re.search(rf"\b(?:def {test}\(|{test} = |class {test}\b)", text), f"{file}::{test}"


def test_the_design_names_no_test_that_is_gone() -> None:
    """This includes names after `…::` and in lists, which the test above does not read."""
    named = set(re.findall(r"\btest_\w+\b(?!\.py)", DESIGN.read_text(encoding="utf-8")))
    functions = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text("utf-8"))
    }
    assert named <= functions


def test_documents_stay_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 180
    assert len(DESIGN.read_text(encoding="utf-8").splitlines()) <= 400
