"""The command line in messages for people: with the options of this process, so that it works when pasted."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from consumer.runtime.secret import HIDDEN, is_secret


def options_of(config: Path | None, overrides: Sequence[str]) -> tuple[str, ...]:
    """The options that give another command the same settings; values of secret keys are hidden."""
    given = () if config is None else ("--config", str(config.absolute()))
    return (*given, *(part for override in overrides for part in ("--set", _without_secret(override))))


def command_line(command: str, options: Sequence[str] = ()) -> str:
    """A command of ours with these options, as in `viewer-consumer state check --config FILE`."""
    return shlex.join(["viewer-consumer", *command.split(), *options])


def _without_secret(override: str) -> str:
    key, equals, _ = override.partition("=")
    if equals and (is_secret(key) or key == "input.schema_registry_url"):  # a URL may hold a password
        return f"{key}={HIDDEN}"
    return override
