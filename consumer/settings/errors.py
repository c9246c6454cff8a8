"""Error messages for settings: one line each, all at once."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from consumer.settings.layers import Layers, Location, unknown_key

CONFLICTS = "conflicts"
"""The type of the validation error that carries a list of `Conflict` as `conflicts`."""

_SECRET = (
    ("kafka", "client"),
    ("input", "schema_registry_url"),
    ("input", "schema_registry_user"),
    ("input", "schema_registry_password"),
    ("input", "schema_registry_token"),
)
_SHOWN = 60


class Conflict(NamedTuple):
    """Settings that are valid alone but conflict; the message is for the first of the keys."""

    keys: tuple[str, ...]
    message: str


def explain(error: ValidationError, layers: Layers, model: type[BaseModel]) -> list[str]:
    """All errors of the layers, one line each.

    pydantic does not check for conflicts while single values are invalid; so valid values are also checked without the
    invalid ones, and all errors are reported at once.
    """
    details = error.errors(include_url=False)
    unsound = [detail for detail in details if detail["type"] != CONFLICTS]
    lines = []
    for detail in unsound:
        location = detail["loc"]
        if detail["type"] == "extra_forbidden":
            message = unknown_key(location, model, layers.origin(location))
        else:
            message = _describe(detail["type"], detail.get("ctx", {}), _shown(location, detail["input"]), detail["msg"])
        lines.append(layers.explain(location, message))
    if unsound:
        details = _errors_of(layers.without([detail["loc"] for detail in unsound]), model)
    wrong = {".".join(map(str, detail["loc"])) for detail in unsound}
    lines += [
        layers.explain_keys(conflict.keys, conflict.message)
        for detail in details
        for conflict in detail.get("ctx", {}).get("conflicts", ())
        if wrong.isdisjoint(conflict.keys)
    ]
    return lines


def _errors_of(values: dict[str, Any], model: type[BaseModel]) -> list[Any]:
    try:
        model.model_validate(values)
    except ValidationError as error:
        return error.errors(include_url=False)
    return []


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
    "too_short": lambda *_: "must not be empty",
    "too_long": lambda context, _: f"must be a list of at most {context['max_length']}",
    "tuple_": lambda _, shown: f"must be a list{shown}",
    "model_": lambda *_: "must be a table",
    "dict_": lambda *_: "must be a table",
    "missing": lambda *_: "is missing",
}
"""Messages by prefix of pydantic's error type."""
