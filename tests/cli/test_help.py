"""Help: for every command by every way to ask for it, with examples that can be run, and without types of Python."""

import re
import shlex
from typing import Any

import pytest
import typer

from consumer.cli.help import EXAMPLES
from consumer.cli.main import app, run_command

COMMAND_LINE: Any = typer.main.get_command(app)


def paths(command: Any = COMMAND_LINE, path: str = "") -> list[str]:
    below = getattr(command, "commands", {}).items()
    return [path, *(each for name, inner in below for each in paths(inner, f"{path} {name}".strip()))]


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run_command(arguments) == 0
    text = capsys.readouterr()
    assert text.err == ""
    return text.out


@pytest.mark.parametrize("path", paths())
def test_every_way_to_ask_gives_the_same_help(capsys: pytest.CaptureFixture[str], path: str) -> None:
    text = printed(capsys, *path.split(), "--help")
    assert text.startswith(f"Usage: viewer-consumer {path}".rstrip())
    assert printed(capsys, *path.split(), "-h") == text
    assert printed(capsys, "help", *path.split()) == text


@pytest.mark.parametrize("group", ["", "dlq", "state"])
def test_a_call_without_a_command_shows_the_help(capsys: pytest.CaptureFixture[str], group: str) -> None:
    assert printed(capsys, *group.split()) == printed(capsys, *group.split(), "--help")


@pytest.mark.parametrize("path", paths())
def test_help_has_examples_and_no_types_of_python(capsys: pytest.CaptureFixture[str], path: str) -> None:
    text = printed(capsys, *path.split(), "--help")
    assert "Examples:\n    viewer-consumer " in text
    assert not re.search(r"<(int|float|bool|str|list|path|text|uuid)\b|\b(None|True|False)\b", text)


def test_help_of_what_is_no_command_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["help", "state", "nope"]) == 2
    assert capsys.readouterr().err == "error: there is no command state nope; see viewer-consumer help\n"


@pytest.mark.parametrize("example", [each for examples in EXAMPLES.values() for each in examples])
def test_examples_are_command_lines_that_are_understood(example: str) -> None:
    for part in re.split(r"[|>]", example):
        words = shlex.split(part)
        if words[0] != "viewer-consumer":
            continue
        command, context, words = COMMAND_LINE, None, words[1:]
        while words and words[0] in getattr(command, "commands", {}):
            command, words = command.commands[words[0]], words[1:]
        context = command.make_context("example", words, parent=context)  # fails for what it does not know
        assert not context.args or hasattr(command, "commands")


def test_examples_are_of_commands_that_exist() -> None:
    assert set(EXAMPLES) == set(paths())
