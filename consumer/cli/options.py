"""Options that several commands share, and reading the settings."""

# ruff: noqa: PLC0415  # what a command needs is imported inside it, so that `--help` and `config` answer at once

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from consumer.kafka.timeouts import TIMEOUTS, Timeouts
from consumer.settings.errors import Check
from consumer.settings.model import Settings, load_settings

INTERRUPTED = 130
"""The exit code of a process ended by SIGINT, as in shells."""

Config = Annotated[Path | None, typer.Option("--config", "-c", metavar="FILE", help="Settings as TOML.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Set one key, over file and environment; may be repeated."),
]


def timeouts_of(context: typer.Context) -> Timeouts:
    """Return the Kafka time-outs that `run_command` was called with."""
    return context.find_object(Timeouts) or TIMEOUTS


def read_settings(config: Path | None, overrides: Sequence[str] | None, checks: Sequence[Check] = ()) -> Settings:
    """Read the settings.

    Raises:
        UsageError: they are invalid; one line per error.
    """
    return load_settings(config, overrides or (), os.environ, checks)


def read_kafka_settings(config: Path | None, overrides: Sequence[str] | None, checks: Sequence[Check] = ()) -> Settings:
    """Read the settings of a command that connects to Kafka, and check `kafka.client`.

    Raises:
        UsageError: as `read_settings`.
    """
    from consumer.cli.checks import client_files, log_in_packages
    from consumer.kafka.client_keys import key_conflicts
    from consumer.kafka.config import client_conflicts
    from consumer.kafka.log_in import security_conflicts

    usual = (client_conflicts, security_conflicts, key_conflicts, client_files, log_in_packages)
    return read_settings(config, overrides, (*usual, *checks))


def read_worker_settings(config: Path | None, overrides: Sequence[str] | None) -> Settings:
    """Read the settings of a worker, and check all that they name on this machine.

    Raises:
        UsageError: as `read_settings`.
    """
    from consumer.cli.checks import input_files

    return read_kafka_settings(config, overrides, (input_files,))
