"""Error messages for settings: one line each, all at once."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel

from consumer.settings.layers import Layers, Location, unknown_key

_SECRET = (
    ("kafka", "client"),
    ("input", "schema_registry_url"),
    ("input", "schema_registry_user"),
    ("input", "schema_registry_password"),
    ("input", "schema_registry_token"),
    ("input", "schema_registry_key_password"),
)
_SHOWN = 60


class Conflict(NamedTuple):
    """Settings that are valid alone but conflict, or cannot work here; the message is for the first of the keys."""

    keys: tuple[str, ...]
    message: str


Check = Callable[[Any], Iterable[Conflict]]
"""Called with the settings; what it finds is reported with all other errors."""


def explain_values(details: Sequence[Any], layers: Layers, model: type[BaseModel]) -> list[str]:
    """One line for each of pydantic's errors."""
    lines = []
    for detail in details:
        location = detail["loc"]
        if detail["type"] == "extra_forbidden":
            message = unknown_key(location, model, layers.origin(location))
        else:
            message = _describe(detail["type"], detail.get("ctx", {}), _shown(location, detail["input"]), detail["msg"])
        lines.append(layers.explain(location, message))
    return lines


def explain_conflicts(
    checks: Sequence[Check], settings: BaseModel, layers: Layers, wrong: Sequence[Location]
) -> list[str]:
    """One line for each conflict that the checks find, but for those that concern an invalid value."""
    invalid = {".".join(map(str, location)) for location in wrong}
    return [
        layers.explain_keys(conflict.keys, conflict.message)
        for check in checks
        for conflict in check(settings)
        if invalid.isdisjoint(conflict.keys)
    ]


def _shown(location: Location, value: object) -> str:
    """The invalid value as JSON, unless it may hold a secret or is a table."""
    if isinstance(value, dict) or any(tuple(location[:2]) == secret for secret in _SECRET):
        return ""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return f", not {text if len(text) <= _SHOWN else text[:_SHOWN] + '…'}"


def _describe(kind: str, context: Mapping[str, Any], shown: str, fallback: str) -> str:
    for prefix, message in _MESSAGES.items():
        if kind.startswith(prefix):
            return message(context, shown)
    return fallback


_MESSAGES: dict[str, Callable[[Mapping[str, Any], str], str]] = {
    "value_error": lambda context, _: str(context["error"]),
    "greater_than_equal": lambda context, shown: f"must be at least {context['ge']}{shown}",
    "less_than_equal": lambda context, shown: f"must be at most {context['le']}{shown}",
    "literal_error": lambda context, shown: f"must be {str(context['expected']).replace(chr(39), chr(34))}{shown}",
    "int_": lambda _, shown: f"must be a whole number{shown}",
    "bool_": lambda _, shown: f"must be true or false{shown}",
    "string_too_short": lambda *_: "must not be empty",
    "string_": lambda _, shown: f"must be text{shown}",
    "path_": lambda _, shown: f"must be the path of a file{shown}",
    "tuple_": lambda _, shown: f"must be a list{shown}",
    "model_": lambda *_: "must be a table",
    "dict_": lambda *_: "must be a table",
    "missing": lambda *_: "is missing",
}
"""Messages by prefix of pydantic's error type."""
