"""The settings in force as text that may be shown: TOML that can be read back, secrets hidden."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from consumer.kafka.config import redact
from consumer.settings.model import Settings

HIDDEN = "***"


def shown(settings: Settings) -> dict[str, Any]:
    """The settings as plain values, without those that are unset, and with secrets hidden."""
    values = settings.model_dump(mode="json", exclude_none=True)
    values["kafka"]["client"] = dict(redact(settings.kafka.client))
    for key in ("schema_registry_password", "schema_registry_token"):
        values["input"][key] = HIDDEN if getattr(settings.input, key) else ""
    values["input"]["schema_registry_url"] = _without_user(settings.input.schema_registry_url)
    return values


def to_toml(values: Mapping[str, Any]) -> str:
    """A table of tables as TOML; tables in it that are not empty get a heading of their own."""
    return "\n".join(_table((), values)).strip() + "\n"


def _table(path: tuple[str, ...], values: Mapping[str, Any]) -> list[str]:
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    lines = [f"{_key(key)} = {_scalar(value)}" for key, value in plain.items()]
    if path and (lines or not values):
        lines = ["", f"[{'.'.join(map(_key, path))}]", *lines]
    for key, value in values.items():
        if isinstance(value, Mapping):
            lines += _table((*path, key), value)
    return lines


def _key(name: str) -> str:
    bare = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if bare else _scalar(name)


def _scalar(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_scalar, value))}]"
    # TOML's basic strings, numbers and booleans are written as JSON's, but for this one control character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{HIDDEN}@{host}")) if at and user else url
