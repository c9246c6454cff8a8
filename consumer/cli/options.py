"""What several commands take: where the settings come from, and the settings themselves."""

# ruff: noqa: PLC0415  # what a command needs is imported inside it, so that `--help` and `config` answer at once

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from consumer.settings.model import Settings, load_settings

Config = Annotated[Path | None, typer.Option("--config", "-c", metavar="FILE", help="Settings as TOML.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="One setting, over file and environment; may be repeated."),
]


def read_settings(config: Path | None, overrides: Sequence[str] | None) -> Settings:
    """The settings in force.

    Raises:
        UsageError: they are wrong; a line an error.
    """
    return load_settings(config, overrides or (), os.environ)


def read_kafka_settings(config: Path | None, overrides: Sequence[str] | None) -> Settings:
    """The same, and refused at once where `kafka.client` would break what the worker promises.

    Raises:
        UsageError: as `read_settings`.
    """
    from consumer.kafka.config import check_client

    settings = read_settings(config, overrides)
    check_client(settings)
    return settings
