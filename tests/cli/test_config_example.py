"""`config --example` prints a file that loads, with every setting and what the models say about it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from consumer.cli.settings_example import EXAMPLES, example_toml
from consumer.settings.model import Settings, load_settings
from tests.cli.command import run_here


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Each key with its description."""
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield from keys_of(type(field.default), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field.description or ""


def test_the_example_loads_and_gives_the_defaults(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ran = run_here(capsys, "config", "--example")
    assert (ran.code, ran.err) == (0, "")
    (tmp_path / "example.toml").write_text(ran.out, encoding="utf-8")
    assert load_settings(tmp_path / "example.toml", (), {}).model_dump() == Settings().model_dump()
    checked = run_here(capsys, "config", "--config", str(tmp_path / "example.toml"))
    assert checked == run_here(capsys, "config")


@pytest.mark.parametrize(("key", "description"), list(keys_of(Settings)))
def test_every_setting_is_in_it_with_its_description(key: str, description: str) -> None:
    assert description, "the model says what it is"
    sections = re.split(r"^\[(.+)\]$", example_toml(), flags=re.MULTILINE)
    section, _, name = key.rpartition(".")
    text = sections[sections.index(key if key == "kafka.client" else section) + 1]
    words = " ".join(text.replace("\n# ", " ").split())
    assert " ".join(description.split()) in words
    assert key == "kafka.client" or re.search(rf"^(# )?{name} = ", text, re.MULTILINE)


@pytest.mark.parametrize("key", EXAMPLES)
def test_a_line_that_shows_how_a_key_is_set_loads_when_it_is_no_comment(tmp_path: Path, key: str) -> None:
    text = example_toml()
    for line in EXAMPLES[key]:
        assert f"\n# {line}\n" in text
        text = text.replace(f"\n# {line}\n", f"\n{line}\n")
    needed = ["input.schema_registry_url=https://registry"] if key.startswith("input.schema_registry_") else []
    if key == "input.schema_registry_key_file":
        needed.append("input.schema_registry_certificate_file=/etc/ssl/worker.pem")
    (tmp_path / "example.toml").write_text(text, encoding="utf-8")
    given, plain = load_settings(tmp_path / "example.toml", needed, {}), load_settings(None, needed, {})
    assert given.model_dump() != plain.model_dump()


def test_the_example_goes_with_no_other_option(capsys: pytest.CaptureFixture[str]) -> None:
    ran = run_here(capsys, "config", "--example", "--json")
    assert (ran.code, ran.out) == (2, "")
    assert ran.error_lines == ["error: --example: prints the defaults as TOML, so it goes with no other option"]
