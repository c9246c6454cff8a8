"""Check command lines of deployment files with the program's own parser."""

from typing import Any

import typer

from consumer.cli.main import app


def check_command_line(arguments: list[str]) -> None:
    """Parse as the real command does, without running it."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("viewer-consumer", list(arguments))
    name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context(name, rest, parent=context)
