"""Print settings as TOML that can be read back, with secrets hidden."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import tomli_w

from consumer.kafka.config import redact
from consumer.runtime.secret import HIDDEN
from consumer.settings.model import Settings


def shown(settings: Settings) -> dict[str, Any]:
    """The settings as plain values, without unset ones, secrets hidden."""
    values = settings.model_dump(mode="json", exclude_none=True)
    values["kafka"]["client"] = dict(redact(settings.kafka.client))
    for key in ("schema_registry_password", "schema_registry_token", "schema_registry_key_password"):
        values["input"][key] = HIDDEN if getattr(settings.input, key) else ""
    values["input"]["schema_registry_url"] = _without_user(settings.input.schema_registry_url)
    return values


def to_toml(values: Mapping[str, Any]) -> str:
    """The values as TOML."""
    return tomli_w.dumps(values)


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{HIDDEN}@{host}")) if at and user else url
